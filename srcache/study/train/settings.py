"""How a classifier is trained: one frozen value, checked at birth, that travels from the command line to the run."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from srcache.errors import ConfigError, Mistakes
from srcache.files.documents import short
from srcache.files.typed import typed_fields
from srcache.study.arms.augment import AUGMENTATIONS, FITS
from srcache.study.train.networks import default_size, require_name

OPTIMIZERS = ("adamw", "rmsprop", "sgd")
SCHEDULES = ("onecycle", "constant", "cosine")
PRECISIONS = ("fp32", "amp", "bf16", "fp16")
MONITORS = {"val_loss": -1, "val_accuracy": 1, "last": 0}
"""What the best epoch is chosen by: the least loss or the highest accuracy on the validation set (the earliest of equal
ones), or none of them: the last epoch."""

CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "monitor": tuple(MONITORS),
    "augmentation": AUGMENTATIONS,
    "fit": FITS,
}
"""What settings of these names may be."""

_MOST_COUNT, _MOST_SIDE = 2**31 - 1, 10_000
_COUNTS = ("epochs", "batch_size", "threads", "patience")
NUMBERS = ("learning_rate", "weight_decay", "momentum", "rho", "epsilon")
"""Settings that are numbers of at least 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a classifier is trained; one that cannot be is refused when it is made, with all mistakes.

    Attributes:
        network: see `networks`: thesis-lr, thesis-sr, small, small:WIDTH or torchvision:NAME.
        weights: a file of a torchvision network's weights to start from (safetensors, or a .pth with tensors only).
        size: side of the square images that the network sees, in pixels; None for the network's own.
        fit: how images get there: `pad` keeps the aspect, `stretch` does not (see `augment.fit_to_size`).
        epochs, batch_size: how often the training set is seen at most, and how many images make a step.
        optimizer: adamw, rmsprop (Keras' arithmetic) or sgd.
        learning_rate: the highest.
        schedule: `onecycle` rises for 30 % of all steps, then falls to almost nothing; `cosine` falls to 0 from the
            first step; `constant`.
        weight_decay: of adamw and sgd.
        momentum: of sgd and rmsprop.
        rho, epsilon: of rmsprop.
        augmentation: `none`, `flip`, `thesis`, or `trivial` (torchvision's TrivialAugmentWide); see `augment`.
        precision: fp32; bf16 or fp16 (CUDA only) where autocast deems it safe; `amp` is fp16 on CUDA, bf16 on a CPU.
        monitor: what the best epoch, whose weights are kept, is chosen by: val_loss, val_accuracy, or `last`.
        patience: stop after so many epochs without a better one; None never stops.
        seed: of all random choices.
        threads: of the CPU; another number changes results by rounding.
        device: `cpu`, `cuda`, `cuda:1`, …, or `auto`.
        workers: processes that read images; 0 reads in this one. Changes no number.
    """

    network: str = "small"
    weights: str | None = None
    size: int | None = None
    fit: str = "pad"
    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    schedule: str = "onecycle"
    weight_decay: float = 1e-2
    momentum: float = 0.0
    rho: float = 0.9
    epsilon: float = 1e-7
    augmentation: str = "none"
    precision: str = "fp32"
    monitor: str = "val_loss"
    patience: int | None = None
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    workers: int = 0

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        _check(asdict(self), mistakes)
        _refuse(mistakes)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of what the network sees."""
        return (self.size, self.size) if self.size is not None else default_size(self.network)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def read_settings(values: Mapping[str, Any]) -> TrainSettings:
    """Settings as people write them, in YAML or JSON; what is left out has its default.

    Raises:
        ConfigError: unknown names, or values that cannot be; every mistake at once.
    """
    mistakes = Mistakes()
    known = [field.name for field in fields(TrainSettings)]
    for name in values:
        mistakes.require(name in known, f"there is no setting {name!r}; known: {', '.join(known)}")
    given = typed_fields(TrainSettings, {name: values[name] for name in values if name in known}, mistakes)
    found = {field.name: given.get(field.name, field.default) for field in fields(TrainSettings)}
    _check(found, mistakes)
    _refuse(mistakes)
    return TrainSettings(**found)


def _check(found: Mapping[str, Any], mistakes: Mistakes) -> None:
    """Note what is wrong with the values of settings; their types are right already."""
    with mistakes.noting():
        require_name(found["network"])
    for name, choices in CHOICES.items():
        value = short(found[name])
        mistakes.require(found[name] in choices, f"{name} must be one of {', '.join(choices)}, but is {value}")
    for name in (*_COUNTS, "size"):
        value, most = found[name], _MOST_SIDE if name == "size" else _MOST_COUNT
        mistakes.require(value is None or value >= 1, f"{name} must be an integer of at least 1, but is {value}")
        mistakes.require(value is None or value <= most, f"{name} must be at most {most}, but is {value}")
    for name in NUMBERS:
        mistakes.require(0 <= found[name] < math.inf, f"{name} must be a number of at least 0, but is {found[name]}")
    seed, workers = found["seed"], found["workers"]
    mistakes.require(0 <= seed < 2**63, f"seed must be an integer from 0 to 2**63 - 1, but is {seed}")
    mistakes.require(0 <= workers <= 1024, f"workers must be an integer from 0 to 1024, but is {workers}")
    _check_together(found, mistakes)


def _check_together(found: Mapping[str, Any], mistakes: Mistakes) -> None:
    """Settings that have no effect together with others are refused rather than ignored."""
    mistakes.require(
        found["patience"] is None or found["monitor"] != "last",
        "patience needs a monitor that can get worse: val_loss or val_accuracy, but monitor is last",
    )
    mistakes.require(
        found["weights"] is None or found["network"].startswith("torchvision:"),
        f"weights are for networks torchvision:NAME, but network is {found['network']!r}",
    )
    mistakes.require(
        not found["momentum"] or found["optimizer"] != "adamw",
        "momentum is for sgd and rmsprop, but optimizer is adamw",
    )


def _refuse(mistakes: Mistakes) -> None:
    """Raise an error of one mistake, or a list of several."""
    if len(mistakes.found) == 1:
        raise ConfigError(mistakes.found[0])
    mistakes.raise_as(ConfigError, "these settings cannot be")
