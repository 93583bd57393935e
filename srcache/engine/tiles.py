"""Overlapping tiles: where they lie, and how their results are blended into one image.

Whether and how an image is tiled follows from the recipe and the image's size alone, never from free memory: a tile
shows a network less of the surroundings than the entire image does, so another layout is another result. All tiles of
an image have one shape, because the last of each row and column is moved back to end at the border. The outer quarters
of an overlap are thrown away, because there a network sees a border that is none; across its middle half the weights
rise and fall linearly. Weights are divided by their sum, so that equal results blend into themselves. A network that
sees no further than a quarter of the overlap therefore gives what it would give for the entire image.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from srcache.engine.interface import Tiling

if TYPE_CHECKING:
    from torch import Tensor


def tile_starts(side: int, tiling: Tiling) -> list[int]:
    """Where tiles start along a side, in pixels; one tile if the side is no longer than a tile."""
    if side <= tiling.size:
        return [0]
    stride = tiling.size - tiling.overlap
    return [*range(0, side - tiling.size, stride), side - tiling.size]


def tile_boxes(height: int, width: int, tiling: Tiling) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every tile, row by row; all of one shape."""
    tall, wide = min(height, tiling.size), min(width, tiling.size)
    return [(top, left, tall, wide) for top in tile_starts(height, tiling) for left in tile_starts(width, tiling)]


def upscale_tiled(
    image: "Tensor", tiling: Tiling, scale: int, upscale: Callable[["Tensor"], "Tensor"], batch: int = 1
) -> "Tensor":
    """Upscale one image tile by tile.

    Args:
        image: float tensor (3, H, W).
        tiling: size and overlap in pixels of `image`.
        scale: what `upscale` multiplies sides by.
        upscale: tensor (N, 3, h, w) → (N, 3, scale·h, scale·w), for any N up to `batch`.
        batch: tiles per call; the last call is filled up by repeating a tile, so that every call has one shape.

    Returns:
        Tensor (3, scale·H, scale·W), in the type and on the device of what `upscale` returns.
    """
    import torch

    _, height, width = image.shape
    boxes = tile_boxes(height, width, tiling)
    if len(boxes) == 1:
        return upscale(image[None])[0]
    rows, columns = _weights(height, tiling, scale), _weights(width, tiling, scale)
    total: Tensor | None = None
    for start in range(0, len(boxes), batch):
        some = boxes[start : start + batch]
        padded = [*some, *[some[0]] * (batch - len(some))]
        tiles = upscale(torch.stack([image[:, y : y + tall, x : x + wide] for y, x, tall, wide in padded]))
        for (top, left, tall, wide), tile in zip(some, tiles, strict=False):
            if total is None:
                total = tile.new_zeros((tile.shape[0], scale * height, scale * width))
            weight = _like(tile, rows[top])[:, None] * _like(tile, columns[left])[None, :]
            total[:, scale * top : scale * (top + tall), scale * left : scale * (left + wide)] += weight * tile
    assert total is not None  # there is at least one tile
    return total


def _like(tile: "Tensor", weights: "Tensor") -> "Tensor":
    """Weights in a tile's type, and then on its device, which may not have float64."""
    return weights.to(tile.dtype).to(tile.device)


def _weights(side: int, tiling: Tiling, scale: int) -> "dict[int, Tensor]":
    """For each tile's start its weight along a side, in output pixels; at every pixel all weights sum to 1."""
    import torch

    starts, length = tile_starts(side, tiling), min(side, tiling.size)
    ramps = {start: torch.ones(scale * length, dtype=torch.float64) for start in starts}
    for first, second in pairwise(starts):
        shared = scale * (first + length - second)
        margin = shared // 4
        rising = ((torch.arange(shared, dtype=torch.float64) + 0.5 - margin) / (shared - 2 * margin)).clamp(0, 1)
        ramps[second][:shared] *= rising
        ramps[first][scale * length - shared :] *= 1 - rising
    total = torch.zeros(scale * side, dtype=torch.float64)
    for start, ramp in ramps.items():
        total[scale * start : scale * (start + length)] += ramp
    return {start: ramp / total[scale * start : scale * (start + length)] for start, ramp in ramps.items()}
