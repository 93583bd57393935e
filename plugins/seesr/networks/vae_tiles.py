"""SeeSR's way of running half a VAE over a large image: tile by tile, with the statistics of GroupNorm in common.

Tiles overlap by a margin, whose result is thrown away. All go through the network in step: convolutions and attention
see one tile, with zeros beyond its edge; wherever the network normalises, all tiles wait until the mean and the
variance of each are known, and go on with the averages. The variance *between* the tiles' means is missing, as in Wu
et al.'s program (arXiv:2311.16518), so that the result is not that of the image in one piece; it is another function,
and whether it is used must follow from the image's size alone.

One tile at a time is at work, until it has to wait for the others. Its state is two tensors then, which may lie in the
host's memory: so an image of any size takes little more room on the device than one of its tiles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from .vae_steps import JoinedSteps, Shared, Step

ROUNDINGS = (32, 16, 8, 4, 2)
"""The steps to which a tile's side is rounded up, the preferred one first."""

Span = tuple[int, int]
"""Where something starts and stops along a side."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What a tile sees, and what is kept of its result: (rows, columns) each, in cells of what is tiled."""

    seen: tuple[Span, Span]
    kept: tuple[Span, Span]


def lay_out(height: int, width: int, tile: int, pad: int) -> list[Tile]:
    """The tiles of an image, row by row; what is kept of them covers it once.

    Args:
        height: of what is tiled, in its own cells: pixels for an encoder, latents for a decoder.
        width: likewise.
        tile: the largest side of a tile without its margins; at least 1.
        pad: the width of a margin.
    """
    rows, columns = _spans(height, tile, pad), _spans(width, tile, pad)
    return [Tile((row[0], column[0]), (row[1], column[1])) for row, column in product(rows, columns)]


def _spans(side: int, tile: int, pad: int) -> list[tuple[Span, Span]]:
    """What each tile along a side sees, and what is kept of it."""
    inner = side - 2 * pad
    count = max(1, -(-inner // tile))
    step = _rounded(-(-inner // count), tile)
    spans = []
    for start in range(pad, pad + count * step, step) if step > 0 else [pad]:
        stop = min(start + step, side)
        seen = max(start - pad, 0), min(stop + pad, side)
        kept = 0 if start <= pad else start, side if stop >= side - pad else stop
        spans.append((seen, kept))
    return spans


def _rounded(length: int, limit: int) -> int:
    for step in ROUNDINGS:
        up = -(-length // step) * step
        if up == length or up <= limit:
            return up
    return length


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and biased variance of each group of channels, float32 (groups,), over so many cells."""

    mean: Tensor
    variance: Tensor
    cells: int


def measure_moments(tensor: Tensor, groups: int) -> Moments:
    """A tile's moments, tensor (1, C, H, W); group by group, so that half precision needs no second tensor in full."""
    pairs = [torch.var_mean(group.float(), correction=0) for group in tensor[0].chunk(groups)]
    variances, means = zip(*pairs, strict=True)
    return Moments(torch.stack(means), torch.stack(variances), tensor.shape[-2] * tensor.shape[-1])


def average(tiles: Sequence[Moments]) -> Moments:
    """The moments that all tiles share: the means of theirs, weighted by cells."""
    cells = sum(tile.cells for tile in tiles)
    mean, variance = torch.zeros_like(tiles[0].mean), torch.zeros_like(tiles[0].variance)
    for tile in tiles:
        mean += tile.mean * (tile.cells / cells)
        variance += tile.variance * (tile.cells / cells)
    return Moments(mean, variance, cells)


def normalise(tensor: Tensor, norm: nn.GroupNorm, moments: Moments) -> Tensor:
    """What `norm` makes of a tensor (1, C, H, W) that has these moments; computed in float32, rounded once."""
    repeats = tensor.shape[1] // norm.num_groups
    mean, variance = (part.repeat_interleave(repeats) for part in (moments.mean, moments.variance))
    return batch_norm(tensor, mean, variance, norm.weight.float(), norm.bias.float(), eps=norm.eps)


@dataclass(slots=True)
class _TileState:
    """A tile on its way through the network: its tensor, and what was branched off for a residual sum."""

    value: Tensor
    device: torch.device
    branch: Tensor | None = None

    def take(self, step: Step, moments: Moments | None = None) -> None:
        if isinstance(step, JoinedSteps):
            assert self.branch is not None  # a residual path has a beginning
            self.value = self.value.add_(self.branch)
            self.branch = None
        elif isinstance(step, Shared):
            assert moments is not None  # the tiles have waited
            self.branch = step.branch(self.value) if step.branch else self.branch
            self.value = normalise(self.value, step.norm, moments)
        else:
            self.value = step(self.value)

    def park(self) -> None:
        self.value = _to_host(self.value)
        self.branch = None if self.branch is None else _to_host(self.branch)

    def fetch(self) -> None:
        self.value = self.value.to(self.device, non_blocking=True)
        self.branch = None if self.branch is None else self.branch.to(self.device, non_blocking=True)


def _to_host(tensor: Tensor) -> Tensor:
    """A tensor in the host's memory, which a GPU reaches fastest where it is pinned."""
    if not tensor.is_cuda:
        return tensor.cpu()
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)


Measure = Callable[[Tensor, int], Moments]
"""What finds a tile's moments: `measure_moments`, or something that does the same."""


def run_tiles(
    steps: Iterable[Step], tiles: Iterable[Tensor], park: bool, measure: Measure = measure_moments
) -> list[Tensor]:
    """All tiles through a network, in step.

    Args:
        steps: of the network.
        tiles: (1, C, h, w) each, of any sizes.
        park: whether tiles wait in the host's memory. The results are the same.
        measure: finds a tile's moments.

    Returns:
        What becomes of each tile, in the same order, on its device.
    """
    states = [_TileState(tile, tile.device) for tile in tiles]
    waited: tuple[Shared, Moments] | None = None
    for work, wait in _sections(steps):
        found = []
        for state in states:
            state.fetch()
            if waited:
                state.take(*waited)
            for step in work:
                state.take(step)
            if wait:
                found.append(measure(state.value, wait.norm.num_groups))
                if park:
                    state.park()
        waited = (wait, average(found)) if wait else None
    return [state.value for state in states]


def _sections(steps: Iterable[Step]) -> Iterator[tuple[list[Step], Shared | None]]:
    """Runs of steps that a tile can do alone, each with the normalisation that it then waits for; the last has none."""
    work: list[Step] = []
    for step in steps:
        if isinstance(step, Shared):
            yield work, step
            work = []
        else:
            work.append(step)
    yield work, None


def cut(image: Tensor, tiles: Sequence[Tile]) -> list[Tensor]:
    """What each tile sees of an image (1, C, H, W)."""
    return [image[..., slice(*tile.seen[0]), slice(*tile.seen[1])] for tile in tiles]


def assemble(results: Sequence[Tensor], tiles: Sequence[Tile], scale: Fraction) -> Tensor:
    """What is kept of each tile's result (1, C, h, w), as one image; `scale` is the results' to what was tiled."""
    (_, bottom), (_, right) = tiles[-1].kept
    image = results[0].new_empty((*results[0].shape[:2], int(bottom * scale), int(right * scale)))
    for result, tile in zip(results, tiles, strict=True):
        (top, below), (left, beyond) = (tuple(int(edge * scale) for edge in span) for span in tile.kept)
        over, before = (int(span[0] * scale) for span in tile.seen)
        image[..., top:below, left:beyond] = result[..., top - over : below - over, left - before : beyond - before]
    return image
