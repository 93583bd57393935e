"""The images behind a row: only the right file of a folder, never one outside of it, and reasons for the others."""

import caches
import numpy as np
import pytest
from images import picture
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.errors import CacheError, DamagedError, ImageError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import decode
from srcache.keys import file_key
from srcache.recipe.reading import load_recipe
from srcache.server.gallery.pictures import open_pictures
from srcache.server.gallery.rows import GalleryRow

NAME = "Möwen & Co/erste möwe.png"


@pytest.fixture
def store(home):
    with caches.opened(home / "cache") as store:
        yield store


def row_of(home, name=NAME, state=""):
    return GalleryRow(f"{file_key(home / 'photos' / NAME)}-000", name, "", state)


def opened(home, store, rows, lr=True, hr=True):
    folder = caches.only(home / "cache")
    return open_pictures(folder, store, rows, home / "photos" if lr else None, home / "hr" if hr else None)


def test_lr_is_the_source_sr_is_stored_and_hr_is_paired_by_name(home, store):
    row = row_of(home)
    pictures = opened(home, store, [row])
    assert pictures.kinds == ("lr", "sr", "hr")
    assert all(pictures.might_have(row, kind) for kind in pictures.kinds)
    assert np.array_equal(pictures.pixels(row, "lr"), decode((home / "photos" / NAME).read_bytes()))
    assert np.array_equal(pictures.pixels(row, "hr"), decode((home / "hr" / NAME).read_bytes()))
    assert pictures.pixels(row, "sr").tobytes() == caches.pixels(home / "cache")[row.entry]


def test_another_file_of_the_name_is_not_shown(home, store):
    Image.fromarray(picture(20, 24, 3)).save(home / "photos" / NAME)
    row = GalleryRow(f"{'0' * 32}-000", NAME, "")
    with pytest.raises(ImageError, match="is not the image that the cache was built from"):
        opened(home, store, [row]).pixels(row, "lr")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "", "x\0.png"])
def test_no_name_leads_out_of_a_folder(home, store, name):
    (home / "secret.png").write_bytes((home / "photos" / NAME).read_bytes())
    row = row_of(home, name)
    pictures = opened(home, store, [row], hr=False)
    assert not pictures.might_have(row, "lr")
    with pytest.raises(ImageError, match="not in the folder that was named"):
        pictures.pixels(row, "lr")


def test_what_is_not_there_is_said(home, store, damaged):
    rows = [GalleryRow(damaged, "x.png", ""), row_of(home, state="empty")]
    pictures = opened(home, store, rows, lr=False)
    assert pictures.kinds == ("sr", "hr")
    assert [pictures.might_have(rows[0], "hr"), pictures.might_have(rows[1], "sr")] == [False, False]
    with pytest.raises(ImageError, match="no HR image of its name"):
        pictures.pixels(rows[0], "hr")
    with pytest.raises(DamagedError, match="is not what was written"):
        pictures.pixels(rows[0], "sr")
    with pytest.raises(DamagedError, match="holds no images"):
        opened(home, None, rows).pixels(rows[0], "sr")


def test_a_recipe_that_makes_lr_needs_hr_alone(home):
    recipe = load_recipe("bicubic", {"scale": 2, "degradation": "bicubic/2"})
    fill(scan(home / "hr"), recipe, home / "degraded", FillSettings(device="cpu"))
    folder = caches.only(home / "degraded")
    row = GalleryRow(f"{file_key(home / 'hr' / NAME)}-000", NAME, "")
    with caches.opened(home / "degraded") as store:
        assert open_pictures(folder, store, [row], None, None).kinds == ("sr",)
        pictures = open_pictures(folder, store, [row], None, home / "hr")
        assert [pictures.pixels(row, kind).shape for kind in pictures.kinds] == [(20, 24, 3), (40, 48, 3), (40, 48, 3)]
        with pytest.raises(CacheError, match="leave --lr"):
            open_pictures(folder, store, [row], home / "hr", None)


def test_an_image_of_several_names_is_found_by_any(home, store):
    entry = f"{file_key(home / 'photos/wörter/doppelt.png')}-000"
    row = GalleryRow(entry, "wörter/doppelt nochmal.png", "", others=("wörter/doppelt.png",))
    (home / "photos/wörter/doppelt nochmal.png").unlink()
    pictures = opened(home, store, [row])
    assert pictures.pixels(row, "lr").shape == (20, 24, 3)
    assert np.array_equal(pictures.pixels(row, "hr"), decode((home / "hr/wörter/doppelt.png").read_bytes()))
