"""What makes two trainings the same, and what one keeps after every epoch, so that a killed one is resumed.

    RUN/state/last.safetensors       the network and the optimiser after the last complete epoch; the rest as JSON in
                                     its head, so that one rename replaces all of it at once
    RUN/state/best-0007.safetensors  the weights of the best epoch so far; the file above says which one that is

No generator's state is kept: all random choices are a function of (seed, epoch, index).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.errors import ConfigError, DamagedError, listed
from srcache.files import disk_errors
from srcache.files.documents import Shape, parse_json
from srcache.files.system_errors import reading
from srcache.study.train.runs import (
    CURVES,
    HISTORY,
    RECORD,
    STATE,
    WEIGHTS,
    EpochLine,
    read_record,
    write_started,
    write_weights,
)

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_LAST, _NOTES = "last.safetensors", "srcache.state/1"
_NETWORK, _OPTIMIZER = "network.", "optimizer."
_UNMOVED = ("workers", "device", "weights")
"""Settings that are left out when trainings are compared: they move no number, or `inputs` says it better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """How far a training has come: what the next epoch needs besides the network and the optimiser.

    Attributes:
        identity: what makes two trainings the same.
        history: a line per finished epoch.
        best_epoch: counted from 1; 0 before the first.
        scaler: numbers of the scaling of fp16's loss; empty in other precisions.
    """

    identity: Mapping[str, Any]
    history: tuple[EpochLine, ...] = ()
    best_epoch: int = 0
    scaler: Mapping[str, Any]


def is_finished(run: Path, about: Mapping[str, Any], replace: bool) -> bool:
    """Whether the folder holds this training, finished; False where it is to be started or resumed.

    Raises:
        ConfigError: it holds another one (of at least one epoch), which is not to be replaced, or something else.
        DamagedError: its record is not what was written.
    """
    record = read_record(run)
    if record is None:
        if run.is_dir() and not all(_is_leftover(path) for path in run.iterdir()):
            raise ConfigError(f"expected a new or empty folder, or that of a run, but {run} is none; choose another")
        return False
    other = _differing_names(record, about)
    started = record["complete"] or (run / STATE / _LAST).is_file()
    if other and started and not replace:
        what = f"{run} holds another training, which differs in {listed(other)}"
        raise ConfigError(f"{what}; choose another folder, or --replace it")
    return not other and bool(record["complete"]) and (run / WEIGHTS).is_file()


def start_training(run: Path, about: Mapping[str, Any]) -> None:
    """Write into the folder what is going to be trained; another training's files are removed first.

    Raises:
        DiskFullError: no room, or no permission.
    """
    record = read_record(run)
    if record is not None and _differing_names(record, about):
        with disk_errors(run):
            old = [path for path in (run / STATE).iterdir() if path.suffix == ".safetensors"]
            for path in [*old, *(run / name for name in (WEIGHTS, HISTORY, CURVES, RECORD))]:
                path.unlink(missing_ok=True)
    write_started(run, about)


def save_state(run: Path, network: "nn.Module", optimizer: "Optimizer", progress: TrainProgress) -> None:
    """Keep all that the next epoch depends on; the best epoch's weights first, if this one is it.

    Raises:
        DiskFullError: no room, or no permission.
    """
    folder = run / STATE
    if progress.best_epoch == len(progress.history):
        write_weights(_best(folder, progress.best_epoch), network.state_dict())
    tensors, numbers = _flatten(optimizer.state_dict())
    tensors |= {f"{_NETWORK}{name}": value for name, value in network.state_dict().items()}
    plain = {
        "identity": progress.identity,
        "history": [asdict(line) for line in progress.history],
        "best_epoch": progress.best_epoch,
        "scaler": progress.scaler,
        "optimizer": numbers,
    }
    write_weights(folder / _LAST, tensors, {_NOTES: json.dumps(plain)})
    for path in folder.glob("best-*.safetensors"):
        if path != _best(folder, progress.best_epoch):
            path.unlink(missing_ok=True)


def load_state(
    run: Path, identity: Mapping[str, Any], network: "nn.Module", optimizer: "Optimizer"
) -> TrainProgress | None:
    """Put network and optimiser where the last complete epoch left them; None, and nothing is touched, without one.

    A state of another training (of other versions of packages, say) is no state.

    Raises:
        DamagedError: the files are not what was written.
    """
    path = run / STATE / _LAST
    if not path.is_file():
        return None
    plain, tensors = _read(path)
    if plain["identity"] != json.loads(json.dumps(identity)):
        return None
    history = tuple(EpochLine(**line) for line in plain["history"])
    prefix = len(_NETWORK)
    network.load_state_dict({name[prefix:]: value for name, value in tensors.items() if name.startswith(_NETWORK)})
    optimizer.load_state_dict(_unflatten(tensors, plain["optimizer"], optimizer))
    return TrainProgress(
        identity=plain["identity"], history=history, best_epoch=plain["best_epoch"], scaler=plain["scaler"]
    )


def best_weights(run: Path, epoch: int) -> "dict[str, Tensor]":
    """The weights of the best epoch.

    Raises:
        DamagedError: they are not there as they were written.
    """
    return _read(_best(run / STATE, epoch), notes=False)[1]


def drop_state(run: Path) -> None:
    """Remove what only an unfinished training needs."""
    with disk_errors(run / STATE):
        shutil.rmtree(run / STATE, ignore_errors=True)


def _best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch:04d}.safetensors"


_STATE: Shape = {"identity": {}, "history": [{}], "best_epoch": int, "optimizer": {}, "scaler": (dict, type(None))}
"""What an epoch's state says beside its tensors."""


def _read(path: Path, notes: bool = True) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    from safetensors import SafetensorError, safe_open

    try:
        with reading(path), safe_open(path, framework="pt") as file:
            plain = parse_json(file.metadata()[_NOTES], _STATE) if notes else {}
            return plain, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        what = f"{path} is not what a training wrote ({error}); delete {path.parent} to start anew"
        raise DamagedError(what) from error


def _flatten(state: Mapping[str, Any]) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """An optimiser's state as tensors by name, and what is no tensor."""
    import torch

    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for place, values in state["state"].items():
        for name, value in values.items():
            kept = tensors if isinstance(value, torch.Tensor) else numbers
            kept[f"{_OPTIMIZER}{place}.{name}"] = value
    return tensors, numbers


def _unflatten(tensors: "Mapping[str, Tensor]", numbers: Mapping[str, Any], optimizer: "Optimizer") -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *numbers.items()]:
        if key.startswith(_OPTIMIZER):
            place, _, name = key.removeprefix(_OPTIMIZER).partition(".")
            state.setdefault(int(place), {})[name] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _is_leftover(path: Path) -> bool:
    """Whether a file is what a crash in a training's first moment leaves."""
    return path.name.startswith(f".{RECORD}.") or (path.name == STATE and {p.name for p in path.iterdir()} <= {"lock"})


def _differing_names(record: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    return _differences(_comparable(record), _comparable(json.loads(json.dumps(about))))


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in record["settings"].items() if name not in _UNMOVED}
    return {"arm": record["arm"], "classes": record["classes"], "settings": settings, "inputs": record["inputs"]}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> list[str]:
    """The names, such as settings.epochs, of what differs."""
    found = []
    for name in sorted({*one, *other}):
        left, right = one.get(name), other.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += _differences(left, right, f"{above}{name}.")
        elif left != right:
            found.append(f"{above}{name}")
    return found
