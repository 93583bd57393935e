"""Many entries through plan, write, merge and look-up: every step runs, and growth is judged per entry."""

import time

import pytest

from benchmarks import bench_million as bench
from benchmarks.bench_million import measure
from benchmarks.million_run import STEPS, watched


@pytest.mark.medium
def test_every_step_is_measured_at_both_sizes(capsys):
    bars = measure((100, 200))
    shown = capsys.readouterr().out
    steps = [step for step in STEPS if f"without {step}" not in shown]
    assert {"write", "plan", "lookup"} <= set(steps)
    assert [bar.case for bar in bars if bar.unit == "s"] == [
        f"{size} entries in shards: {step}" for step in steps for size in (100, 200)
    ]
    assert all(bar.value > 0 for bar in bars if bar.unit != "MB")


@pytest.mark.parametrize(
    ("small", "large", "met"),
    [((1.0, 100.0), (4.1, 390.0), [True, True]), ((1.0, 10.0), (5.6, 30.0), [False, True]),
     ((1.0, 100.0), (4.0, 700.0), [True, False])],
)  # fmt: skip
def test_growth_is_linear_if_an_entry_costs_as_much_among_many(small, large, met):
    bars = bench._growth("plan", (250, 1000), small, large)
    assert [bar.met for bar in bars] == met
    assert bars[0].value == pytest.approx(large[0] / small[0] / 4)


def test_memory_is_watched_while_a_step_runs():
    with watched() as memory:
        block, deadline = bytearray(b"x") * (40 << 20), time.monotonic() + 20
        while memory[0] < 30 and time.monotonic() < deadline:
            time.sleep(0.02)
        del block
    assert 30 < memory[0] < 80
