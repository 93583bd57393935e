"""The command that measures SeeSR: its cases, what it records, and what it does not measure twice."""

import csv

import pytest
import torch

from benchmarks import bench_seesr as bench
from benchmarks import seesr_gpu
from benchmarks.record import Bar, append

SLOW = pytest.mark.slow
CPU = torch.device("cpu")


@pytest.fixture
def command(one_thread, tmp_path):
    history = tmp_path / "history.csv"

    def run(*words, commit="abc"):
        given = ["--device", "cpu", "--tiny", "--repeats", "1", "--history", str(history), "--commit", commit]
        return bench.main([*given, "--out", str(tmp_path / "out"), *words])

    run.rows = lambda: list(csv.DictReader(history.read_text().splitlines())) if history.exists() else []
    run.out = tmp_path / "out"
    return run


@SLOW
def test_a_case_is_measured_recorded_and_not_measured_twice(command, capsys):
    assert command("--case", "batch1-graph") == 0
    rows, shown = command.rows(), capsys.readouterr().out
    assert {row["bench"] for row in rows} == {"seesr"}
    assert {row["commit"] for row in rows} == {"abc"}
    wanted = ["time per image", "first call", *seesr_gpu.STAGES, "predicted memory", "rate of the steps"]
    assert [name for name in wanted if not any(name in row["case"] for row in rows)] == []
    assert [name for name in wanted if name not in shown] == []
    (each,) = (row for row in rows if row["case"].endswith("time per image"))
    assert float(each["value"]) > 0
    assert float(each["peer_value"]) > 0
    assert each["bar"] == "", "bars are for one kind of GPU"
    assert command("--case", "batch1-graph") == 0
    assert len(command.rows()) == len(rows)
    assert "recorded already" in capsys.readouterr().out


def provenance_of(command, commit):
    given = bench._parser().parse_args(["--history", str(command.out.parent / "history.csv"), "--commit", commit])
    provenance = bench._provenance(given, CPU)
    append("seesr", [Bar(case="predicted: weights", value=1, unit="GB")], 1, provenance)
    return provenance


def test_uncommitted_changes_are_measured_again(command):
    provenance = provenance_of(command, "abc+")
    assert command.rows()
    assert not bench.is_recorded("predicted", provenance)


def test_what_is_recorded_is_a_case_of_a_commit_on_a_machine(command):
    here = provenance_of(command, "abc")
    assert bench.is_recorded("predicted", here)
    assert not bench.is_recorded("predict", here)
    assert not bench.is_recorded("predicted", bench.replace(here, machine="another"))
    assert not bench.is_recorded("predicted", bench.replace(here, commit="other"))


def test_small_networks_leave_no_row_in_the_history():
    given = bench._parser().parse_args(["--tiny", "--case", "predicted"])
    assert bench._provenance(given, CPU) is None


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=SLOW) for name in ("profile", "tiles", "large", "turbo-batch16")]
)
def test_what_a_gpu_is_to_run_runs(case, command, capsys):
    assert command("--case", case, "--dry") == 0
    assert f"| {case}: " in capsys.readouterr().out
    assert command.rows() == []
    assert (command.out / "profile.md").exists() == (case == "profile")


@SLOW
def test_the_first_image_of_a_fresh_process(command):
    assert command("--case", "first-image") == 0
    assert any("whole process" in row["case"] for row in command.rows())


def test_a_table_says_what_was_missed():
    shown = bench.table([Bar(case="a", value=2, unit="s", bar=1, peer="b", peer_value=4)])
    assert "| a | 2 s | 1 **missed** | b: 4 s | 0.5 |" in shown
