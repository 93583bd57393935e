"""For tests of callbacks: a data set whose variant, and so the size of its images, follows the epoch; what was seen."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.recipe.reading import resolve

RECIPE = resolve(
    {"name": "r", "engine": "resample", "scale": 4, "degradation": "box/2", "options": {"filter": "nearest"}}
)
KINDS = {8: "lr", 16: "hr", 32: "sr"}
"""The side of an image → the variant that it is."""

STAGES = "0: lr; 1: sr; 2: hr; 3: lr"


def open_staged(folder: Path) -> SRAugmentedDataset:
    """A new data set, as in a new process. The stage of its policy shows in the size of the image."""
    return SRAugmentedDataset(folder, folder.parent / "cache", policy=STAGES, transform=to_tensor)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """A Pillow image → float tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class SeenVariants:
    """Which variants a loop got, epoch by epoch: a set of kinds and the number of batches."""

    def __init__(self) -> None:
        self.epochs: dict[int, tuple[set[str], int]] = {}

    def note(self, epoch: int, images: torch.Tensor) -> None:
        """Add a batch."""
        kinds, batches = self.epochs.get(epoch, (set(), 0))
        self.epochs[epoch] = kinds | {KINDS[images.shape[-1]]}, batches + 1
