"""Latent tiles as SeeSR and OSEDiff lay and weigh them: overlapping windows whose noise predictions are averaged.

Another layout than `srcache.engine.tiles`: the last window of a row is moved back, columns come first, and each
window's middle counts most (a Gaussian, off its centre by half a cell along y): that is what the reference computes.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, pi, sqrt

import torch
from torch import Tensor

from srcache.engine.interface import Tiling
from srcache.errors import ImageError

WINDOWS_AT_ONCE = 4
"""The most windows that are predicted together: enough to fill a GPU, and no more memory than that takes."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How a latent is divided into overlapping squares.

    Attributes:
        side: of every window, in cells.
        places: their (top, left), in cells.
    """

    side: int
    places: tuple[tuple[int, int], ...]

    def cut(self, tensor: Tensor, scale: int = 1) -> Tensor:
        """All windows of (N, C, scale·h, scale·w), image by image: (N · windows, C, scale·side, scale·side)."""
        length = scale * self.side
        parts = [
            tensor[:, :, scale * top : scale * top + length, scale * left : scale * left + length]
            for top, left in self.places
        ]
        return torch.stack(parts, dim=1).flatten(0, 1)

    def averaged(self, parts: Tensor, height: int, width: int) -> Tensor:
        """The inverse of `cut` where windows agree, their weighted mean where they do not: (N, C, h, w)."""
        weights = _weights_on(self.side, parts.device, parts.dtype)
        rows = parts.unflatten(0, (-1, len(self.places)))  # type: ignore[no-untyped-call]
        total = parts.new_zeros((rows.shape[0], parts.shape[1], height, width))
        count = parts.new_zeros((height, width))
        for number, (top, left) in enumerate(self.places):
            total[:, :, top : top + self.side, left : left + self.side] += rows[:, number] * weights
            count[top : top + self.side, left : left + self.side] += weights
        return total / count


def lay_windows(height: int, width: int, tiling: Tiling | None) -> Windows | None:
    """The windows of a latent, column by column; None if it is computed in one piece.

    Raises:
        ImageError: the latent is so narrow that windows of its height or width would make no progress.
    """
    if tiling is None or height * width <= tiling.size**2:
        return None
    side = min(tiling.size, height, width)
    if tiling.overlap >= side:
        raise ImageError(
            "too_narrow",
            f"a latent of {height}×{width} cells cannot be tiled with an overlap of {tiling.overlap}; "
            "choose a smaller overlap in the recipe's tiling",
        )
    stride = side - tiling.overlap
    places = [(top, left) for left in _starts(width, side, stride) for top in _starts(height, side, stride)]
    return Windows(side, tuple(places))


def even_calls(count: int) -> list[tuple[list[int], int]]:
    """Windows divided evenly among calls of one size: which are in a call, and how many of them count.

    What is lacking in the last call is filled up with its first.

    >>> even_calls(5)
    [([0, 1, 2], 3), ([3, 4, 3], 2)]
    """
    size = -(-count // -(-count // WINDOWS_AT_ONCE))
    chosen = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    return [([*rows, *[rows[0]] * (size - len(rows))], len(rows)) for rows in chosen]


def window_weights(side: int) -> Tensor:
    """How much each cell of a window counts: float64 (side, side)."""
    down = [_bell(cell, side / 2, side) for cell in range(side)]
    right = [_bell(cell, (side - 1) / 2, side) for cell in range(side)]
    return torch.outer(torch.tensor(down, dtype=torch.float64), torch.tensor(right, dtype=torch.float64))


@lru_cache(maxsize=8)
def _weights_on(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Weights on a device, sent there once: sending them at each step would wait for the device each time."""
    return window_weights(side).to(device, dtype)


def _starts(length: int, side: int, stride: int) -> list[int]:
    """Where windows start along an axis: at every stride, the last one moved back to end at the border."""
    return [*range(0, length - side, stride), length - side]


def _bell(cell: int, middle: float, side: int) -> float:
    variance = 0.01
    return exp(-((cell - middle) ** 2) / (side**2 * 2 * variance)) / sqrt(2 * pi * variance)
