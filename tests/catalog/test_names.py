"""Names of images: the one rule for a name without its suffix, and which suffixes make a file an image."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.catalog.names import SUFFIXES, pairing_names, stem_of, stems_of
from srcache.errors import CatalogError

STEMS = st.text("aB1. é_-", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("x.PNG", "x"),
        ("x.JpEg", "x"),
        ("a/b.c/d.tiff", "a/b.c/d"),
        ("scan.0001", "scan.0001"),
        ("a.b.c", "a.b.c"),
        ("v1.2 final.jpg", "v1.2 final"),
        ("a.png.png", "a.png"),
        ("a.png.txt", "a.png.txt"),
        ("no dot", "no dot"),
        ("a/b.png/c", "a/b.png/c"),
        (".png", ".png"),
        ("a/.png", "a/.png"),
        (".hidden", ".hidden"),
        (".hidden.png", ".hidden"),
        ("a.", "a."),
        ("", ""),
    ],
)
def test_only_an_image_suffix_is_cut_off(name, stem):
    assert stem_of(name) == stem


@given(STEMS, st.sampled_from(SUFFIXES), st.booleans())
def test_whatever_stands_before_an_image_suffix_is_the_stem(stem, suffix, upper):
    assert stem_of(stem + (suffix.upper() if upper else suffix)) == stem


@given(st.text("ab./ png", max_size=12))
def test_a_stem_begins_the_name_and_keeps_its_folder(name):
    stem = stem_of(name)
    assert name.startswith(stem)
    assert name.count("/") == stem.count("/")
    assert name == stem or name[len(stem) :] in SUFFIXES


@given(st.lists(STEMS, unique=True), st.data())
def test_names_with_different_stems_are_paired_whatever_their_formats(stems, draw):
    names = [stem + draw.draw(st.sampled_from(SUFFIXES)) for stem in stems]
    assert stems_of(names) == stems


def test_names_without_an_image_suffix_differ_by_what_follows_the_dot():
    assert stems_of(["scan.0001", "scan.0002"]) == ["scan.0001", "scan.0002"]


def test_names_that_differ_in_the_suffix_alone_keep_it():
    assert stems_of(["a/x.png", "b/x.png", "a/x.jpg", "x.png"]) == ["a/x.png", "b/x", "a/x.jpg", "x"]
    assert stems_of(["x", "x.png"]) == ["x", "x.png"]
    two = [unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.jpg")]
    assert stems_of(two) == two, "they pair as one name, so neither is cut"


def test_copies_of_names_that_differ_in_the_suffix_alone_pair_with_them():
    names = ["x.png", "x.jpg", "y.webp", unicodedata.normalize("NFD", "é.png")]
    copies = [f"{stem}.png" for stem in stems_of(names)]
    assert copies[:3] == ["x.png.png", "x.jpg.png", "y.png"]
    assert pairing_names(copies) == pairing_names(names) == ["x.png", "x.jpg", "y", "é"]


def test_names_that_are_equal_even_so_are_refused_and_listed():
    with pytest.raises(CatalogError, match=r"one would replace the other: x\.png, x\.png\.png$"):
        stems_of(["x.png", "x.jpg", "x.png.png"])


def test_suffixes_are_lower_case_with_a_dot_and_known_once():
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)
