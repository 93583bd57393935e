"""Every odd image has one outcome: read in one way, or refused with one reason."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qoi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from srcache.errors import ConfigError, ImageError
from srcache.images import (
    Pixels,
    as_file,
    decode,
    decode_both,
    encode,
    from_tensor,
    parse_codec,
    read_file,
    resize,
    suffix_of,
    to_batch,
    to_pixels,
)

REASONS = {"empty", "truncated", "unreadable", "animated", "too_large", "unsupported"}
ORIENTATION = 0x0112
IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plainly(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert str(caught.value), "a refusal explains itself"
    return caught.value.reason


@pytest.fixture(scope="module")
def rgb() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def turned(rgb: Pixels, orientation: int) -> Pixels:
    """What a viewer shows for stored pixels with this EXIF orientation, written down from the EXIF table."""
    ways: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: p[::-1].swapaxes(0, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: p[:, ::-1].swapaxes(0, 1),
    }
    return ways[orientation](rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(rgb: Pixels, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(rgb), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    both = decode_both(data)
    np.testing.assert_array_equal(both.rgb, turned(rgb, orientation))
    np.testing.assert_array_equal(both.plain, plainly(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_jpeg(rgb: Pixels, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(rgb), "JPEG", exif=exif)
    both = decode_both(data)
    np.testing.assert_array_equal(both.rgb, turned(both.plain, orientation))
    np.testing.assert_array_equal(both.plain, plainly(data))
    assert (both.rgb is both.plain) == (orientation == 1)


def test_a_image_in_memory_that_still_has_its_orientation_is_turned_like_its_file(rgb: Pixels) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = saved(Image.fromarray(rgb), "PNG", exif=exif)
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(data))), decode(data))
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(data)).convert("RGB")), decode(data))


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def test_alpha_is_laid_over_white(rgb: Pixels) -> None:
    alpha = np.random.default_rng(4).integers(0, 256, rgb.shape[:2], dtype=np.uint8)
    alpha[0, :2] = 0, 255
    data = saved(Image.fromarray(np.dstack([rgb, alpha])), "PNG")
    both = decode_both(data)
    assert np.abs(both.rgb - over_white(rgb, alpha)).max() <= 1
    assert both.rgb[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(both.rgb[0, 1], rgb[0, 1])
    np.testing.assert_array_equal(both.plain, rgb)


def test_grey_with_alpha_is_laid_over_white(rgb: Pixels) -> None:
    grey, alpha = rgb[..., 0], rgb[..., 1]
    data = saved(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), "PNG")
    assert np.abs(decode(data) - over_white(np.repeat(grey[..., None], 3, 2), alpha)).max() <= 1


def test_a_transparent_palette_colour_becomes_white() -> None:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([9, 9, 9, 200, 10, 20, 30, 40, 50])
    image.putpixel((0, 0), 2)
    both = decode_both(saved(image, "PNG", transparency=1))
    assert both.rgb[0, 0].tolist() == [30, 40, 50]
    assert (both.rgb[1:] == 255).all()
    assert both.plain[1, 1].tolist() == [200, 10, 20]


def test_a_transparent_colour_of_rgb_becomes_white(rgb: Pixels) -> None:
    clear = tuple(int(value) for value in rgb[2, 3])
    both = decode_both(saved(Image.fromarray(rgb), "PNG", transparency=clear))
    assert both.rgb[2, 3].tolist() == [255, 255, 255]
    hidden = (rgb == rgb[2, 3]).all(-1)
    np.testing.assert_array_equal(both.rgb[~hidden], rgb[~hidden])
    np.testing.assert_array_equal(both.plain, rgb)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_divided_by_257(kind: str) -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    data = saved(Image.fromarray(deep), kind)
    expected = np.round(deep / 257).astype(np.uint8)
    both = decode_both(data)
    for channel in range(3):
        np.testing.assert_array_equal(both.rgb[..., channel], expected)
    np.testing.assert_array_equal(both.plain, plainly(data))


def test_a_transparent_level_of_16_bit_grey_becomes_white() -> None:
    deep = np.array([[1000, 2000], [3000, 1000]], dtype=np.uint16)
    found = decode(saved(Image.fromarray(deep), "PNG", transparency=1000))[..., 0]
    assert found.tolist() == [[255, 8], [12, 255]]


@pytest.mark.parametrize(("mode", "kind"), [("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF")])
def test_palette_and_cmyk_are_what_pillow_makes_of_them(rgb: Pixels, mode: str, kind: str) -> None:
    data = saved(Image.fromarray(rgb).convert(mode), kind)
    np.testing.assert_array_equal(decode(data), plainly(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_is_black_and_white(kind: str) -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    np.testing.assert_array_equal(decode(saved(Image.fromarray(bits), kind))[..., 1], bits * 255)


def test_grey_has_three_equal_channels(rgb: Pixels) -> None:
    data = saved(Image.fromarray(rgb[..., 0]), "PNG")
    np.testing.assert_array_equal(decode(data), np.repeat(rgb[..., :1], 3, 2))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_refused(rgb: Pixels, kind: str) -> None:
    first, second = Image.fromarray(rgb), Image.fromarray(255 - rgb)
    data = saved(first, kind, save_all=True, append_images=[second])
    assert refused(data) == "animated"
    with pytest.raises(ImageError, match="2 frames"):
        to_pixels(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_one_frame_is_no_animation(rgb: Pixels, kind: str) -> None:
    data = saved(Image.fromarray(rgb), kind, save_all=True)
    np.testing.assert_array_equal(decode(data), plainly(data))


def test_of_an_mpo_the_first_image_is_taken(rgb: Pixels) -> None:
    first = Image.fromarray(rgb)
    data = saved(first, "MPO", save_all=True, append_images=[Image.fromarray(255 - rgb)])
    np.testing.assert_array_equal(decode(data), decode(saved(first, "JPEG")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "QOI"])
def test_cut_off(rgb: Pixels, kind: str) -> None:
    data = saved(Image.fromarray(rgb), kind)
    assert refused(data[: len(data) * 2 // 3]) == "truncated"


def test_cut_off_qoi_of_our_own(rgb: Pixels) -> None:
    data = encode(rgb, "qoi")
    for length in range(4, len(data)):
        assert refused(data[:length]) == "truncated"


def test_a_qoi_with_too_little_inside_or_a_senseless_header(rgb: Pixels) -> None:
    data = encode(rgb, "qoi")
    assert refused(data[:40] + data[-8:]) == "unreadable"
    assert refused(data[:12] + b"\x09" + data[13:]) == "unreadable"
    assert refused(data[:4] + bytes(4) + data[8:]) == "unreadable"


def test_no_bytes() -> None:
    assert refused(b"") == "empty"


@pytest.mark.parametrize("data", [b"not a image\n", b"<html></html>", b"\x89PNG\r\n", bytes(100), b"GIF89a"])
def test_not_an_image(data: bytes) -> None:
    assert refused(data) in {"unreadable", "truncated"}


def test_a_text_file_with_an_image_suffix(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("shopping list")
    assert refused(file.read_bytes()) == "unreadable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "QOI", "TIFF"])
def test_too_large(rgb: Pixels, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, pixels = saved(Image.fromarray(rgb), kind), rgb.shape[0] * rgb.shape[1]
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", str(pixels))
    assert decode(data).shape == rgb.shape
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", str(pixels - 1))
    assert refused(data) == "too_large"
    with pytest.raises(ImageError, match="SRCACHE_MAX_PIXELS"):
        to_pixels(Image.fromarray(rgb))


def test_a_header_that_promises_a_huge_image_is_refused_before_memory_is_taken() -> None:
    assert refused(b"qoif" + struct.pack(">IIBB", 2**31, 2**31, 3, 0) + bytes(7) + b"\1") == "too_large"
    bomb = bytearray(saved(Image.new("L", (1, 1)), "BMP"))
    struct.pack_into("<ii", bomb, 18, 100_000, 100_000)
    assert refused(bytes(bomb)) == "too_large"


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e6", ""])
def test_a_limit_that_is_no_number(text: str, rgb: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", text)
    with pytest.raises(ConfigError, match="SRCACHE_MAX_PIXELS"):
        decode(saved(Image.fromarray(rgb), "PNG"))


def test_float_and_32_bit_pixels_have_no_agreed_range() -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert refused(saved(Image.fromarray(values), "TIFF")) == "unsupported"
    assert refused(saved(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF")) == "unsupported"
    assert refused(saved(Image.fromarray(np.full((2, 2), -1, np.int32)), "TIFF")) == "unsupported"
    with pytest.raises(ImageError, match="floating"):
        to_pixels(Image.fromarray(values))


def test_a_image_that_was_opened_but_is_broken(rgb: Pixels) -> None:
    data = saved(Image.fromarray(rgb), "PNG")
    with pytest.raises(ImageError) as caught:
        to_pixels(Image.open(io.BytesIO(data[: len(data) // 2])))
    assert caught.value.reason == "truncated"


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


@given(IMAGES, st.sampled_from(["qoi", "png"]))
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
    "codec", ["", "qoi:5", "png:0", "png:10", "png:x", "jpeg", "jpeg:0", "jpeg:101", "jpeg:x", "webp", "avif:90", "PNG"]
)
def test_codecs_that_there_are_not(codec: str) -> None:
    with pytest.raises(ConfigError, match="a codec is one of"):
        parse_codec(codec)


@given(IMAGES)
def test_tensors_come_back(rgb: Pixels) -> None:
    batch = to_batch([rgb, 255 - rgb])
    assert batch.shape == (2, 3, *rgb.shape[:2])
    assert float(batch.min()) >= 0
    assert float(batch.max()) <= 1
    np.testing.assert_array_equal(from_tensor(batch[0]), rgb)
    np.testing.assert_array_equal(from_tensor(batch[1]), 255 - rgb)


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


@pytest.mark.parametrize(
    ("codec", "suffix"), [("qoi", ".png"), ("png", ".png"), ("jpeg:90", ".jpg"), ("webp:90", ".webp")]
)
def test_a_stored_image_becomes_a_file_for_other_programs(rgb: Pixels, codec: str, suffix: str) -> None:
    payload = encode(rgb, codec)
    found, data = as_file(payload)
    assert found == suffix
    assert (data == payload) == (codec != "qoi")
    np.testing.assert_array_equal(plainly(data), decode(payload))


def test_a_file_that_cannot_be_read_is_an_unreadable_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"bytes")
    assert read_file(tmp_path / "a.png") == b"bytes"
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match="the file cannot be read") as caught:
            read_file(path)
        assert caught.value.reason == "unreadable"


@given(IMAGES, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["nearest", "box", "bicubic", "lanczos"]))
def test_resizing_is_pillows_and_leaves_an_image_of_that_size_as_it_is(
    rgb: Pixels, height: int, width: int, name: str
) -> None:
    expected = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling[name.upper()]))
    np.testing.assert_array_equal(resize(rgb, (height, width), name), expected)
    assert resize(rgb, (rgb.shape[0], rgb.shape[1]), name) is rgb
