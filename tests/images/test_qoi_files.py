"""QOI: the same pixels as Pillow's own decoder, and files that are cut off."""

import numpy as np
import qoi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from image_files import IMAGES, over_white, plainly, refused, saved
from PIL import Image

from srcache.images import Pixels, decode, encode, to_pixels


def test_cut_off_qoi_of_our_own(rgb: Pixels) -> None:
    data = encode(rgb, "qoi")
    for length in range(4, len(data)):
        assert refused(data[:length]) == "truncated"


def test_a_qoi_with_too_little_inside_or_a_senseless_header(rgb: Pixels) -> None:
    data = encode(rgb, "qoi")
    assert refused(data[:40] + data[-8:]) == "unreadable"
    assert refused(data[:12] + b"\x09" + data[13:]) == "unreadable"
    assert refused(data[:4] + bytes(4) + data[8:]) == "unreadable"


@given(IMAGES)
def test_our_qoi_is_pillows_qoi(rgb: Pixels) -> None:
    for data in (encode(rgb, "qoi"), saved(Image.fromarray(rgb), "QOI")):
        np.testing.assert_array_equal(decode(data), rgb)
        np.testing.assert_array_equal(plainly(data), rgb)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))))
def test_a_qoi_with_alpha_is_laid_over_white(rgba: np.ndarray) -> None:
    expected = to_pixels(Image.fromarray(rgba))
    np.testing.assert_array_equal(decode(bytes(qoi.encode(rgba))), expected)
    assert np.abs(expected - over_white(rgba[..., :3], rgba[..., 3])).max() <= 1
