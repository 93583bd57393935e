"""How colours become RGB: ICC profiles, backgrounds, and what is noticed of a file."""

import io

import numpy as np
import pytest
import qoi
from color_files import BROKEN, SRGB, WIDE, by_pillow, half_clear, profiled, spectrum
from image_files import plainly, saved
from PIL import Image

from srcache.errors import ConfigError
from srcache.images import AS_EVER, Colors, background_name, count_notes, decode, decode_both, decode_into, header_notes
from srcache.images.colors import NOTES, refuse_in_memory
from srcache.keys import pixel_key

FOLLOWED, BLACK = Colors(profile="srgb"), Colors(background="black")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_profile_is_followed_where_it_is_asked_for(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(spectrum(), kind, icc_profile=WIDE, **options)
    ignored, followed = decode_both(data), decode_both(data, FOLLOWED)
    with Image.open(io.BytesIO(data)) as image:
        expected = by_pillow(image.convert("RGB"), WIDE)
    np.testing.assert_array_equal(ignored.rgb, plainly(data))
    np.testing.assert_array_equal(followed.rgb, expected)
    assert np.abs(ignored.rgb.astype(int) - followed.rgb).max() > 10
    assert (ignored.notes, followed.notes) == ({"profile_ignored"}, {"profile_applied"})
    np.testing.assert_array_equal(decode_into(data, np.empty((9, 12, 3), np.uint8), FOLLOWED), expected)


@pytest.mark.parametrize("colors", [FOLLOWED, BLACK, Colors(profile="srgb", background="#204060")])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_keys_are_of_unconverted_pixels(kind: str, colors: Colors) -> None:
    data = saved(half_clear(), kind, icc_profile=WIDE)
    usual, found = decode_both(data), decode_both(data, colors)
    assert not np.array_equal(usual.rgb, found.rgb)
    assert (pixel_key(found.keyed), pixel_key(found.plain)) == (pixel_key(usual.rgb), pixel_key(usual.plain))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_profile_that_is_srgb_changes_nothing_and_is_not_spoken_of(kind: str) -> None:
    data = profiled(kind, SRGB)
    np.testing.assert_array_equal(decode(data, FOLLOWED), decode(data))
    assert (decode_both(data).notes, decode_both(data, FOLLOWED).notes) == (set(), set())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "QOI", "PPM"])
def test_a_missing_profile_is_taken_as_srgb_and_counted(kind: str) -> None:
    pixels = np.asarray(spectrum())
    data = bytes(qoi.encode(pixels)) if kind == "QOI" else saved(spectrum(), kind)
    np.testing.assert_array_equal(decode(data, FOLLOWED), decode(data))
    assert decode_both(data, FOLLOWED).notes == {"profile_missing"}
    assert decode_both(data).notes == set()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("JPEG", "CMYK")])
def test_a_broken_or_unfit_profile_is_taken_as_srgb_and_counted(kind: str, mode: str) -> None:
    profile = WIDE if mode == "CMYK" else BROKEN
    data = profiled(kind, profile, spectrum().convert(mode))
    np.testing.assert_array_equal(decode(data, FOLLOWED), decode(data))
    assert "profile_broken" in decode_both(data, FOLLOWED).notes
    assert "profile_ignored" not in decode_both(data).notes, "it would have changed nothing"


def test_a_grey_image_may_have_a_profile_of_colours() -> None:
    for image in (spectrum().convert("L"), spectrum().convert("P")):
        data = profiled("PNG", WIDE, image)
        np.testing.assert_array_equal(decode(data, FOLLOWED), by_pillow(image.convert("RGB"), WIDE))


def test_transparency_lies_over_the_background_after_the_conversion() -> None:
    data = saved(half_clear(), "PNG", icc_profile=WIDE)
    found = decode(data, Colors(profile="srgb", background="#204060"))
    assert (found[:4] == (0x20, 0x40, 0x60)).all()
    np.testing.assert_array_equal(found[4:], by_pillow(spectrum(), WIDE)[4:])


@pytest.mark.parametrize(
    ("background", "colour"), [("white", (255, 255, 255)), ("black", (0, 0, 0)), ("#8000ff", (128, 0, 255))]
)
def test_the_background_of_every_kind_of_transparency(background: str, colour: tuple[int, int, int]) -> None:
    colors, sixteen = Colors(background=background), Image.fromarray(np.full((4, 5), 700, np.uint16))
    files = {
        "alpha": saved(half_clear(), "PNG"),
        "grey": saved(half_clear().convert("LA"), "PNG"),
        "palette": saved(Image.new("P", (5, 4), 0), "GIF", transparency=0),
        "tRNS": saved(Image.new("RGB", (5, 4), (7, 8, 9)), "PNG", transparency=(7, 8, 9)),
        "16 bit": saved(sixteen, "PNG", transparency=700),
        "QOI": bytes(qoi.encode(np.asarray(half_clear()))),
    }
    for name, data in files.items():
        found = decode_both(data, colors)
        assert (found.rgb[0, 0] == colour).all(), name
        assert "alpha" in found.notes, name
        np.testing.assert_array_equal(found.keyed, decode(data), err_msg=name)


def test_what_a_file_takes_is_noted_where_it_occurs(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        (): saved(spectrum(), "PNG"),
        ("alpha",): saved(half_clear(), "PNG"),
        ("alpha", "even"): saved(Image.new("RGBA", (5, 4), (9, 9, 9, 0)), "PNG"),
        ("palette",): saved(spectrum().convert("P"), "PNG"),
        ("sixteen_bit",): saved(Image.fromarray(np.full((4, 5), 700, np.uint16)), "PNG"),
        ("cmyk",): saved(spectrum().convert("CMYK"), "JPEG"),
        ("rotated",): saved(spectrum(), "JPEG", exif=exif),
        ("profile_ignored",): profiled("JPEG"),
    }
    for notes, data in files.items():
        assert decode_both(data).notes == set(notes)
        (tmp_path / "file").write_bytes(data)
        assert header_notes(tmp_path / "file") == set(notes) - {"even"}, "the header tells the rest"
    opaque = saved(spectrum().convert("RGBA"), "PNG")
    assert decode_both(opaque).notes == set(), "nothing was laid over anything"


def test_fast_decoders_note_what_pillow_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        profiled("JPEG"),
        profiled("JPEG", SRGB),
        saved(spectrum(), "JPEG"),
        profiled("PNG"),
        saved(spectrum(), "PNG"),
    ]
    found = [[decode_both(data, colors).notes for data in files] for colors in (AS_EVER, FOLLOWED)]
    monkeypatch.setenv("SRCACHE_DECODERS", "pillow")
    assert [[decode_both(data, colors).notes for data in files] for colors in (AS_EVER, FOLLOWED)] == found


def test_headers_of_damaged_files_say_nothing(tmp_path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    assert header_notes(tmp_path / "bad.png") == header_notes(tmp_path / "missing.png") == frozenset()


@pytest.mark.parametrize(
    ("given", "name"),
    [("white", "white"), ("#FFFFFF", "white"), ("#000000", "black"), ("Black", "black"), ("#Ab00fF", "#ab00ff")],
)
def test_a_background_has_one_spelling(given: str, name: str) -> None:
    assert background_name(given) == name
    assert Colors(background=given) == Colors(background=name)


@pytest.mark.parametrize("wrong", ["grey", "#fff", "ffffff", None, 0, "#ggrrbb", ["white"]])
def test_other_backgrounds_and_profiles_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="white, black or #rrggbb"):
        background_name(wrong)
    with pytest.raises(ConfigError, match="ignore, srgb"):
        Colors(profile=wrong)  # type: ignore[arg-type]


def test_colours_in_words() -> None:
    assert str(AS_EVER) == ""
    assert str(Colors(profile="srgb", background="black")) == "colours converted to sRGB by ICC profiles, over black"


def test_notes_are_counted_in_one_order() -> None:
    assert count_notes([{"rotated"}, {"alpha", "rotated"}, ()]) == {"alpha": 1, "rotated": 2}
    assert list(count_notes([list(NOTES)])) == list(NOTES)


def test_profiles_of_images_in_memory_are_refused_in_words() -> None:
    refuse_in_memory(AS_EVER)
    with pytest.raises(ConfigError, match="color_profile: srgb, but the images are in memory"):
        refuse_in_memory(FOLLOWED)
