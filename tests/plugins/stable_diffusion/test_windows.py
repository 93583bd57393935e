"""SeeSR's windows: the reference program's layouts and weights, and that nothing of a latent is lost."""

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from seesr_fixtures import case, drawn
from srcache_plugins.stable_diffusion.windows import Windows, lay_windows, window_weights

from srcache.engine.interface import Tiling
from srcache.errors import ImageError

ROWS = case("e_tile_layouts")[0]["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "{latent_w}x{latent_h} {tile}/{overlap}".format(**row))
def test_windows_lie_where_the_references_do(row):
    found = lay_windows(row["latent_h"], row["latent_w"], Tiling(size=row["tile"], overlap=row["overlap"]))
    wanted = row["tiles_x_y_w_h_in_call_order"]
    if found is None:
        assert wanted == [[0, 0, row["latent_w"], row["latent_h"]]]
    else:
        assert [[left, top, found.side, found.side] for top, left in found.places] == wanted
    assert len(wanted) == row["calls"]


@pytest.mark.parametrize("side", [16, 40, 96])
def test_weights_are_the_references(side):
    meta, tensors = case("e_tile_weights")
    wanted = tensors[f"weights_{side}"]
    assert window_weights(side).dtype == wanted.dtype == torch.float64
    torch.testing.assert_close(window_weights(side), wanted, rtol=meta["tolerance"]["rel"], atol=0)


def test_weights_are_even_from_left_to_right_and_half_a_cell_off_from_top_to_bottom():
    weights = window_weights(12)
    torch.testing.assert_close(weights, weights.flip(1))
    assert not torch.allclose(weights, weights.flip(0))
    torch.testing.assert_close(weights[1:], weights[1:].flip(0))
    assert (weights > 0).all()


@st.composite
def layouts(draw, most=60):
    height, width, size = draw(st.integers(1, most)), draw(st.integers(1, most)), draw(st.integers(1, 24))
    tiling = Tiling(size=size, overlap=draw(st.integers(0, size - 1)))
    assume(tiling.overlap < min(size, height, width) or height * width <= size**2)
    return height, width, tiling


@given(layouts())
def test_windows_cover_a_latent_and_nothing_else(layout):
    height, width, tiling = layout
    windows = lay_windows(height, width, tiling)
    if windows is None:
        assert height * width <= tiling.size**2
        return
    covered, side = torch.zeros(height, width, dtype=torch.int), windows.side
    assert side == min(tiling.size, height, width)
    assert len(set(windows.places)) == len(windows.places)
    for top, left in windows.places:
        assert 0 <= top <= height - side
        assert 0 <= left <= width - side
        covered[top : top + side, left : left + side] += 1
    assert covered.min() >= 1
    for axis in (0, 1):
        starts = sorted({place[axis] for place in windows.places})
        assert all(after - before <= side - tiling.overlap for before, after in pairwise(starts))
        assert len(windows.places) % len(starts) == 0
    assert list(windows.places) == sorted(windows.places, key=lambda place: (place[1], place[0]))


@given(layouts(30), st.integers(1, 3))
def test_what_is_cut_is_averaged_to_what_it_was(layout, count):
    height, width, tiling = layout
    windows = lay_windows(height, width, tiling)
    assume(windows)
    latent = drawn(count, 4, height, width)
    parts = windows.cut(latent)
    assert parts.shape == (count * len(windows.places), 4, windows.side, windows.side)
    torch.testing.assert_close(windows.averaged(parts, height, width), latent, atol=1e-5, rtol=1e-5)


def test_windows_are_cut_image_by_image_and_at_scale():
    windows, images = Windows(2, ((0, 0), (1, 3))), drawn(2, 3, 24, 40)
    parts = windows.cut(images, 8)
    assert parts.shape == (4, 3, 16, 16)
    assert torch.equal(parts[1], images[0, :, 8:24, 24:40])
    assert torch.equal(parts[2], images[1, :, :16, :16])


def test_where_windows_do_not_agree_the_mean_is_weighted():
    windows, weights = Windows(4, ((0, 0), (0, 2))), window_weights(4).float()
    parts = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 5.0)])
    found = windows.averaged(parts, 4, 6)[0, 0]
    left, right = weights[:, 2:], weights[:, :2]
    assert (found[:, :2] == 1).all()
    assert (found[:, 4:] == 5).all()
    torch.testing.assert_close(found[:, 2:4], (left + 5 * right) / (left + right))


def test_a_latent_no_larger_than_a_window_is_whole():
    assert lay_windows(128, 72, Tiling(size=96, overlap=4)) is None
    assert lay_windows(1000, 1000, None) is None
    assert lay_windows(96, 97, Tiling(size=96, overlap=4)) is not None


@pytest.mark.parametrize(("height", "width"), [(32, 500), (500, 32), (8, 2000)])
def test_a_latent_as_narrow_as_the_overlap_is_refused(height, width):
    with pytest.raises(ImageError, match=f"{height}×{width} cells .* overlap of 32; choose a smaller") as caught:
        lay_windows(height, width, Tiling(size=96, overlap=32))
    assert caught.value.reason == "too_narrow"
    assert lay_windows(33, 500, Tiling(size=96, overlap=32)).side == 33
