"""A training loop that anybody can read in a minute: a small network, a seeded order, the same numbers every time.

On the CPU the same seed and data give the same numbers bit for bit on one kind of processor. All chance (first weights,
order, transforms that draw from torch) comes from the seed, and torch's global generator is afterwards what it was
before. On an accelerator the same is asked for, but torch has no such promise for every operation.

One thread is the default: sums then do not hang on the number of cores, a network this small gains little from more,
and on a machine that is busy with something else, threads that wait for each other were ten times slower.

What is reported is the last epoch, not the best one: to pick an epoch by its test accuracy is to train on the test set.
A model is kept as safetensors with a JSON file beside it; nothing is pickled.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from srcache.cnn import SMALLEST, small_cnn
from srcache.errors import CatalogError, ConfigError, DamagedError, listed
from srcache.files import write_whole
from srcache.keys import image_key
from srcache.machine import resolve_device

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import DataLoader, Dataset

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
_SCHEMA = "srcache.model/1"


class Examples(Protocol):
    """A map-style data set of (tensor (3, H, W) in [0, 1], label); `set_epoch(epoch)` is called if it has one."""

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """One example."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How to train.

    Attributes:
        epochs, batch_size: how often the training set is seen, and how many pictures make a step.
        learning_rate: the highest; it rises for the first 30 % of all steps and then falls to almost nothing.
        weight_decay: of AdamW.
        width: channels of the first layer; the network has 4 blocks of width × 1, 2, 4, 4.
        threads: of the CPU; another number moves results by rounding.
        seed: of all chance.
        device: `cpu`, `cuda`, `cuda:1`, …, or `auto`.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    width: int = 12
    threads: int = 1
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "width", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, but is {getattr(self, name)}")
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a number of at least 0, but is {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be a whole number from 0 to 2**63 - 1, but is {self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of a training's history: mean loss, and shares of right answers while training and on the test set."""

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A trained network and how it did.

    Attributes:
        classes: names of the labels 0, 1, ….
        history: one line per epoch.
        labels, predictions: of the test set, in its order, after the last epoch.
        model: the network after the last epoch, on the CPU, in evaluation mode.
    """

    settings: TrainSettings
    classes: tuple[str, ...]
    history: tuple[Epoch, ...]
    labels: tuple[int, ...]
    predictions: tuple[int, ...]
    model: "nn.Module" = field(repr=False, compare=False)

    @property
    def accuracy(self) -> float:
        """The share of right answers on the test set after the last epoch."""
        return self.history[-1].test_accuracy

    @property
    def best_accuracy(self) -> float:
        """The highest test accuracy of any epoch: for looking at, not for reporting."""
        return max(epoch.test_accuracy for epoch in self.history)

    def plain(self) -> dict[str, Any]:
        """All but the network, as JSON values."""
        return {
            "settings": asdict(self.settings),
            "classes": list(self.classes),
            "accuracy": self.accuracy,
            "history": [asdict(epoch) for epoch in self.history],
            "labels": list(self.labels),
            "predictions": list(self.predictions),
        }


def train(
    train_set: Examples,
    test_set: Examples,
    classes: Sequence[str],
    settings: TrainSettings | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> TrainResult:
    """Train a small network from nothing and test it after every epoch.

    Args:
        train_set, test_set: of float tensors (3, H, W) in [0, 1] of one size, and labels that count from 0.
        classes: the labels' names.
        settings: how to train; the defaults suit a few thousand small pictures.
        progress: called with each epoch's line of the history.

    Raises:
        ConfigError: an empty set, or a loss that is no longer a number.
        CatalogError: a label without a class, or pictures that are no such tensors.
        DeviceError: no such device.
    """
    settings = settings or TrainSettings()
    for name, examples in (("training", train_set), ("test", test_set)):
        if not len(examples):
            raise ConfigError(f"expected a {name} set with pictures, but got an empty one")
    with _steady(settings):
        return _Training(train_set, test_set, tuple(classes), settings).run(progress)


def save_model(result: TrainResult, folder: Path) -> None:
    """Write the weights and their description into a folder, each file whole or not at all.

    Raises:
        DiskFullError: no room, or no permission.
    """
    from safetensors.torch import save

    weights = save({name: value.contiguous() for name, value in result.model.state_dict().items()})
    description = {"schema": _SCHEMA, "network": "small_cnn", "weights": image_key(weights), **result.plain()}
    write_whole(folder / WEIGHTS, weights)
    write_whole(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def load_model(folder: Path) -> tuple["nn.Module", tuple[str, ...]]:
    """A saved network, on the CPU and in evaluation mode, and its classes.

    Raises:
        ConfigError: there is none.
        DamagedError: the files are not what was written.
    """
    from safetensors.torch import load

    try:
        weights = (folder / WEIGHTS).read_bytes()
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"expected {WEIGHTS} and {DESCRIPTION} in {folder}, but: {error.strerror}") from error
    except ValueError as error:
        raise DamagedError(f"{folder / DESCRIPTION} is not JSON ({error}); train again") from error
    if not isinstance(description, dict) or _named(description) != (_SCHEMA, image_key(weights)):
        raise DamagedError(f"{folder / WEIGHTS} is not what {DESCRIPTION} beside it describes; train again")
    classes = tuple(description["classes"])
    model = small_cnn(len(classes), int(description["settings"]["width"]))
    model.load_state_dict(load(weights))
    return model.eval(), classes


def _named(description: dict[str, Any]) -> tuple[Any, Any]:
    return description.get("schema"), description.get("weights")


class _Training:
    """The state of one training: network, optimiser, and the two loaders."""

    def __init__(
        self, train_set: Examples, test_set: Examples, classes: tuple[str, ...], settings: TrainSettings
    ) -> None:
        import torch

        self._settings, self._classes = settings, classes
        self._sets, self._device = (train_set, test_set), resolve_device(settings.device)
        self._model = small_cnn(len(classes), settings.width).to(self._device)
        self._train = _loader(train_set, settings, shuffle=True)
        self._test = _loader(test_set, settings, shuffle=False)
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, settings.learning_rate, total_steps=settings.epochs * len(self._train)
        )

    def run(self, progress: Callable[[Epoch], None] | None) -> TrainResult:
        history: list[Epoch] = []
        labels: list[int] = []
        predictions: list[int] = []
        for number in range(self._settings.epochs):
            started = time.perf_counter()
            for examples in self._sets:
                if hasattr(examples, "set_epoch"):
                    examples.set_epoch(number)
            loss, train_accuracy = self._learn(number)
            labels, predictions = self._predict()
            history.append(
                Epoch(
                    epoch=number,
                    loss=loss,
                    train_accuracy=train_accuracy,
                    test_accuracy=_share_right(labels, predictions),
                    seconds=time.perf_counter() - started,
                )
            )
            if progress is not None:
                progress(history[-1])
        return TrainResult(
            settings=self._settings,
            classes=self._classes,
            history=tuple(history),
            labels=tuple(labels),
            predictions=tuple(predictions),
            model=self._model.to("cpu").eval(),
        )

    def _learn(self, number: int) -> tuple[float, float]:
        """One epoch; mean loss, and the share of right answers given on the way."""
        from torch.nn.functional import cross_entropy

        self._model.train()
        losses: list[float] = []
        labels: list[int] = []
        answers: list[int] = []
        for images, wanted in self._batches(self._train):
            given = self._model(images)
            loss = cross_entropy(given, wanted)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self._schedule.step()
            losses.append(loss.item())
            labels += wanted.tolist()
            answers += given.argmax(1).tolist()
        mean = math.fsum(losses) / len(losses)
        if not math.isfinite(mean):
            raise ConfigError(
                f"the loss was no longer a number in epoch {number}; "
                f"lower learning_rate (now {self._settings.learning_rate:g})"
            )
        return mean, _share_right(labels, answers)

    def _predict(self) -> tuple[list[int], list[int]]:
        """The test set's labels and the network's answers."""
        import torch

        self._model.eval()
        labels: list[int] = []
        answers: list[int] = []
        with torch.inference_mode():
            for images, wanted in self._batches(self._test):
                labels += wanted.tolist()
                answers += self._model(images).argmax(1).tolist()
        return labels, answers

    def _batches(self, loader: "DataLoader[Any]") -> Iterator[tuple["Tensor", "Tensor"]]:
        for images, labels in loader:
            if int(labels.min()) < 0 or int(labels.max()) >= len(self._classes):
                raise CatalogError(
                    f"expected labels from 0 to {len(self._classes) - 1} for the classes "
                    f"{', '.join(self._classes)}, but got {sorted(set(labels.tolist()))}"
                )
            yield images.to(self._device), labels.to(self._device)


def _loader(examples: Examples, settings: TrainSettings, *, shuffle: bool) -> "DataLoader[Any]":
    """In this process, in an order of the seed; a last batch too short for its own statistics is left out."""
    import torch
    from torch.utils.data import DataLoader

    generator = torch.Generator().manual_seed(settings.seed)
    short = shuffle and len(examples) > settings.batch_size
    return DataLoader(
        cast("Dataset[Any]", examples),
        settings.batch_size,
        shuffle=shuffle,
        drop_last=short,
        generator=generator,
        collate_fn=_stacked,
    )


def _stacked(examples: Sequence[tuple[Any, Any]]) -> tuple["Tensor", "Tensor"]:
    """Examples → one batch; what cannot be stacked is refused in words."""
    import torch

    images = [image for image, _ in examples]
    for image in images:
        if not isinstance(image, torch.Tensor) or not image.is_floating_point() or image.ndim != 3:
            raise CatalogError(
                f"expected pictures as float tensors (3, H, W), but got {type(image).__name__}; "
                "give the data set a transform such as torchvision.transforms.ToTensor()"
            )
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) > 1 or shapes[0][0] != 3 or min(shapes[0][1:]) < SMALLEST:
        raise CatalogError(
            f"expected tensors (3, H, W) of one size of at least {SMALLEST}×{SMALLEST} pixels, but got {listed(shapes)}"
        )
    return torch.stack(images), torch.tensor([int(label) for _, label in examples])


@contextmanager
def _steady(settings: TrainSettings) -> Iterator[None]:
    """Chance from the seed, deterministic algorithms, and a set number of threads; as it was before, afterwards."""
    import torch

    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_num_threads(settings.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(before, warn_only=warned)


def _share_right(labels: Sequence[int], answers: Sequence[int]) -> float:
    return sum(label == answer for label, answer in zip(labels, answers, strict=True)) / len(labels)
