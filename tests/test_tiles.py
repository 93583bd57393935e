"""Tiles: where they lie, and that blending adds nothing of its own."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srcache.engine import Tiling
from srcache.tiles import tile_boxes, tile_starts, upscale_tiled

TILINGS = st.integers(2, 40).flatmap(
    lambda size: st.integers(0, size - 1).map(lambda overlap: Tiling(size=size, overlap=overlap))
)


def nearest(images):
    return images.repeat_interleave(2, -1).repeat_interleave(2, -2)


@given(st.integers(1, 120), TILINGS)
def test_tiles_cover_a_side_and_overlap_at_least_as_asked(side, tiling):
    starts = tile_starts(side, tiling)
    length = min(side, tiling.size)
    assert starts[0] == 0
    assert starts[-1] + length == side
    assert all(0 < second - first <= tiling.size - tiling.overlap for first, second in itertools.pairwise(starts))


def test_boxes_have_one_shape_and_come_row_by_row():
    boxes = tile_boxes(50, 20, Tiling(size=32, overlap=8))
    assert boxes == [(0, 0, 32, 20), (18, 0, 32, 20)]


@given(st.integers(1, 60), st.integers(1, 60), TILINGS, st.integers(1, 4))
def test_a_function_of_each_pixel_alone_comes_out_as_untiled(height, width, tiling, batch):
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * 61 + width))
    if len(tile_boxes(height, width, tiling)) > 200:
        return
    tiled = upscale_tiled(image, tiling, 2, nearest, batch)
    torch.testing.assert_close(tiled, nearest(image[None])[0], atol=2e-6, rtol=0)


def test_every_call_has_one_shape():
    shapes = []

    def watched(images):
        shapes.append(tuple(images.shape))
        return nearest(images)

    upscale_tiled(torch.rand(3, 70, 50), Tiling(size=32, overlap=4), 2, watched, batch=4)
    assert set(shapes) == {(4, 3, 32, 32)}
    assert len(shapes) == 2


@pytest.mark.parametrize("offset", [0.02, 0.2])
def test_tiles_that_disagree_blend_without_a_step(offset):
    """Tiles whose results differ by an offset meet in a ramp: no step between neighbours beyond offset / overlap."""
    calls = iter(range(100))

    def disagreeing(images):
        return nearest(images) + offset * (next(calls) % 2)

    tiling = Tiling(size=32, overlap=16)
    tiled = upscale_tiled(torch.zeros(3, 32, 48), tiling, 2, disagreeing)
    steps = (tiled[:, :, 1:] - tiled[:, :, :-1]).abs()
    assert float(steps.max()) <= offset / (2 * 16) + 1e-6
    assert float(tiled[0, 0, -1]) == pytest.approx(offset)


def test_a_smooth_ramp_has_no_seam_where_the_receptive_field_fits_into_the_overlap():
    """A 5×5 mean, which sees nothing beyond a tile, is wrong only at tile borders; the overlap outweighs that."""
    ramp = torch.linspace(0, 1, 96).expand(3, 64, 96).contiguous()

    def smoothed(images):
        padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
        return nearest(torch.nn.functional.avg_pool2d(padded, 5, stride=1))

    whole = smoothed(ramp[None])[0]
    tiled = upscale_tiled(ramp, Tiling(size=32, overlap=16), 2, smoothed)
    assert float((tiled - whole)[:, :, 8:-8].abs().max()) < 1 / 255
