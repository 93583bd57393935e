"""Colours of the small picture for the network's picture, which drifts in colour.

`adain` gives each channel the mean and the spread of the source; `wavelet` gives the picture the source's coarse part,
and leaves it its own detail. Both are those of Wu et al.'s program (arXiv:2311.16518): float32 on values in [0, 1],
clamped, and truncated to 8 bits. Blurs are sums of shifted pictures, not convolutions, which an accelerator may compute
in fewer bits; and each picture goes alone, so that its result does not depend on its batch.
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
        target: uint8 (N, 3, H, W), the network's pictures.
        source: likewise, what the network was given, at the same size.

    Returns:
        uint8 (N, 3, H, W), on the device of `target`.
    """
    return _one_by_one(_adain, target, source)


def wavelet(target: Tensor, source: Tensor) -> Tensor:
    """The detail of `target` over the coarse part of `source`. Arguments and result: see `adain`."""
    return _one_by_one(_wavelet, target, source)


FIXES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"adain": adain, "wavelet": wavelet}
"""Colour fixes by the names that recipes give them."""


def _one_by_one(fix: Callable[[Tensor, Tensor], Tensor], target: Tensor, source: Tensor) -> Tensor:
    fixed = [fix(_values(one), _values(other)) for one, other in zip(target, source, strict=True)]
    return torch.stack([picture.clamp(0, 1).mul(255).to(torch.uint8) for picture in fixed])


def _values(picture: Tensor) -> Tensor:
    """8 bits as values in [0, 1]. By a tensor, because CUDA divides by numbers inexactly."""
    levels = picture.float()
    return levels / torch.full_like(levels, 255)


def _adain(target: Tensor, source: Tensor) -> Tensor:
    mean, spread = _moments(target)
    wanted_mean, wanted_spread = _moments(source)
    return (target - mean) / spread * wanted_spread + wanted_mean


def _moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (3, 1, 1) of a picture's channels."""
    variance, mean = torch.var_mean(picture, dim=(1, 2), keepdim=True, correction=1)
    return mean, (variance + 1e-5).sqrt()


def _wavelet(target: Tensor, source: Tensor) -> Tensor:
    return _split(target)[0] + _split(source)[1]


def _split(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Detail and coarse part of a picture (3, H, W)."""
    detail = torch.zeros_like(picture)
    for radius in RADII:
        coarse = _blur(picture, radius)
        detail += picture - coarse
        picture = coarse
    return detail, picture


def _blur(picture: Tensor, radius: int) -> Tensor:
    """A picture (3, H, W) weighted 1 2 1 with its neighbours `radius` pixels away, in both directions."""
    height, width = picture.shape[-2:]
    wide = pad(picture[None], (radius,) * 4, mode="replicate")[0]
    rows = _weigh(*(wide[:, start : start + height] for start in (0, radius, 2 * radius)))
    return _weigh(*(rows[..., start : start + width] for start in (0, radius, 2 * radius)))


def _weigh(before: Tensor, middle: Tensor, after: Tensor) -> Tensor:
    return (before + after) * 0.25 + middle * 0.5
