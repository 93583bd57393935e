"""`python -m benchmarks`: every benchmark can be imported, and the exit code says whether all bars are met."""

import sys
from importlib import import_module

import paths
import pytest

from benchmarks import __main__ as program
from benchmarks import bench_start
from benchmarks.record import Bar

MODULES = sorted(path.stem for path in (paths.ROOT / "benchmarks").glob("*.py") if path.stem != "__main__")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name):
    assert import_module(f"benchmarks.{name}").__doc__


def test_every_benchmark_can_be_run_by_its_name():
    assert all(callable(import_module(f"benchmarks.bench_{name}").run) for name in program.ALL)


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (3.0, 1)])
def test_a_bar_that_is_missed_is_the_exit_code(value, code, monkeypatch, capsys):
    repeats = []
    monkeypatch.setattr(
        bench_start, "run", lambda count: repeats.append(count) or [Bar(case="a", value=value, unit="s", bar=2.0)]
    )
    monkeypatch.setattr(program, "append", lambda *_: pytest.fail("a dry run appends nothing"))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "start", "--dry", "--repeats", "3"])
    assert program.main() == code
    assert repeats == [3]
    assert capsys.readouterr().out.endswith(f"{1 - code} of 1 bars met\n")


def test_a_benchmark_that_does_not_exist_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 2
    assert "'speed'" in capsys.readouterr().err
