"""Many entries through plan, write, merge and look-up: every step runs, and growth is judged per entry."""

import subprocess
import sys

import paths
import pytest

from benchmarks import bench_million as bench
from benchmarks.bench_million import measure
from benchmarks.million_run import STEPS


@pytest.mark.slow
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


@pytest.mark.medium
def test_memory_is_watched_while_a_step_runs():
    """In a process of its own, as a step is: of this one, children of other tests may end meanwhile."""
    done = subprocess.run([sys.executable, "-c", _WATCHED], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert 30 < float(done.stdout) < 80


_WATCHED = """
import time
from benchmarks.million_run import watched
with watched() as memory:
    block, deadline = bytearray(b"x") * (40 << 20), time.monotonic() + 20
    while memory[0] < 30 and time.monotonic() < deadline:
        time.sleep(0.02)
print(memory[0])
"""
