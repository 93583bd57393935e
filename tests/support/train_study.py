"""A small study for tests of training: stripes across or down, HR of 32 pixels, LR of 16, a cache of SR by two recipes.

HOME/hr/{train,validation,test}/{across,down}/*.png     HOME/lr/…     HOME/cache

A quick training of it, ways to interrupt one, and to compare two.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.progress import Progress
from srcache.recipe.reading import load_recipe
from srcache.study.arms.arms import arm_dataset
from srcache.study.arms.sets import ArmSets
from srcache.study.prepare.lr import make_lr
from srcache.study.train.runs import TrainRun
from srcache.study.train.settings import TrainSettings

CLASSES = ("across", "down")
COUNTS = {"train": 9, "validation": 4, "test": 3}
"""Images per class."""

SIDE, FACTOR = 32, 2

QUICK = TrainSettings(network="small:4", size=16, epochs=3, batch_size=8, augmentation="thesis")
"""A training of two steps an epoch, on LR as it is."""


def make_stripes(home: Path) -> Path:
    """Write images and cache."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for label in CLASSES:
            folder = home / "hr" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(_stripes(label, rng)).save(folder / f"{label} {number}.png")
        make_lr(home / "hr" / split, home / "lr" / split, FACTOR)
        for name in ("bicubic", "lanczos"):
            fill(scan(home / "lr" / split), load_recipe(name, {"scale": FACTOR}), home / "cache")
    return home


def arm(home: Path, name: str, split: str = "train", recipe: str = "bicubic", **more: object):
    """One arm of one split."""
    return arm_dataset(
        name, lr=home / "lr" / split, hr=home / "hr" / split, cache=home / "cache", recipe=recipe, **more
    )


def arm_sets(home: Path, name: str = "lr", test: bool = True, **more: object) -> ArmSets:
    """Training, validation and test sets of an arm."""
    return ArmSets(
        train=arm(home, name, "train", **more),
        validation=arm(home, name, "validation", **more),
        test=arm(home, name, "test", **more) if test else None,
    )


def weights_of(run: TrainRun) -> dict[str, Tensor]:
    """The tensors that a run kept."""
    return load_file(run.folder / "model.safetensors")


def assert_same(one: TrainRun, other: TrainRun) -> None:
    """Equal numbers and weights, bit for bit."""
    assert one.history == other.history
    assert (one.best_epoch, one.metrics, one.weights) == (other.best_epoch, other.metrics, other.weights)
    assert (one.folder / "model.safetensors").read_bytes() == (other.folder / "model.safetensors").read_bytes()


class StopError(Exception):
    """What a listener raises in the middle of a training."""


def stop_after(steps: int) -> Progress:
    """A listener that ends a training after so many steps."""

    def show(done: int, _total: int) -> None:
        if done == steps:
            raise StopError

    return show


def _stripes(label: str, rng: np.random.Generator) -> np.ndarray:
    image = rng.uniform(0, 90, (SIDE, SIDE, 3))
    image[int(rng.integers(8)) :: 8] += 120
    image[int(rng.integers(8)) :: 8] += 120
    return (image if label == "across" else image.transpose(1, 0, 2)).clip(0, 255).astype(np.uint8)
