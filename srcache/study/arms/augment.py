"""Images made ready for a network: brought to its size, and changed at random while training, as the thesis did.

What is drawn depends on (seed, epoch, index) alone, never on a generator that others use too, so that any number of
workers, and a training that was resumed, see the same images. The changes mean what Keras' layers of the same names
mean (tested against them):

    flip          left and right, for one image in two
    brightness    a number from ±0.1 is added, and the sum clipped to [0, 1]
    contrast      distances from each channel's mean are multiplied by 0.8 to 1.2, and the result clipped (as Keras
                  documents a factor of 0.2; given that single number, Keras 3.15 in fact draws from 1 to 1.2)
    saturation    u is drawn from 0.4 to 0.6; HSV's saturation is multiplied by u / (1 - u), so 0.5 changes nothing
    translation   by up to 0.1 of each side, bilinear; what comes in is mirrored at the edge, the edge pixel repeated
                  (Keras' fill mode `reflect`, its default)

`trivial` is torchvision's TrivialAugmentWide (Müller and Hutter, 2021), called as it is: one of 14 changes of any
strength, on uint8. It draws from torch's global generator, which is seeded for the call and put back afterwards.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from srcache.errors import ConfigError
from srcache.images import Pixels, resize

if TYPE_CHECKING:
    from torch import Tensor

FITS = ("pad", "stretch")
AUGMENTATIONS = ("none", "flip", "thesis", "trivial")
BRIGHTNESS, CONTRAST, SATURATION, TRANSLATION = 0.1, 0.2, (0.4, 0.6), 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The changes that are made to one image; the defaults do nothing.

    Attributes:
        flip: mirror it.
        brightness: what is added.
        contrast: what distances from the mean are multiplied by.
        saturation: from 0 (grey) to below 1; 0.5 changes nothing.
        down, right: how far it is moved, as shares of height and width.
        trivial: the seed with which torchvision's TrivialAugmentWide draws one more change; None for none.
    """

    flip: bool = False
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 0.5
    down: float = 0.0
    right: float = 0.0
    trivial: int | None = None


def fit_to_size(rgb: Pixels, size: tuple[int, int], how: str) -> Pixels:
    """An image brought to (height, width).

    Args:
        rgb: the image.
        size: height and width of the result.
        how: `pad` keeps the aspect: black is added left and right, or above and below, alike on both sides, until the
            shape is right, then the image is resized (as Keras' `pad_to_aspect_ratio`); `stretch` resizes it as it
            is. Both by Pillow's bicubic filter, antialiased; an image that has the size already is not touched.

    Raises:
        ConfigError: another word for `how`.
    """
    if how not in FITS:
        raise ConfigError(f"fit must be one of {', '.join(FITS)}, but is {how!r}")
    return resize(_pad(rgb, size) if how == "pad" else rgb, size, "bicubic")


def draw_change(kind: str, seed: int, epoch: int, index: int) -> Change:
    """What to do to image `index` in an epoch, by one of `AUGMENTATIONS`: a pure function of its arguments.

    Raises:
        ConfigError: another kind.
    """
    if kind not in AUGMENTATIONS:
        raise ConfigError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, but is {kind!r}")
    if kind == "none":
        return Change()
    rng = random.Random(f"srcache.augment/{seed}/{epoch}/{index}")
    if kind == "trivial":
        return Change(trivial=rng.getrandbits(63))
    flip = rng.random() < 0.5
    if kind == "flip":
        return Change(flip=flip)
    return Change(
        flip=flip,
        brightness=rng.uniform(-BRIGHTNESS, BRIGHTNESS),
        contrast=rng.uniform(1 - CONTRAST, 1 + CONTRAST),
        saturation=rng.uniform(*SATURATION),
        down=rng.uniform(-TRANSLATION, TRANSLATION),
        right=rng.uniform(-TRANSLATION, TRANSLATION),
    )


def apply(image: "Tensor", change: Change) -> "Tensor":
    """Make a change, in the order of this module's list; float32 (3, H, W) in [0, 1] → the same."""
    if change.trivial is not None:
        image = trivial_augment(image, change.trivial)
    if change.flip:
        image = image.flip(-1)
    if change.brightness:
        image = brighten(image, change.brightness)
    if change.contrast != 1:
        image = contrast(image, change.contrast)
    if change.saturation != 0.5:
        image = saturate(image, change.saturation)
    return translate(image, change.down, change.right)


def trivial_augment(image: "Tensor", seed: int) -> "Tensor":
    """One of TrivialAugmentWide's changes, as torchvision draws it after `torch.manual_seed(seed)`; rounds to uint8."""
    import torch

    levels = (image * 255).round_().to(torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        levels = _trivial()(levels)
    return levels.float() / 255


@cache
def _trivial() -> "Callable[[Tensor], Tensor]":
    from torchvision.transforms.v2 import TrivialAugmentWide

    made: Callable[[Tensor], Tensor] = TrivialAugmentWide()
    return made


def brighten(image: "Tensor", delta: float) -> "Tensor":
    """Add a number to every value, and clip to [0, 1]."""
    return (image + delta).clamp_(0, 1)


def contrast(image: "Tensor", factor: float) -> "Tensor":
    """Multiply distances from each channel's mean, and clip to [0, 1]."""
    mean = image.mean((-2, -1), keepdim=True)
    return ((image - mean) * factor + mean).clamp_(0, 1)


def saturate(image: "Tensor", factor: float) -> "Tensor":
    """Multiply HSV's saturation by factor / (1 - factor), to at most 1; hue and value stay.

    In HSV every channel lies below the greatest by (value · saturation) times a number of the hue alone, so that to
    multiply the saturation is to multiply these distances.
    """
    import torch

    greatest, least = image.amax(0, keepdim=True), image.amin(0, keepdim=True)
    distance = greatest - least
    most = greatest / torch.where(distance > 0, distance, 1)
    times = torch.where(distance > 0, most.clamp(max=factor / (1 - factor)), 1)
    return greatest - (greatest - image) * times


def translate(image: "Tensor", down: float, right: float) -> "Tensor":
    """Move an image by shares of its height and width, bilinear; the gap is filled with its reflection."""
    return _shift(_shift(image, down * image.shape[-2], -2), right * image.shape[-1], -1)


def _shift(image: "Tensor", by: float, axis: int) -> "Tensor":
    """Every row or column is taken from `by` before it: between two neighbours, in proportion."""
    import torch

    if by == 0:
        return image
    side, first = image.shape[axis], math.floor(-by)
    wide = image.index_select(axis, _mirror(torch.arange(first, first + side + 1), side))
    return torch.lerp(wide.narrow(axis, 0, side), wide.narrow(axis, 1, side), -by - first)


def _mirror(places: "Tensor", side: int) -> "Tensor":
    """Places outside 0 … side - 1 → those of the reflection there: -1 is 0, -2 is 1."""
    import torch

    around = places.remainder(2 * side)
    return torch.minimum(around, 2 * side - 1 - around)


def _pad(rgb: Pixels, size: tuple[int, int]) -> Pixels:
    """Black on both sides until the shape is that of `size`, to the pixel below."""
    (height, width), (wanted_height, wanted_width) = rgb.shape[:2], size
    above = (max(height, width * wanted_height // wanted_width) - height) // 2
    left = (max(width, height * wanted_width // wanted_height) - width) // 2
    return np.pad(rgb, ((above, above), (left, left), (0, 0))) if above or left else rgb
