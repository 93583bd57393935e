"""Tiles: where they lie, and that blending adds nothing of its own."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srcache.engine.interface import Tiling
from srcache.engine.tiles import tile_boxes, tile_starts, upscale_tiled

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
    """Tiles whose results differ by an offset meet in a ramp over the middle half of the overlap."""
    calls = iter(range(100))

    def disagreeing(images):
        return nearest(images) + offset * (next(calls) % 2)

    tiling = Tiling(size=32, overlap=16)
    tiled = upscale_tiled(torch.zeros(3, 32, 48), tiling, 2, disagreeing)
    steps = (tiled[:, :, 1:] - tiled[:, :, :-1]).abs()
    assert float(steps.max()) == pytest.approx(offset / 16, rel=1e-3)
    assert tiled[0, 0, 39].item() == 0
    assert tiled[0, 0, 56:].tolist() == pytest.approx([offset] * 40)


@pytest.mark.medium
@given(st.integers(40, 100), st.integers(40, 100), st.sampled_from([(32, 8), (33, 11), (32, 16), (48, 40)]))
def test_what_sees_no_further_than_a_quarter_of_the_overlap_comes_out_as_untiled(height, width, sizes):
    """A 5×5 mean is wrong only within two pixels of a tile's border, and these are thrown away."""
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * 61 + width))

    def smoothed(images):
        return nearest(torch.nn.functional.avg_pool2d(images, 5, stride=1, padding=2))

    tiled = upscale_tiled(image, Tiling(size=sizes[0], overlap=sizes[1]), 2, smoothed, 4)
    torch.testing.assert_close(tiled, smoothed(image[None])[0], atol=2e-6, rtol=0)


def test_a_smooth_ramp_has_no_seam_even_where_a_network_sees_a_little_further():
    """A 9×9 mean is wrong within four pixels of a tile's border, of which three are thrown away."""
    ramp = torch.linspace(0, 1, 96).expand(3, 64, 96).contiguous()

    def local(images):
        padded = torch.nn.functional.pad(images, (4, 4, 4, 4), mode="replicate")
        return nearest(torch.nn.functional.avg_pool2d(padded, 9, stride=1))

    tiled, untiled = upscale_tiled(ramp, Tiling(size=32, overlap=12), 2, local), local(ramp[None])[0]
    assert float((tiled - untiled).abs().max()) < 1 / 255
