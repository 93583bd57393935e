"""Pixels of mixtures: against a second implementation, pixel by pixel, and which array they come in."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srcache.dataset.mixing import aligned, mix
from srcache.dataset.variants import Blend, Patch, Variant
from srcache.errors import CatalogError

HR, LR, SR = Variant("hr"), Variant("lr"), Variant("sr", 0)
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def patch(cells, of=(HR, SR)):
    return Patch("patch", of=of, cells=bytes(cells))


def blend(weight, of=(HR, SR)):
    return Blend("blend", of=of, weight=weight)


@given(SHAPES, st.integers(2, 6), st.data())
def test_a_patch_has_each_cell_from_one_of_the_two(shape, grid, data):
    cells = data.draw(st.lists(st.integers(0, 1), min_size=grid**2, max_size=grid**2))
    first, second = noise(*shape), noise(*shape, 1)
    starts = [[place * side // grid for place in range(grid + 1)] for side in shape]
    expected = np.full_like(first, 77)
    for place, mark in enumerate(cells):
        for row in range(starts[0][place // grid], starts[0][place // grid + 1]):
            for column in range(starts[1][place % grid], starts[1][place % grid + 1]):
                expected[row, column] = (first, second)[mark][row, column]
    for out in (None, np.empty_like(first), first.copy()):
        assert (mix(patch(cells), first.copy(), second.copy(), out) == expected).all()
    assert (mix(patch(cells), first, own := second.copy(), own) == expected).all()
    assert (mix(patch(cells), own := first.copy(), second, own) == expected).all()


def test_a_blend_is_rounded_to_the_nearest_level_and_halves_up():
    first, second = (values.astype(np.uint8) for values in np.meshgrid(np.arange(256), np.arange(256)))
    pair = [np.repeat(values[..., None], 3, axis=2) for values in (first, second)]
    for parts in (0, 1, 64, 77, 128, 255, 256):
        exact = (256 - parts) * first.astype(int) + parts * second.astype(int)
        expected = (2 * exact + 256) // 512
        found = mix(blend(parts / 256, of=(HR, HR)), *pair)
        assert (found == expected[..., None]).all()
        assert (found >= np.minimum(*pair)).all()
        assert (found <= np.maximum(*pair)).all()
    half = Fraction(3 + 4, 2)
    assert mix(blend(0.5), np.full((1, 1, 3), 3, np.uint8), np.full((1, 1, 3), 4, np.uint8))[0, 0, 0] == half + half % 1


@given(SHAPES, st.integers(0, 256))
def test_a_blend_is_the_same_in_any_array(shape, parts):
    first, second = noise(*shape), noise(*shape, 1)
    expected = mix(blend(parts / 256, of=(HR, HR)), first, second)
    for out in (np.empty_like(first), np.empty_like(first)[:, ::-1]):
        assert (mix(blend(parts / 256), first.copy(), second.copy(), out) == expected).all()
    assert (mix(blend(parts / 256), first, own := second.copy(), own) == expected).all()
    assert (mix(blend(parts / 256), own := first.copy(), second, own) == expected).all()


def test_large_blends_are_made_in_parts_of_which_none_is_left_out():
    first, second = noise(100, 300), noise(100, 300, 1)
    exact = 200 * first.astype(int) + 56 * second.astype(int)
    assert (mix(blend(56 / 256), first, second) == (exact + 128) // 256).all()


@pytest.mark.parametrize("variant", [patch([0, 1, 1, 0]), blend(0.25)])
def test_only_an_sr_image_is_written_to_and_only_where_that_may_be(variant):
    hr, sr = noise(4, 6), noise(4, 6, 1)
    hr_before, sr_before = hr.copy(), sr.copy()
    lent = sr.view()
    lent.flags.writeable = False
    mixed = mix(variant, hr, lent)
    assert mixed.flags.writeable
    assert (hr == hr_before).all()
    assert (sr == sr_before).all()
    assert mix(variant, hr, sr) is sr
    assert (hr == hr_before).all()
    assert (sr == mixed).all()
    out = np.empty_like(hr)
    assert mix(variant, hr, lent, out) is out
    assert mix(variant, hr, lent, np.empty((9, 9, 3), np.uint8)).shape == hr.shape


def test_lr_is_enlarged_to_the_other_by_pillows_bicubic():
    small, large = noise(3, 5), noise(12, 20)
    enlarged = np.asarray(Image.fromarray(small).resize((20, 12), Image.Resampling.BICUBIC))
    for other in (SR, HR):
        first, second = aligned(patch([0] * 4, (LR, other)), (small, large), None, str)
        assert (first == enlarged).all()
        assert second is large
        first, second = aligned(patch([0] * 4, (other, LR)), (large, small), None, str)
        assert first is large
        assert (second == enlarged).all()


def test_size_comes_before_the_mixture():
    pair = aligned(blend(0.5), (noise(8, 8), noise(6, 9)), (4, 5), str)
    for found, pixels in zip(pair, (noise(8, 8), noise(6, 9)), strict=True):
        assert (found == np.asarray(Image.fromarray(pixels).resize((5, 4), Image.Resampling.BICUBIC))).all()


@pytest.mark.parametrize(
    ("of", "sizes", "fits"),
    [
        ((HR, SR), ((8, 8), (8, 8)), True),
        ((HR, SR), ((8, 8), (4, 4)), False),
        ((Variant("sr", 0), Variant("sr", 1)), ((8, 8), (8, 9)), False),
        ((LR, HR), ((5, 7), (10, 14)), True),
        ((LR, HR), ((5, 7), (10, 15)), True),
        ((LR, HR), ((5, 7), (9, 13)), True),
        ((LR, HR), ((5, 7), (14, 10)), False),
        ((HR, LR), ((16, 16), (4, 6)), False),
    ],
)
def test_images_that_do_not_align_are_refused(of, sizes, fits):
    images = noise(*sizes[0]), noise(*sizes[1])
    if fits:
        first, second = aligned(patch([0] * 4, of), images, None, str)
        assert first.shape == second.shape
        return
    with pytest.raises(CatalogError, match=r"patch mixes .* of moss/a.png (hr|lr|sr) has \d+×\d+ and .* give size="):
        aligned(patch([0] * 4, of), images, None, lambda: "moss/a.png")
