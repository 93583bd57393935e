"""Images below a URL are catalogued and read as those of a folder are."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from srcache.catalog.object_source import scan_objects
from srcache.catalog.scanning import open_catalog, scan
from srcache.errors import CatalogError, ImageError
from srcache.files.objects import ObjectFolder, object_folder

pytestmark = pytest.mark.medium


@pytest.fixture
def uploaded(photos: Path, objects_url: str) -> str:
    """The URL of `photos`, with beside them what is no image."""
    (photos / "bark/broken é.png").write_bytes(b"no picture")
    (photos / "bark/notes.txt").write_text("no image")
    (photos / ".hidden").mkdir()
    (photos / ".hidden/x.png").write_bytes(b"1")
    objects = object_folder(objects_url)
    for file in photos.rglob("*.*"):
        if file.is_file():
            objects.put(file.relative_to(photos).as_posix(), file)
    return objects_url


def test_a_catalog_is_that_of_the_folder(uploaded: str, photos: Path) -> None:
    found, local = scan(uploaded), scan(photos)
    assert found.to_csv() == local.to_csv()
    assert found.digest == local.digest
    assert (found.classes, found.ignored, found.problems) == (local.classes, local.ignored, local.problems)
    for index, row in enumerate(local.rows):
        if "broken" in row.name:
            with pytest.raises(ImageError) as caught:
                found.load(index, check=True)
            assert caught.value.reason == "unreadable"
            continue
        np.testing.assert_array_equal(found.load(index, check=True).rgb, local.load(index).rgb)


def test_an_object_is_hashed_once(uploaded: str, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scan(uploaded)
    asked, read = list[str](), ObjectFolder.read
    monkeypatch.setattr(ObjectFolder, "read", lambda *it: (asked.append(it[1]), read(*it))[1])
    assert scan(uploaded).digest == first.digest
    assert asked == []
    object_folder(uploaded).put("moss/moss0.png", (photos / "moss/moss1.png").read_bytes(), replace=True)
    assert scan(uploaded).digest != first.digest
    assert asked == ["moss/moss0.png"]
    asked.clear()
    scan(uploaded, rehash=True)
    assert len(asked) == len(first)


def test_what_changed_or_went_since_is_a_failure_of_one_image(uploaded: str, photos: Path) -> None:
    catalog = scan(uploaded)
    names = [row.name for row in catalog.rows]
    object_folder(uploaded).put("moss/moss0.png", (photos / "moss/moss1.png").read_bytes(), replace=True)
    object_folder(uploaded).delete(["moss/moss1.png"])
    for name, reason in (("moss/moss0.png", "changed"), ("moss/moss1.png", "unreadable")):
        with pytest.raises(ImageError) as caught:
            catalog.load(names.index(name), check=True)
        assert caught.value.reason == reason


def test_labels_are_class_numbers_and_a_flat_place_has_none(uploaded: str, photos: Path) -> None:
    catalog = scan(uploaded)
    assert catalog.source is not None
    assert [catalog.classes[catalog.source.label(index)] for index in range(len(catalog))] == [
        row.label for row in catalog.rows
    ]
    object_folder(uploaded).put("flat.png", (photos / "moss/moss1.png").read_bytes())
    flat = scan(uploaded)
    assert flat.classes == ()
    assert {row.label for row in flat.rows} == {None}
    assert flat.source is not None
    assert {flat.source.label(index) for index in range(len(flat))} == {-1}, "a number, so that a loader makes a batch"


def test_a_catalog_of_a_url_is_pickled_without_a_connection(uploaded: str) -> None:
    catalog = open_catalog(uploaded)
    again = pickle.loads(pickle.dumps(catalog))
    np.testing.assert_array_equal(again.load(3).rgb, catalog.load(3).rgb)


def test_odd_names_are_told(s3_url: str) -> None:
    objects = object_folder(s3_url)
    for name in ("a//b.png", "a/../c.png", "good.png"):
        objects.put(name, b"1")
    catalog = scan_objects(s3_url)
    assert [row.name for row in catalog.rows] == ["good.png"]
    assert {problem.reason for problem in catalog.problems} == {"bad_name"}


def test_where_no_image_is_it_is_said(objects_url: str) -> None:
    with pytest.raises(CatalogError, match=f"but {objects_url} has none"):
        scan(objects_url)
    with pytest.raises(CatalogError, match="a CSV file is read from this machine"):
        scan(f"{objects_url}/list.csv")


def test_classes_are_those_of_the_folder_also_without_images(photos: Path, objects_url: str) -> None:
    for name in ("air/notes.txt", "cache/srcache.json", "water/.hidden", ".x/a.txt"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_text("no image")
    objects = object_folder(objects_url)
    for file in photos.rglob("*"):
        if file.is_file():
            objects.put(file.relative_to(photos).as_posix(), file)
    found, local = scan(objects_url), scan(photos)
    assert found.classes == local.classes
    assert {"air", "water"} < set(found.classes)
    assert "cache" not in found.classes
    assert found.source is not None
    assert [found.classes[found.source.label(index)] for index in range(len(found))] == [r.label for r in local.rows]
    objects.put("flat.png", b"1")
    assert "flat.png lies beside folders with images (bark)" in scan(objects_url).unclassed


def test_other_classes_number_the_labels_that_are_served(uploaded: str, photos: Path) -> None:
    names = ("acorn", *scan(photos).classes)
    plain, found = scan(uploaded), scan(uploaded).with_classes(names)
    assert plain.source is not None
    assert found.source is not None
    assert (found.classes, found.source.classes(), found.digest) == (names, names, plain.digest)
    source = pickle.loads(pickle.dumps(found.source))
    assert [source.label(index) for index in range(len(found))] == [
        plain.source.label(index) + 1 for index in range(len(plain))
    ]
    assert source.data(0) == plain.source.data(0)
