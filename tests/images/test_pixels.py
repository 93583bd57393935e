"""Images in memory: resized as Pillow does, and tensors that come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import IMAGES, saved
from PIL import Image

from srcache.errors import ConfigError
from srcache.images import Pixels, decode, from_tensor, resize, to_batch


@given(IMAGES)
def test_tensors_come_back(rgb: Pixels) -> None:
    batch = to_batch([rgb, 255 - rgb])
    assert batch.shape == (2, 3, *rgb.shape[:2])
    assert float(batch.min()) >= 0
    assert float(batch.max()) <= 1
    np.testing.assert_array_equal(from_tensor(batch[0]), rgb)
    np.testing.assert_array_equal(from_tensor(batch[1]), 255 - rgb)


@given(IMAGES, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["nearest", "box", "bicubic", "lanczos"]))
def test_resizing_is_pillows_and_leaves_an_image_of_that_size_as_it_is(
    rgb: Pixels, height: int, width: int, name: str
) -> None:
    expected = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling[name.upper()]))
    np.testing.assert_array_equal(resize(rgb, (height, width), name), expected)
    assert resize(rgb, (rgb.shape[0], rgb.shape[1]), name) is rgb


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e6", ""])
def test_a_limit_that_is_no_number(text: str, rgb: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", text)
    with pytest.raises(ConfigError, match="SRCACHE_MAX_PIXELS"):
        decode(saved(Image.fromarray(rgb), "PNG"))
