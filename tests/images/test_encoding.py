"""Codecs: what is encoded comes back, and names that are no codec's are refused."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import IMAGES, plainly

from srcache.errors import ConfigError
from srcache.images import Pixels, as_file, decode, encode, parse_codec, suffix_of


@given(IMAGES, st.sampled_from(["qoi", "png", "ppm"]))
def test_lossless_codecs_come_back(rgb: Pixels, codec: str) -> None:
    payload = encode(rgb, codec)
    np.testing.assert_array_equal(decode(payload), rgb)
    assert suffix_of(payload) == f".{codec}"
    assert encode(decode(payload), codec) == payload


def test_a_png_of_any_level_holds_the_same_pixels(make_image: Callable[..., Pixels]) -> None:
    rgb = make_image(40, 30)
    sizes = [len(encode(rgb, f"png:{level}")) for level in (1, 9)]
    assert sizes[0] > sizes[1]
    assert encode(rgb, "png") == encode(rgb, "png:3")
    assert all(np.array_equal(decode(encode(rgb, f"png:{level}")), rgb) for level in (1, 9))


@pytest.mark.parametrize(("codec", "suffix"), [("jpeg:95", ".jpg"), ("webp:90", ".webp")])
def test_lossy_codecs_come_back_nearly(codec: str, suffix: str, make_image: Callable[..., Pixels]) -> None:
    rgb = make_image(40, 56)
    payload = encode(rgb, codec)
    assert suffix_of(payload) == suffix
    assert np.abs(decode(payload).astype(int) - rgb).mean() < 6


@pytest.mark.parametrize(
    "codec",
    [
        "",
        "qoi:5",
        "ppm:5",
        "png:0",
        "png:10",
        "png:x",
        "jpeg",
        "jpeg:0",
        "jpeg:101",
        "jpeg:x",
        "webp",
        "avif:90",
        "PNG",
    ],
)
def test_codecs_that_there_are_not(codec: str) -> None:
    with pytest.raises(ConfigError, match="a codec is one of"):
        parse_codec(codec)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("qoi", ".png"), ("ppm", ".png"), ("png", ".png"), ("jpeg:90", ".jpg"), ("webp:90", ".webp")]
)
def test_a_stored_image_becomes_a_file_for_other_programs(rgb: Pixels, codec: str, suffix: str) -> None:
    payload = encode(rgb, codec)
    found, data = as_file(payload)
    assert found == suffix
    assert (data == payload) == (codec not in ("qoi", "ppm"))
    np.testing.assert_array_equal(plainly(data), decode(payload))
