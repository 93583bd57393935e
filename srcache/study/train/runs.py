"""Run folders: what a training leaves behind, written so that a crash tears nothing, and read without unpickling.

    RUN/run.json            what was trained on what and how, the best epoch, its numbers; `complete` once it is done
    RUN/history.csv         a line per epoch
    RUN/curves.png          the same as a plot (where matplotlib is installed)
    RUN/model.safetensors   the weights of the best epoch, by the named validation metric
    RUN/state/              what a killed training is resumed from; gone at the end

run.json is written first, so that the folder says what it is, and again last, when all else is in its place.
"""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.errors import ConfigError, DamagedError
from srcache.files import csv_text, write_atomic
from srcache.files.documents import parse_json
from srcache.files.system_errors import reading
from srcache.keys import image_key
from srcache.study.train.networks import build_network
from srcache.study.train.settings import TrainSettings, read_settings

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMA = "srcache.run/1"
RECORD, HISTORY, CURVES, WEIGHTS, STATE = "run.json", "history.csv", "curves.png", "model.safetensors", "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLine:
    """One line of a training's history.

    Attributes:
        epoch: counted from 1.
        loss, train_accuracy: mean loss, and share of right answers, while training (the network changes meanwhile,
            and sees augmented images).
        val_loss, val_accuracy: on the validation set after the epoch.
        lr: the learning rate of the epoch's last step.
        seconds: how long it took.
    """

    epoch: int
    loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRun:
    """A finished training: what was trained on what and how, its numbers, and where its weights are.

    Attributes:
        folder: where it lies.
        arm: what it was trained on: lr, hr, sr, bicubic or a policy's text.
        classes: names of the labels 0, 1, ….
        inputs: digests of all that the numbers depend on besides the settings.
        history: a line per epoch.
        best_epoch: whose weights are kept, counted from 1.
        metrics: val_loss and val_accuracy of that epoch; with a test set test_loss and test_accuracy.
        balance: for each set, images per class.
        versions: of Python and the packages that can move a number.
        weights: digest of model.safetensors.
        seconds: of all epochs.
        stopped: whether patience ended it early.
        reused: whether it was found finished, and not trained now.
    """

    folder: Path
    arm: str
    classes: tuple[str, ...]
    settings: TrainSettings
    inputs: Mapping[str, Any]
    history: tuple[EpochLine, ...]
    best_epoch: int
    metrics: Mapping[str, float]
    balance: Mapping[str, Mapping[str, int]]
    versions: Mapping[str, str]
    device: str
    weights: str
    seconds: float = field(compare=False)
    stopped: bool
    reused: bool = field(default=False, compare=False)

    def network(self, device: str = "cpu") -> "nn.Module":
        """The network of the best epoch, in evaluation mode.

        Raises:
            ConfigError: its weights are gone.
            DamagedError: they are not what was written.
        """
        from safetensors.torch import load

        path = self.folder / WEIGHTS
        try:
            with reading(path):
                data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"expected a run's weights, but {path} cannot be read: {error.strerror}") from error
        if image_key(data) != self.weights:
            raise DamagedError(f"{path} is not what {RECORD} beside it describes; train again")
        network = build_network(self.settings.network, len(self.classes), self.settings.input_size)
        try:
            network.load_state_dict(load(data))
        except RuntimeError as error:
            raise DamagedError(
                f"{path} does not fit the network that {RECORD} beside it describes ({self.settings.network}, "
                f"{len(self.classes)} classes); train again"
            ) from error
        return network.eval().to(device)

    def plain(self) -> dict[str, Any]:
        """run.json's content."""
        left_out = ("folder", "settings", "history", "reused")
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        return {
            "schema": SCHEMA,
            "complete": True,
            **found,
            "classes": list(self.classes),
            "settings": self.settings.plain(),
            "epochs": len(self.history),
            "history": [asdict(line) for line in self.history],
        }


def open_run(folder: str | Path) -> TrainRun:
    """A finished run.

    Raises:
        ConfigError: there is none, or it is not finished.
        DamagedError: run.json is not what was written.
    """
    folder = Path(os.path.abspath(folder))
    record = read_record(folder)
    if record is None:
        raise ConfigError(f"expected the folder of a run (`srcache train`), but {folder} has no {RECORD}")
    if not record["complete"]:
        raise ConfigError(f"the training in {folder} is not finished; run the same `srcache train` again to go on")
    try:
        values = {f.name: record[f.name] for f in fields(TrainRun) if f.name in record}
        values |= {
            "classes": _classes(record["classes"]),
            "settings": read_settings(record["settings"]),
            "history": tuple(EpochLine(**line) for line in record["history"]),
        }
        return TrainRun(folder=folder, **values)
    except (KeyError, TypeError, ConfigError) as error:
        raise DamagedError(f"{folder / RECORD} is not what a training writes ({error}); train again") from error


def _classes(found: Any) -> tuple[str, ...]:
    """The names of classes, each once.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise TypeError("its classes are no list of names")
    if len(set(found)) < len(found):
        raise TypeError("a class is named twice")
    return tuple(found)


def read_record(folder: Path) -> dict[str, Any] | None:
    """run.json of a finished or started run; None if there is none.

    Raises:
        DamagedError: it is not what was written.
    """
    path = folder / RECORD
    try:
        with reading(path):
            record: dict[str, Any] = parse_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read ({error}); train again into another folder") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or "complete" not in record:
        raise DamagedError(f"{path} is no record of a run ({SCHEMA}); train into another folder")
    return record


def write_started(folder: Path, about: Mapping[str, Any]) -> None:
    """Write run.json, which says what is going to be trained; `complete` is false."""
    _write(folder, {"schema": SCHEMA, "complete": False, **about})


def write_finished(run: TrainRun) -> None:
    """Write run.json of a training whose other files are all in their place."""
    _write(run.folder, run.plain())


def write_history(folder: Path, history: Sequence[EpochLine]) -> None:
    """history.csv: the lines so far; numbers are written so that they read back exactly."""
    rows = ([repr(value) for value in asdict(line).values()] for line in history)
    write_atomic(folder / HISTORY, csv_text([[f.name for f in fields(EpochLine)], *rows]))


def read_history(folder: Path) -> list[EpochLine]:
    """The lines of history.csv; none where there is no such file, or another one."""
    try:
        with (folder / HISTORY).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [EpochLine(**{k: int(v) if k == "epoch" else float(v) for k, v in row.items()}) for row in rows]  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, csv.Error):
        return []


def write_weights(path: Path, tensors: "Mapping[str, Tensor]", notes: Mapping[str, str] | None = None) -> str:
    """Write a safetensors file, atomically; returns its digest."""
    from safetensors.torch import save

    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, dict(notes or {}))
    write_atomic(path, data)
    return image_key(data)


def write_curves(folder: Path, history: Sequence[EpochLine], best_epoch: int, title: str) -> bool:
    """curves.png: loss and accuracy by epoch; returns False, and draws nothing, where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    epochs = [line.epoch for line in history]
    names = (("loss", ("loss", "val_loss")), ("accuracy", ("train_accuracy", "val_accuracy")))
    for axes, (what, columns) in zip(figure.subplots(1, 2), names, strict=True):
        for column, label in zip(columns, ("training", "validation"), strict=True):
            axes.plot(epochs, [getattr(line, column) for line in history], ".-", label=label)
        axes.axvline(best_epoch, color="0.6", linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(xlabel="epoch", ylabel=what)
        axes.locator_params(axis="x", integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    write_atomic(folder / CURVES, out.getvalue())
    return True


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    write_atomic(folder / RECORD, json.dumps(_finite(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no infinity: what is no finite number becomes null."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
