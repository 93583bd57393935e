"""PNG: the fast decoder gives the same pixels, and every odd or damaged file has Pillow's outcome."""

import random
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from image_files import IMAGES, saved
from odd_files import EXTRA_CHUNKS, SIZES, agree, changed, changed_png, chunks_of, joined, waves
from PIL import Image

from srcache.images import Pixels, decode, encode
from srcache.images.png_files import decode_png, difference, plain_sides

HARMLESS = {b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tIME", b"bKGD", b"sBIT"}


@pytest.fixture
def libpng() -> None:
    pytest.importorskip("imagecodecs")


@pytest.fixture(autouse=True)
def as_pillow_warns() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("libpng")
def test_the_fast_decoder_is_in_use() -> None:
    assert difference() is None


@pytest.mark.usefixtures("libpng")
@given(IMAGES)
def test_what_is_encoded_is_read_fast(rgb: Pixels) -> None:
    for level in (1, 3, 9):
        found = decode_png(encode(rgb, f"png:{level}"))
        assert found is not None
        np.testing.assert_array_equal(found, rgb)


@pytest.mark.usefixtures("libpng")
def test_pixels_go_straight_into_memory_of_their_shape() -> None:
    data, out = saved(waves(9, 15), "PNG"), np.zeros((9, 15, 3), np.uint8)
    assert decode_png(memoryview(data), out) is out
    np.testing.assert_array_equal(out, decode(data))
    assert decode_png(data, np.zeros((15, 9, 3), np.uint8)).shape == (9, 15, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_other_modes_are_left_to_pillow(mode: str) -> None:
    image = Image.fromarray(np.arange(63, dtype=np.uint16).reshape(7, 9)) if mode == "I;16" else waves(7, 9)
    data = saved(image if mode == "I;16" else image.convert(mode), "PNG")
    assert plain_sides(data) is None
    assert agree(data)


@pytest.mark.parametrize("extra", EXTRA_CHUNKS, ids=lambda chunk: chunk[0].decode() + str(len(chunk[1])))
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_chunk_that_may_mean_something_is_left_to_pillow(extra: tuple[bytes, bytes], place: int) -> None:
    chunks = list(chunks_of(saved(waves(9, 15), "PNG")))
    assert [name for name, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    chunks.insert(place, extra)
    data = joined(chunks)
    usual = extra[0] in HARMLESS and extra != (b"sRGB", b"\0\0") and place in (1, 2)
    usual |= extra[0] == b"tEXt" and extra[1][:7] in (b"Softwar", b"date:cr", b"Comment") and place in (1, 2)
    usual &= extra != (b"tEXt", b"Comment")
    usual |= extra == (b"IDAT", b"") and place in (1, 2)
    assert (plain_sides(data) == (9, 15)) == usual
    assert agree(data)


@pytest.mark.parametrize(
    "header", [(1, 1, 16, 2, 0, 0, 0), (1, 1, 8, 2, 1, 0, 0), (1, 1, 8, 2, 0, 1, 0), (1, 1, 8, 2, 0, 0, 1)]
)
def test_odd_headers_are_left_to_pillow(header: tuple[int, ...]) -> None:
    data = joined([(b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")])
    assert plain_sides(data) is None
    assert agree(data)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_left_to_pillow(size: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    data = joined([(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])
    assert plain_sides(data) is None
    assert agree(data)


def test_a_file_that_is_cut_anywhere_or_goes_on_ends_as_with_pillow() -> None:
    data = saved(waves(16, 16), "PNG")
    assert all(agree(data[:end]) for end in range(1, len(data)))
    assert plain_sides(data + b"m") is None
    assert agree(data + b"more")


@pytest.mark.usefixtures("libpng")
def test_checksums_that_do_not_hold_end_as_with_pillow() -> None:
    data = joined(
        [
            *list(chunks_of(saved(waves(9, 9), "PNG")))[:1],
            EXTRA_CHUNKS[0],
            *list(chunks_of(saved(waves(9, 9), "PNG")))[1:],
        ]
    )
    for place in (29, 45, data.index(b"IEND") - 5, len(data) - 1):
        broken = bytearray(data)
        broken[place] ^= 1
        assert agree(bytes(broken))


def _compare_changed(seed: int, count: int) -> None:
    rng = random.Random(seed)
    files = [saved(waves(*size), "PNG", compress_level=level) for size in SIZES for level in (1, 9)]
    files += [saved(waves(9, 9), "PNG", dpi=(72, 72)), saved(waves(9, 9), "PNG", icc_profile=b"profile")]
    for _ in range(count):
        data = rng.choice(files)
        data = changed(data, rng, 60) if rng.random() < 0.4 else changed_png(data, rng)
        assert agree(data), data.hex()


def test_files_with_changed_bytes_or_chunks_end_as_with_pillow() -> None:
    _compare_changed(1, 400)


@pytest.mark.slow
@pytest.mark.usefixtures("libpng")
@pytest.mark.parametrize("seed", range(2, 5))
def test_thousands_of_files_with_changed_bytes_or_chunks_end_as_with_pillow(seed: int) -> None:
    _compare_changed(seed, 8_000)


@pytest.mark.usefixtures("libpng")
def test_an_image_above_the_limit_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(waves(9, 9), "PNG")
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "80")
    assert decode_png(data) is None
    assert agree(data)


@pytest.fixture
def fresh_difference(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    difference.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    difference.cache_clear()


def test_an_imagecodecs_that_does_not_load_is_not_used(fresh_difference: pytest.MonkeyPatch) -> None:
    class Unloadable:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "imagecodecs":
                raise ValueError("numpy.dtype size changed")

    fresh_difference.delitem(sys.modules, "imagecodecs", raising=False)
    fresh_difference.setattr(sys, "meta_path", [Unloadable(), *sys.meta_path])
    assert difference() == "imagecodecs does not load (numpy.dtype size changed)"


def test_without_imagecodecs_pillow_reads(fresh_difference: pytest.MonkeyPatch) -> None:
    fresh_difference.setitem(sys.modules, "imagecodecs", None)
    assert difference() == "imagecodecs is not installed"
    assert decode(saved(waves(9, 15), "PNG")).shape == (9, 15, 3)


@pytest.mark.usefixtures("libpng")
def test_an_imagecodecs_that_gives_other_pixels_is_not_used(fresh_difference: pytest.MonkeyPatch) -> None:
    import imagecodecs

    fresh_difference.setattr(imagecodecs, "png_decode", lambda data, out: out.fill(7))
    assert "gives other pixels than Pillow" in str(difference())
    assert agree(saved(waves(9, 15), "PNG"))
