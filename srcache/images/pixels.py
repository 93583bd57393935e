"""Images in memory: RGB arrays, their sizes, and batches of them as tensors."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srcache.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""
PIXEL_LIMIT = 100_000_000
"""Pixels that an image may have; the environment variable SRCACHE_MAX_PIXELS raises it."""
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def pixel_limit() -> int:
    """Pixels that an image may have, read from SRCACHE_MAX_PIXELS if that is set."""
    text = os.environ.get("SRCACHE_MAX_PIXELS", str(PIXEL_LIMIT))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"SRCACHE_MAX_PIXELS must be a positive integer, but is {text!r}")
    return int(text)


def require_pixels(width: int, height: int, what: str = "the image") -> None:
    """Refuse an image that is too large.

    Raises:
        ImageError: it has more pixels than `pixel_limit` (`too_large`).
    """
    if width * height > pixel_limit():
        raise ImageError(
            "too_large",
            f"{what} has {width}×{height} pixels, more than {pixel_limit()}; SRCACHE_MAX_PIXELS raises the limit",
        )


def resize(rgb: Pixels, size: tuple[int, int], resample: str) -> Pixels:
    """Pillow's resize (antialiased when it shrinks) to `size` = (height, width); 8 bit in, 8 bit out."""
    height, width = size
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), FILTERS[resample]))


def divisible_part(rgb: Pixels, factor: int) -> Pixels:
    """The top-left part of an image whose sides are multiples of `factor` ("mod-crop"); a view.

    A side shorter than the factor has no such part, and stays.
    """
    height, width = (side - side % factor if side >= factor else side for side in rgb.shape[:2])
    return rgb if rgb.shape[:2] == (height, width) else rgb[:height, :width]


def to_batch(images: Sequence[Pixels]) -> "Tensor":
    """Images of one size → float32 tensor (N, 3, H, W), exactly uint8 / 255."""
    import torch

    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).contiguous().float() / 255


def from_tensor(image: "Tensor") -> Pixels:
    """A float tensor (3, H, W) in [0, 1] on any device → pixels, rounded to the nearest of 256 levels."""
    levels = image.detach().float().clamp(0, 1).mul_(255).round_()
    if levels.device.type != "cpu":
        levels = levels.byte().cpu()
    planes = levels.numpy()
    array: Pixels = np.empty((*planes.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(planes):  # three strided copies beat one transposed conversion
        np.copyto(array[..., channel], plane, casting="unsafe")
    return array
