"""PPM: what is encoded comes back, and files of other makes are Pillow's."""

import numpy as np
import pytest
from hypothesis import given
from image_files import IMAGES, plainly, refused, saved
from odd_files import agree, waves

from srcache.images import Pixels, decode, decode_into, decode_lent, encode
from srcache.images.ppm_files import decode_ppm, encode_ppm, lent_by_ppm


@given(IMAGES)
def test_it_comes_back_and_is_pillows_file(rgb: Pixels) -> None:
    data = encode(rgb, "ppm")
    height, width, _ = rgb.shape
    assert data == b"P6\n%d %d\n255\n" % (width, height) + rgb.tobytes()
    for view in (data, memoryview(data)):
        found = decode_ppm(view)
        assert found is not None
        assert not np.shares_memory(found, np.frombuffer(data, np.uint8))
        np.testing.assert_array_equal(found, rgb)
    np.testing.assert_array_equal(plainly(data), rgb)


def test_an_array_in_another_order_is_encoded_by_its_pixels() -> None:
    rgb = np.asarray(waves(9, 15))
    assert encode(rgb[:, ::-1], "ppm") == encode(np.ascontiguousarray(rgb[:, ::-1]), "ppm")


def test_pixels_go_into_memory_of_their_shape() -> None:
    data, out = encode(np.asarray(waves(9, 15)), "ppm"), np.zeros((9, 15, 3), np.uint8)
    assert decode_into(memoryview(data), out) is out
    np.testing.assert_array_equal(out, decode(data))


OTHER_MAKES = [
    *(b"P6\n# comment\n2 1\n255\nabcdef", b"P6 2 1 7 \1\2\3\4\5\6", b"P6\n2 1\n65535\n" + bytes(12)),
    *(b"P6\n2  1\n255\nabcdef", b"P6\n02 1\n255\nabcdef", b"P6\n2\t1\r255 abcdef", b"P6\n2 1\n255\nabcdefmore"),
    *(b"P5\n2 1\n255\nab", b"P3\n1 1\n255\n1 2 3\n"),
]
DAMAGED = [
    *(b"P6", b"P6\n", b"P6\n2", b"P6\n2 1\n255", b"P6\n2 1\n255\n", b"P6\n2 1\n255\nabcde", b"P6\n0 1\n255\n"),
    *(b"P6\n2 x\n255\nabcdef", b"P6\n-2 1\n255\nabcdef", b"P6\n2 1\n256\nabcdef", b"P6\n2 1\n0\nabcdef"),
]


@pytest.mark.parametrize("data", OTHER_MAKES + DAMAGED)
def test_other_makes_and_damaged_files_are_pillows(data: bytes) -> None:
    assert agree(data)


def test_every_cut_is_truncated_and_more_than_the_limit_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(waves(3, 5), "PPM")
    assert {refused(data[:end]) for end in range(11, len(data))} == {"truncated"}
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "14")
    assert refused(data) == "too_large"


def test_lent_pixels_lie_in_the_files_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    data = bytearray(encode_ppm(pixels))
    for lent in (lent_by_ppm(data), decode_lent(memoryview(data))):
        assert np.array_equal(lent, pixels)
        assert not lent.flags.writeable
        data[-1] ^= 1
        assert lent[-1, -1, -1] == data[-1]
        data[-1] ^= 1
    assert lent_by_ppm(data[:-1]) is None
    assert lent_by_ppm(b"P6\n# a comment\n7 5\n255\n" + bytes(105)) is None
    other = encode(pixels, "png")
    out = np.empty_like(pixels)
    assert decode_lent(other, out) is out
    assert np.array_equal(decode_lent(other), pixels)
