"""Orientation, transparency, modes and frames are settled in one way."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from image_files import over_white, plainly, refused, saved
from PIL import Image

from srcache.errors import ImageError
from srcache.images import Colors, Pixels, decode, decode_both, image_sides, shown_sides, to_pixels
from srcache.keys import pixel_key, recolored_key

ORIENTATION = 0x0112


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
    assert shown_sides(data) == both.rgb.shape[:2], "by the header alone"


def test_a_image_in_memory_that_still_has_its_orientation_is_turned_like_its_file(rgb: Pixels) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = saved(Image.fromarray(rgb), "PNG", exif=exif)
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(data))), decode(data))
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(data)).convert("RGB")), decode(data))


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_sides_are_read_from_the_header(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (31, 17), (9, 8, 7)).save(out, kind)
    assert image_sides(out.getvalue()) == (17, 31)
    if kind == "PNG":
        assert image_sides(out.getvalue()[:60]) == (17, 31), "what comes after the header is not looked at"


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"junk", "unreadable"), (b"\x89PNG\r\n\x1a\n", "unreadable")]
)
def test_sides_of_what_is_no_image_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        image_sides(data)
    assert caught.value.reason in (reason, "truncated")


def test_sides_above_the_limit_are_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    Image.new("RGB", (31, 17)).save(out, "PNG")
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "500")
    with pytest.raises(ImageError, match="31×17"):
        image_sides(out.getvalue())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_what_pillow_refuses_to_read_is_refused_wherever_the_damage_lies(kind: str) -> None:
    rgb = np.zeros((9, 12, 3), np.uint8) + np.arange(12, dtype=np.uint8)[None, :, None] * 20
    data, count = saved(Image.fromarray(rgb), kind), 0
    for place in range(len(data)):
        broken = data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :]
        try:
            with Image.open(io.BytesIO(broken)) as image:
                image.convert("RGB")
        except Exception:
            count += 1
            with pytest.raises(ImageError):
                decode(broken)
    assert count > 10


def test_images_have_one_alias_where_they_look_the_same_also_in_the_colours_asked_for(rgb: Pixels) -> None:
    data = saved(Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 90, np.uint8)])), "PNG")
    light, black = decode(data), Colors(background="black")
    solid = saved(Image.fromarray(light), "PNG")
    for colors in (Colors(), black):
        assert decode_both(solid, colors).alias() == pixel_key(light)
    assert decode_both(data).alias() == pixel_key(light)
    dark = pixel_key(decode_both(data, black).rgb)
    assert decode_both(data, black).alias() == recolored_key(pixel_key(light), dark)
