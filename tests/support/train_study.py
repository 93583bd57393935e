"""A small study's data for tests: stripes across or down, HR of 32 pixels, LR of 16, and a cache of SR by two recipes.

HOME/hr/{train,validation,test}/{across,down}/*.png     HOME/lr/…     HOME/cache
"""

from pathlib import Path

import numpy as np
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.recipe.reading import load_recipe
from srcache.study.arms.arms import arm_dataset
from srcache.study.arms.sets import ArmSets
from srcache.study.prepare.lr import make_lr

CLASSES = ("across", "down")
COUNTS = {"train": 9, "validation": 4, "test": 3}
"""Pictures per class."""

SIDE, FACTOR = 32, 2


def make_stripes(home: Path) -> Path:
    """Write pictures and cache."""
    dice = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for label in CLASSES:
            folder = home / "hr" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(_stripes(label, dice)).save(folder / f"{label} {number}.png")
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


def _stripes(label: str, dice: np.random.Generator) -> np.ndarray:
    picture = dice.uniform(0, 90, (SIDE, SIDE, 3))
    picture[int(dice.integers(8)) :: 8] += 120
    picture[int(dice.integers(8)) :: 8] += 120
    return (picture if label == "across" else picture.transpose(1, 0, 2)).clip(0, 255).astype(np.uint8)
