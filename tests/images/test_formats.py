"""The suffixes that make a file an image, and the formats that they stand for."""

from PIL import Image

from srcache.images.formats import FORMATS, SUFFIXES


def test_every_suffix_is_of_the_format_that_pillow_says() -> None:
    Image.init()
    known = Image.registered_extensions()
    for kind, suffixes in FORMATS.items():
        assert kind == "HEIF" or kind in Image.OPEN
        for suffix in suffixes:
            assert kind == "HEIF" or known[suffix] == kind or {known[suffix], kind} == {"JPEG", "MPO"}


def test_suffixes_are_in_lower_case_and_stand_once() -> None:
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
