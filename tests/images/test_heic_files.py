"""HEIC files are read where pi-heif is installed, and told how to read where it is not; Pillow stays as it was."""

import re
import sys
from pathlib import Path

import numpy as np
import paths
import pytest
from image_files import saved
from PIL import Image

from srcache.catalog import scan
from srcache.errors import CatalogError, ImageError
from srcache.images import can_read_heic, decode, decoders_in_use, image_sides
from srcache.images.heic_files import is_heic

TURNED = (paths.ROOT / "tests/golden/heic/turned.heic").read_bytes()
with_heic = pytest.mark.skipif(not can_read_heic(), reason="pi-heif is not installed")


@pytest.fixture
def without_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if pi-heif were not installed."""
    monkeypatch.setitem(sys.modules, "pi_heif", None)


@with_heic
def test_pixels_are_turned_once() -> None:
    rgb = decode(TURNED)
    assert rgb.shape == (24, 16, 3)
    for (row, column), colour in {(4, 3): (20, 210, 60), (4, 12): (30, 50, 220), (18, 8): (200, 30, 40)}.items():
        assert np.abs(rgb[row, column].astype(int) - colour).max() <= 3
    assert image_sides(TURNED) == (24, 16)


@with_heic
def test_nothing_is_registered_with_pillow() -> None:
    decode(TURNED)
    assert "HEIF" not in Image.OPEN
    assert "HEIF" not in Image.ID
    assert ".heic" not in Image.registered_extensions()


@with_heic
@pytest.mark.parametrize("cut", [12, 40, 200, 400, 560])
def test_one_that_is_cut_off_is_one_images_failure(cut: int) -> None:
    with pytest.raises(ImageError):
        decode(TURNED[:cut])


@with_heic
def test_one_that_is_too_large_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "383")
    with pytest.raises(ImageError, match="16×24 pixels, more than 383") as caught:
        decode(TURNED)
    assert caught.value.reason == "too_large"


@with_heic
def test_a_folder_of_them_is_catalogued_and_decoded(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("IMG_1.HEIC", "b.heif", "c.jpg"):
        (tmp_path / "a" / name).write_bytes(TURNED)
    catalog = scan(tmp_path)
    assert [row.name for row in catalog.rows] == ["a/IMG_1.HEIC", "a/b.heif", "a/c.jpg"]
    assert catalog.load(2).rgb.shape == (24, 16, 3)


def test_without_it_files_are_told_and_classes_keep_their_numbers(tmp_path: Path, without_heic: None) -> None:
    for name in ("cat/IMG_1.HEIC", "dog/d.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(TURNED if "IMG" in name else saved(Image.new("RGB", (4, 4)), "PNG"))
    catalog = scan(tmp_path)
    assert catalog.classes == ("cat", "dog")
    assert [(one.name, one.reason) for one in catalog.problems] == [("cat/IMG_1.HEIC", "unsupported")]
    words = catalog.problems[0].detail
    assert re.fullmatch(r"reading HEIC images needs pi-heif, which is not installed; run.*pip install .*heic.*", words)
    (tmp_path / "dog/d.png").unlink()
    with pytest.raises(CatalogError, match=r"IMG_1.HEIC is unsupported .reading HEIC images needs pi-heif"):
        scan(tmp_path)
    (tmp_path / "list.csv").write_text("path,label\ncat/IMG_1.HEIC,cat\n")
    with pytest.raises(CatalogError, match="needs pi-heif"):
        scan(tmp_path / "list.csv")


def test_without_it_one_under_another_name_is_told_as_well(without_heic: None) -> None:
    with pytest.raises(ImageError, match="needs pi-heif") as caught:
        decode(TURNED)
    assert caught.value.reason == "unsupported"
    assert "needs pi-heif" in str({one.kind: one for one in decoders_in_use()}["HEIC"].reason)


def test_an_avif_file_is_none() -> None:
    assert is_heic(TURNED)
    assert is_heic(memoryview(TURNED))
    assert not is_heic(saved(Image.new("RGB", (8, 8)), "AVIF"))
    assert not is_heic(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf")
    assert not is_heic(b"")


@with_heic
@pytest.mark.parametrize("kind", [b"\xff\xff\xff\x7f", b"\xc3xif", b"Exi\xff"])
def test_names_that_are_no_text_are_refused_before_they_end_the_process(kind: bytes) -> None:
    with pytest.raises(ImageError, match="no text") as caught:
        decode(TURNED.replace(b"Exif\0", kind + b"\0", 1))
    assert caught.value.reason == "unreadable"
