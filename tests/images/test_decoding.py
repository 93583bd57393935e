"""Every odd image has one outcome: read in one way, or refused with one reason."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import refused, saved
from PIL import Image, ImageOps

from srcache.errors import ImageError
from srcache.images import Pixels, decode, decode_into, read_file, to_pixels

REASONS = {"empty", "truncated", "unreadable", "animated", "too_large", "unsupported"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "QOI"])
def test_cut_off(rgb: Pixels, kind: str) -> None:
    data = saved(Image.fromarray(rgb), kind)
    assert refused(data[: len(data) * 2 // 3]) == "truncated"


def test_no_bytes() -> None:
    assert refused(b"") == "empty"


@pytest.mark.parametrize("data", [b"not a image\n", b"<html></html>", b"\x89PNG\r\n", bytes(100), b"GIF89a"])
def test_not_an_image(data: bytes) -> None:
    assert refused(data) in {"unreadable", "truncated"}


def test_a_text_file_with_an_image_suffix(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("shopping list")
    assert refused(file.read_bytes()) == "unreadable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "QOI", "TIFF", "WEBP", "GIF", "AVIF", "BMP", "PPM", "JPEG2000"])
def test_too_large(rgb: Pixels, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, pixels = saved(Image.fromarray(rgb), kind), rgb.shape[0] * rgb.shape[1]
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", str(pixels))
    assert decode(data).shape == rgb.shape
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", str(pixels - 1))
    with pytest.raises(ImageError, match=f"17×13 pixels, more than {pixels - 1}; SRCACHE_MAX_PIXELS") as caught:
        decode(data)
    assert caught.value.reason == "too_large"
    with pytest.raises(ImageError, match="SRCACHE_MAX_PIXELS"):
        to_pixels(Image.fromarray(rgb))


def test_a_header_that_promises_a_huge_image_is_refused_before_memory_is_taken() -> None:
    assert refused(b"qoif" + struct.pack(">IIBB", 2**31, 2**31, 3, 0) + bytes(7) + b"\1") == "too_large"
    bomb = bytearray(saved(Image.new("L", (1, 1)), "BMP"))
    struct.pack_into("<ii", bomb, 18, 100_000, 100_000)
    assert refused(bytes(bomb)) == "too_large"


def test_a_progressive_jpeg_with_a_profile_is_plain(rgb: Pixels) -> None:
    data = saved(Image.fromarray(rgb), "JPEG", progressive=True, icc_profile=b"not a profile")
    np.testing.assert_array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


SAMPLES = {
    kind: saved(Image.fromarray(np.random.default_rng(5).integers(0, 256, (7, 9, 3), dtype=np.uint8)), kind)
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "QOI", "AVIF")
}


def outcome(data: bytes) -> str:
    try:
        decode(data)
    except ImageError as error:
        return error.reason
    return "decoded"


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_broken_bytes_end_in_a_reason_and_never_in_a_traceback(kind: str, draw: st.DataObject) -> None:
    data = bytearray(SAMPLES[kind])
    places = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255))
    for place, value in draw.draw(st.lists(places, max_size=6)):
        data[place] = value
    cut = bytes(data[: draw.draw(st.integers(0, len(data)))])
    with warnings.catch_warnings():
        warnings.simplefilter(draw.draw(st.sampled_from(["error", "ignore"])))
        assert outcome(cut) in REASONS | {"decoded"}


def test_a_file_that_cannot_be_read_is_an_unreadable_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"bytes")
    assert read_file(tmp_path / "a.png") == b"bytes"
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match="the file cannot be read") as caught:
            read_file(path)
        assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("kind", sorted(SAMPLES))
@pytest.mark.parametrize("view", [bytes, memoryview])
def test_pixels_are_written_into_memory_that_has_their_shape(kind: str, view: type) -> None:
    data, out = SAMPLES[kind], np.zeros((7, 9, 3), np.uint8)
    assert decode_into(view(data), out) is out
    np.testing.assert_array_equal(out, decode(data))


@pytest.mark.parametrize("kind", sorted(SAMPLES))
@pytest.mark.parametrize("shape", [(9, 7, 3), (7, 10, 3), (6, 9, 3), (1, 1, 3)])
def test_an_image_of_another_shape_gets_memory_of_its_own(kind: str, shape: tuple[int, int, int]) -> None:
    out = np.zeros(shape, np.uint8)
    np.testing.assert_array_equal(decode_into(SAMPLES[kind], out), decode(SAMPLES[kind]))
