"""HR images by relative name without suffix: each once, none by order, and what is missing is said."""

import unicodedata
from pathlib import Path

import pytest

from srcache.catalog import hashing as memo
from srcache.catalog.pairing import hr_candidates, hr_paths
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError
from srcache.keys import image_key


def test_pairs_may_come_from_a_csv_and_are_not_hashed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = scan(photos / "moss")
    (photos / "list.csv").write_text("path\n" + "\n".join(f"moss/moss{number}.png" for number in (2, 1, 0)))
    monkeypatch.setattr(memo, "file_key", lambda path: 1 / 0)
    names = [f"moss/moss{number}.bmp" for number in range(3)]
    found = hr_paths(names, photos / "list.csv")
    assert found == [photos / "moss" / f"moss{number}.png" for number in range(3)]
    assert hr_paths([row.name for row in scanned.rows], str(photos / "moss")) == [row.path for row in scanned.rows]


@pytest.mark.parametrize("name", ["a.b/c.d.png", "c", ".hidden.png", "a/b.tar.gz"])
def test_names_are_compared_without_their_last_suffix_only(tmp_path: Path, name: str) -> None:
    rows = tuple(Row(image_key(b""), other, None, tmp_path / other) for other in (f"{name}.bmp", f"x{name}.png"))
    (found,) = hr_paths([f"{name}.png"], Catalog(rows=rows))
    assert found == tmp_path / f"{name}.bmp"


def test_what_is_missing_is_none_or_an_error(photos: Path) -> None:
    names = ["moss0.jpg", "nowhere.png"]
    assert hr_candidates(names, photos / "moss") == [photos / "moss/moss0.png", None]
    with pytest.raises(CatalogError, match=r"1 of 2 images have no HR image .*: nowhere\.png"):
        hr_paths(names, photos / "moss")


def test_two_images_for_one_name_are_refused(photos: Path) -> None:
    (photos / "moss/moss0.jpg").write_bytes((photos / "moss/moss0.png").read_bytes())
    with pytest.raises(CatalogError, match=r"more than one HR image: moss0\.\w+ and moss0\.\w+; leave one of each"):
        hr_candidates(["moss0.bmp"], photos / "moss")


def test_names_that_differ_in_the_suffix_alone_pair_with_it(tmp_path: Path) -> None:
    names = ("x.jpg", "x.png", "y.png")
    rows = tuple(Row(image_key(b""), name, None, tmp_path / name) for name in names)
    hr = Catalog(rows=rows)
    assert hr_paths(["x.png.png", "x.jpg.png", "y.bmp"], hr) == [
        tmp_path / name for name in ("x.png", "x.jpg", "y.png")
    ]
    assert hr_paths(list(names), hr) == [row.path for row in rows]


def test_names_in_another_unicode_form_pair(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "café/größe.png") for form in ("NFC", "NFD"))
    assert one != two
    file = tmp_path / "hr" / two
    file.parent.mkdir(parents=True)
    file.write_bytes(b"an image")
    assert hr_paths([one], tmp_path / "hr") == [file]
    assert hr_paths([two], tmp_path / "hr") == [file]
