"""Colour fixes: the colours of the LR image for the network's image, whose own colours drift.

`adain` gives each channel the mean and the spread of the source; `wavelet` gives the image the source's coarse part,
and leaves it its own detail. Both are those of Wu et al.'s program (arXiv:2311.16518): float32 on values in [0, 1],
clamped, and truncated to 8 bits. Blurs are sums of shifted images, not convolutions, which an accelerator may compute
in fewer bits; and each image is computed alone, so that its result does not depend on its batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

RADII = (1, 2, 4, 8, 16)
"""How far, in pixels, the blur of each level reaches."""


def adain(target: Tensor, source: Tensor) -> Tensor:
    """Each channel of `target` with the mean and the standard deviation of `source`.

    Args:
        target: uint8 (N, 3, H, W), the decoded images.
        source: likewise, the control images, at the same size.

    Returns:
        uint8 (N, 3, H, W), on the device of `target`.
    """
    return _fix_one_by_one(_adain, target, source)


def wavelet(target: Tensor, source: Tensor) -> Tensor:
    """The detail of `target` over the coarse part of `source`. Arguments and result: see `adain`."""
    return _fix_one_by_one(_wavelet, target, source)


FIXES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"adain": adain, "wavelet": wavelet}
"""Colour fixes by the names that recipes give them."""


def _fix_one_by_one(fix: Callable[[Tensor, Tensor], Tensor], target: Tensor, source: Tensor) -> Tensor:
    fixed = [fix(_in_unit_range(one), _in_unit_range(other)) for one, other in zip(target, source, strict=True)]
    return torch.stack([image.clamp(0, 1).mul(255).to(torch.uint8) for image in fixed])


def _in_unit_range(image: Tensor) -> Tensor:
    """8 bits as values in [0, 1]. By a tensor, because CUDA divides by numbers inexactly."""
    levels = image.float()
    return levels / torch.full_like(levels, 255)


def _adain(target: Tensor, source: Tensor) -> Tensor:
    mean, spread = _moments(target)
    wanted_mean, wanted_spread = _moments(source)
    return (target - mean) / spread * wanted_spread + wanted_mean


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (3, 1, 1) of an image's channels."""
    variance, mean = torch.var_mean(image, dim=(1, 2), keepdim=True, correction=1)
    return mean, (variance + 1e-5).sqrt()


def _wavelet(target: Tensor, source: Tensor) -> Tensor:
    return _split(target)[0] + _split(source)[1]


def _split(image: Tensor) -> tuple[Tensor, Tensor]:
    """Detail and coarse part of an image (3, H, W)."""
    detail = torch.zeros_like(image)
    for radius in RADII:
        coarse = _blur(image, radius)
        detail += image - coarse
        image = coarse
    return detail, image


def _blur(image: Tensor, radius: int) -> Tensor:
    """An image (3, H, W) weighted 1 2 1 with its neighbours `radius` pixels away, in both directions."""
    height, width = image.shape[-2:]
    wide = pad(image[None], (radius,) * 4, mode="replicate")[0]
    rows = _weigh(*(wide[:, start : start + height] for start in (0, radius, 2 * radius)))
    return _weigh(*(rows[..., start : start + width] for start in (0, radius, 2 * radius)))


def _weigh(before: Tensor, middle: Tensor, after: Tensor) -> Tensor:
    return (before + after) * 0.25 + middle * 0.5
