"""Curves for TensorBoard and Weights & Biases: each epoch once, however often a training was stopped."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from train_study import QUICK, StopError, stop_after

from srcache.errors import ConfigError, DiskFullError, MachineError, MissingExtraError
from srcache.study.arms.sets import ArmSets
from srcache.study.train.curves import KINDS, open_curves, require_curves
from srcache.study.train.loop import train_run
from srcache.study.train.runs import EpochLine, TrainRun, write_history

pytestmark = [
    pytest.mark.usefixtures("no_curves"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of TensorBoard's own packages
]

NAMES = ["loss/training", "loss/validation", "accuracy/training", "accuracy/validation", "learning rate"]


def _line(epoch: int) -> EpochLine:
    return EpochLine(
        epoch=epoch, loss=1 / epoch, train_accuracy=0.5, val_loss=2 / epoch, val_accuracy=0.25, lr=1e-3, seconds=10
    )


def _points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: each curve's points."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder))
    shown.Reload()
    return {tag: [(one.step, one.value) for one in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def _train_on(folder: Path, kind: str, epochs: range) -> None:
    """What a process does that trains these epochs after those of an earlier one."""
    with open_curves([kind], folder, {"trained on": "lr"}) as curves:
        for last in epochs:
            write_history(folder, [_line(epoch) for epoch in range(1, last + 1)])
            curves.epoch_over()


def test_tensorboard_has_each_epoch_once_also_of_a_training_that_went_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    _train_on(tmp_path, "tensorboard", range(1, 4))
    _train_on(tmp_path, "tensorboard", range(5, 7))  # the fourth was trained, and its process killed before it was told
    found = _points(tmp_path / "tensorboard")
    assert list(found) == NAMES
    assert all([step for step, _ in points] == [1, 2, 3, 4, 5, 6] for points in found.values())
    assert found["loss/validation"] == [(epoch, pytest.approx(2 / epoch)) for epoch in range(1, 7)]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_full_disk_is_said_in_words_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(Path, "open", lambda _, mode: open("/dev/full", mode))  # noqa: SIM115
    with pytest.raises(DiskFullError, match=r"tensorboard could not be written \(No space left on device\)"):
        _train_on(tmp_path, "tensorboard", range(1, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.medium
def test_a_stopped_training_goes_on_and_its_test_set_is_a_point_too(sets: ArmSets, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")

    def train(progress: Any = None) -> TrainRun:
        with open_curves(["tensorboard"], tmp_path / "run", {}) as curves:
            run = train_run(sets, tmp_path / "run", QUICK, progress, lambda _: curves.epoch_over())
            curves.finish(run)
        return run

    with pytest.raises(StopError):
        train(stop_after(5))
    run = train()
    for _ in range(2):  # the second time it is found finished
        found = _points(tmp_path / "run/tensorboard")
        assert found["loss/validation"] == [(line.epoch, pytest.approx(line.val_loss)) for line in run.history]
        assert found["accuracy/test"] == [(len(run.history), pytest.approx(run.metrics["test_accuracy"]))]
        assert train().reused


def test_a_finished_run_can_be_given_its_curves(finished: TrainRun, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with open_curves(["tensorboard"], tmp_path, {}) as curves:
        curves.finish(finished)
    assert len(_points(tmp_path / "tensorboard")["loss/training"]) == len(finished.history)


class _Run:
    """A run of Weights & Biases as its package has it: steps that are not new are dropped."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.points = told.setdefault(told["id"], {})
        self.resumed, self.step = bool(self.points), max(self.points, default=-1) + 1
        self.summary: dict[str, Any] = {}
        self.over = False

    def log(self, values: dict[str, float], step: int) -> None:
        assert step not in self.points, "a point is doubled"
        self.points[step] = values

    def finish(self) -> None:
        self.over = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A package `wandb` that keeps what it is told."""
    package = SimpleNamespace(told={}, runs=[], Error=OSError, Settings=lambda **options: options)

    def init(**options: Any) -> _Run:
        package.told.update(options)
        package.runs.append(_Run(package.told))
        return package.runs[-1]

    package.init = init
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def test_weights_and_biases_goes_on_with_the_same_run_behind_its_last_epoch(
    wandb: SimpleNamespace, finished: TrainRun, tmp_path: Path
) -> None:
    _train_on(tmp_path, "wandb", range(1, 4))
    _train_on(tmp_path, "wandb", range(5, 7))
    assert sorted(wandb.told[wandb.told["id"]]) == [1, 2, 3, 4, 5, 6]
    assert all(list(values) == NAMES for values in wandb.told[wandb.told["id"]].values())
    assert all(run.over for run in wandb.runs)
    assert (wandb.told["resume"], wandb.told["dir"], wandb.told["config"]) == (
        *("allow", str(tmp_path)),
        {"trained on": "lr"},
    )
    with open_curves(["wandb"], tmp_path / "other", {}) as curves:
        curves.finish(finished)
    assert wandb.runs[-1].summary["accuracy/test"] == finished.metrics["test_accuracy"]


def test_what_an_offline_run_wrote_before_it_was_stopped_is_replaced(wandb: SimpleNamespace, tmp_path: Path) -> None:
    _train_on(tmp_path, "wandb", range(1, 2))
    mine, other = (tmp_path / f"wandb/offline-run-1-{name}" for name in (wandb.told["id"], "other"))
    for folder in (mine, other):
        folder.mkdir(parents=True)
    _train_on(tmp_path, "wandb", range(2, 3))
    assert (mine.exists(), other.exists()) == (False, True)


def test_a_service_that_cannot_be_reached_is_said(wandb: SimpleNamespace, tmp_path: Path) -> None:
    def fail(**_: Any) -> None:
        raise OSError("no route")

    wandb.init = fail
    with pytest.raises(MachineError, match=r"cannot be written to \(no route\); WANDB_MODE=offline"):
        _train_on(tmp_path, "wandb", range(1, 2))


def test_what_cannot_be_written_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    require_curves([])
    with pytest.raises(ConfigError, match="one of tensorboard, wandb, but got 'paper'"):
        require_curves(["paper"])
    for kind in KINDS:
        monkeypatch.setitem(sys.modules, kind, None)
        monkeypatch.setitem(sys.modules, f"{kind}.compat.proto.event_pb2", None)
        with pytest.raises(MissingExtraError, match=rf"--log {kind} needs {kind}, .*pip install '\.\[{kind}\]'"):
            require_curves([kind])
