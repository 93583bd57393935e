"""HR → LR: sizes, and that it is Pillow's own resize."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srcache.errors import RecipeError
from srcache.images import FILTERS
from srcache.recipe.degradation import Degradation

FILTER, FACTOR, SIDE = st.sampled_from(sorted(FILTERS)), st.integers(2, 9), st.integers(1, 40)


@given(FILTER, FACTOR, SIDE, SIDE)
def test_it_equals_pillow_at_the_size_it_says(make_image, name, factor, height, width):
    rgb = make_image(height, width)
    low = Degradation(filter=name, factor=factor).apply(rgb)
    size = (max(1, int(width / factor + 0.5)), max(1, int(height / factor + 0.5)))
    expected = np.asarray(Image.fromarray(rgb).resize(size, FILTERS[name]))
    assert low.dtype == np.uint8
    np.testing.assert_array_equal(low, expected)


@pytest.mark.parametrize(
    ("side", "factor", "low"), [(1, 4, 1), (5, 2, 3), (6, 4, 2), (9, 6, 2), (8, 6, 1), (512, 4, 128)]
)
def test_sides_are_rounded_half_up_and_never_vanish(make_image, side, factor, low):
    assert Degradation(factor=factor).apply(make_image(side, 3 * factor)).shape == (low, 3, 3)


def test_the_source_is_left_alone(make_image):
    rgb = make_image(24, 32)
    before = rgb.copy()
    Degradation(factor=4).apply(rgb)
    np.testing.assert_array_equal(rgb, before)


def test_known_pixels():
    steps = np.repeat(np.array([0, 0, 0, 0, 255, 255, 255, 255], np.uint8), 3).reshape(1, 8, 3)
    assert Degradation(filter="box", factor=4).apply(steps)[0, :, 0].tolist() == [0, 255]
    assert Degradation(filter="bicubic", factor=2).apply(steps)[0, :, 0].tolist() == [0, 17, 238, 255]
    assert Degradation(filter="bilinear", factor=2).apply(steps)[0, :, 0].tolist() == [0, 32, 223, 255]


@given(FILTER, FACTOR)
def test_its_text_is_read_back(name, factor):
    degradation = Degradation(filter=name, factor=factor)
    assert str(degradation) == f"{name}/{factor}"
    assert Degradation.parse(str(degradation)) == degradation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "written filter/factor"),
        ("bicubic", "written filter/factor"),
        ("bicubic/", "written filter/factor"),
        ("bicubic/2.5", "written filter/factor"),
        ("bicubic/-2", "written filter/factor"),
        ("bicubic/1", "at least 2"),
        ("bicubic/0", "at least 2"),
        ("cubic/4", "filter must be one of nearest, box"),
        ("/4", "filter must be one of nearest, box"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(RecipeError, match=words):
        Degradation.parse(text)
