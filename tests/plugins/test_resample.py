"""The baselines equal Pillow, bit for bit, at any scale and in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srcache.engine.interface import Setup
from srcache.engine.registry import find_engine, open_engine
from srcache.errors import EngineError
from srcache.images import FILTERS, from_tensor, to_batch

NAMES = ("nearest", "bilinear", "bicubic", "lanczos")


@pytest.mark.medium
@given(
    st.sampled_from(NAMES),
    st.sampled_from([0.5, 1, 1.5, 2, 3, 4, 7.3]),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 3),
)
def test_each_image_of_a_batch_equals_pillow(make_image, name, scale, height, width, count):
    images = [make_image(height, width, seed) for seed in range(count)]
    engine = open_engine("resample", Setup(scale=scale, options={"filter": name}))
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    results = engine.upscale(to_batch(images), range(count))
    assert len(results) == count
    for rgb, result in zip(images, results, strict=True):
        expected = np.asarray(Image.fromarray(rgb).resize(size, FILTERS[name]))
        np.testing.assert_array_equal(from_tensor(result.image), expected)


def test_the_filter_is_bicubic_unless_named(make_image):
    batch = to_batch([make_image(6, 5)])
    plain = open_engine("resample", Setup(scale=4)).upscale(batch, [0])[0].image
    named = open_engine("resample", Setup(scale=4, options={"filter": "bicubic"})).upscale(batch, [0])[0].image
    other = open_engine("resample", Setup(scale=4, options={"filter": "nearest"})).upscale(batch, [0])[0].image
    assert torch.equal(plain, named)
    assert not torch.equal(plain, other)


def test_unknown_filters_and_options_are_refused():
    with pytest.raises(EngineError, match="filter must be one of nearest, bilinear, bicubic, lanczos, but is 'cubic'"):
        open_engine("resample", Setup(scale=4, options={"filter": "cubic"}))
    with pytest.raises(EngineError, match="has no option sharpness; it has: filter"):
        open_engine("resample", Setup(scale=4, options={"sharpness": 2}))


def test_what_it_says_about_itself():
    info = find_engine("resample").info
    assert (info.name, info.scales, info.stochastic, info.pads, info.weights) == ("resample", None, False, False, None)
