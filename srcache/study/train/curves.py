"""A training's curves for TensorBoard and Weights & Biases, beside history.csv, which is written anyway.

    RUN/tensorboard/    event files: `tensorboard --logdir RUN`, or the folder above several runs
    RUN/wandb/          a run of Weights & Biases, where WANDB_MODE=offline keeps it on this machine

What is written is made of the history, so it has each epoch once: TensorBoard's file is written anew when a training
goes on, and a run of Weights & Biases goes on behind the last epoch that it has.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from srcache.errors import ConfigError, MachineError, Mistakes, needs_extra
from srcache.files import disk_errors, make_folder
from srcache.study.train.runs import EpochLine, TrainRun, read_history

_NAMES = {
    "loss": "loss/training",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "lr": "learning rate",
    "test_loss": "loss/test",
    "test_accuracy": "accuracy/test",
}
"""Columns of the history, and metrics of a run → the curves' names."""


class Curves(Protocol):
    """Where curves are written to."""

    def write(self, lines: Sequence[EpochLine]) -> None:
        """Write the history so far; epochs that were written before stay as they are."""
        ...

    def finish(self, run: TrainRun) -> None:
        """Write what a finished training says besides."""
        ...

    def close(self) -> None:
        """End; a training that goes on later opens anew."""
        ...


def curve_values(values: Mapping[str, Any]) -> dict[str, float]:
    """The curves' points of an epoch, or of a run's metrics, by the curves' names."""
    return {_NAMES[name]: float(value) for name, value in values.items() if name in _NAMES}


class TensorBoard:
    """An event file in RUN/tensorboard, written anew by every process that goes on with the training.

    TensorBoard's own writer of event files writes in a thread, which prints a traceback where the disk is full; its
    records are written here as they come.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        with needs_extra("tensorboard", "tensorboard", "--log tensorboard"):
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.record_writer import RecordWriter
        self._event, self._summary, self._writer_of = Event, Summary, RecordWriter
        self._folder, self._written = folder / "tensorboard", 0
        self._writer: Any = None

    def write(self, lines: Sequence[EpochLine]) -> None:
        """Write the epochs that are not written yet; where earlier ones are among them, when they ended."""
        now = time.time()
        with disk_errors(self._folder):
            writer = self._open()
            for place in range(self._written, len(lines)):
                ended = now - sum(line.seconds for line in lines[place + 1 :])
                self._add(_columns(lines[place]), lines[place].epoch, ended)
            writer.flush()
        self._written = len(lines)

    def finish(self, run: TrainRun) -> None:
        """Write the whole history of a run that was trained without this, and the test set's numbers."""
        if not self._written and run.reused and self._folder.is_dir():
            return
        self.write(run.history)
        tested = {name: value for name, value in run.metrics.items() if name.startswith("test_")}
        with disk_errors(self._folder):
            self._add(tested, len(run.history), time.time())

    def close(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with disk_errors(self._folder):
                writer.close()

    def _open(self) -> Any:
        if self._writer is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            make_folder(self._folder)
            now = time.time()
            name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
            self._writer = self._writer_of((self._folder / name).open("wb"))
            self._put(self._event(wall_time=now, file_version="brain.Event:2"))
            start = self._event(step=0, wall_time=now)  # what shows the curves already drops its older points
            start.session_log.status = 1
            self._put(start)
        return self._writer

    def _add(self, values: Mapping[str, Any], step: int, when: float) -> None:
        points = [self._summary.Value(tag=name, simple_value=value) for name, value in curve_values(values).items()]
        self._open()
        self._put(self._event(step=step, wall_time=when, summary=self._summary(value=points)))

    def _put(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


class WandB:
    """A run of Weights & Biases, by the name of its folder, which later processes go on with."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        with needs_extra("wandb", "wandb", "--log wandb"):
            import wandb
        self._wandb, self._folder, self._about, self._next = wandb, folder, about, 1
        self._run: Any = None

    def write(self, lines: Sequence[EpochLine]) -> None:
        """Write the epochs that the run does not have yet."""
        run = self._open()
        for line in lines[self._next - 1 :]:
            run.log(curve_values(_columns(line)), step=line.epoch)
        self._next = max(self._next, len(lines) + 1)

    def finish(self, run: TrainRun) -> None:
        """Write the best epoch's numbers as the run's summary."""
        if run.reused and (self._folder / "wandb").is_dir():
            return
        self.write(run.history)
        self._open().summary.update({"best epoch": run.best_epoch, **curve_values(run.metrics)})

    def close(self) -> None:
        """End the run, and wait for what is sent."""
        if self._run is not None:
            self._run.finish()
        self._run = None

    def _open(self) -> Any:
        if self._run is None:
            name = blake2b(os.fsencode(os.path.abspath(self._folder)), digest_size=8).hexdigest()
            self._drop_partial(name)
            try:
                self._run = self._wandb.init(
                    project=os.environ.get("WANDB_PROJECT", "srcache"),
                    id=name,
                    name=os.environ.get("WANDB_NAME", f"{self._folder.parent.name}/{self._folder.name}"),
                    dir=str(self._folder),
                    config=dict(self._about),
                    resume="allow",
                    settings=self._wandb.Settings(silent=True, console="off"),
                )
            except self._wandb.Error as error:
                what = f"Weights & Biases cannot be written to ({error})"
                raise MachineError(f"{what}; WANDB_MODE=offline needs no network and no account") from error
            if self._run.resumed:
                self._next = max(1, self._run.step)
        return self._run

    def _drop_partial(self, name: str) -> None:
        """Remove what an offline run wrote before it was stopped: the new one has all epochs."""
        for old in (self._folder / "wandb").glob(f"offline-run-*-{name}"):
            shutil.rmtree(old, ignore_errors=True)


KINDS: Mapping[str, Callable[[Path, Mapping[str, Any]], Curves]] = {"tensorboard": TensorBoard, "wandb": WandB}
"""Where curves can be written to, by the name that `--log` takes."""


def require_curves(kinds: Sequence[str]) -> None:
    """Refuse names that are none, and those whose package is not installed, before anything is trained.

    Raises:
        ConfigError: no such kind; all of them.
        MissingExtraError: its package is not here.
    """
    mistakes = Mistakes()
    for kind in kinds:
        mistakes.require(kind in KINDS, f"curves are written to one of {', '.join(KINDS)}, but got {kind!r}")
    mistakes.raise_as(ConfigError, "these curves cannot be written")
    for kind in kinds:
        KINDS[kind](Path(), {})


class CurveWriter:
    """Writes the curves of one training to every place that was asked for, epoch by epoch."""

    def __init__(self, folder: Path, places: Sequence[Curves]) -> None:
        self._folder, self._places = folder, places

    def epoch_over(self) -> None:
        """Write the history as it is now, with the epochs that an earlier process trained."""
        for place in self._places:
            place.write(read_history(self._folder))

    def finish(self, run: TrainRun) -> None:
        """The training is over."""
        for place in self._places:
            place.finish(run)


@contextmanager
def open_curves(kinds: Sequence[str], folder: Path, about: Mapping[str, Any]) -> Iterator[CurveWriter]:
    """Around a training: what its epochs and its end are told to.

    Args:
        kinds: of `KINDS`.
        folder: the run's.
        about: what is trained, for people.

    Raises:
        MissingExtraError: a package is not here.
    """
    places = [KINDS[kind](folder, about) for kind in dict.fromkeys(kinds)]
    with ExitStack() as stack:
        for place in places:
            stack.callback(_close, place)
        yield CurveWriter(folder, places)


def _close(place: Curves) -> None:
    with suppress(OSError):
        place.close()


def _columns(line: EpochLine) -> dict[str, Any]:
    return {name: getattr(line, name) for name in _NAMES if hasattr(line, name)}
