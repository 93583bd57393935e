"""Folders, CSV files and data sets become catalogs: names, labels and keys in order, and problems beside them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import ImageItems, as_pillow, fail
from image_trees import csv_of, names, time_passes, tree, write
from PIL import Image
from torch.utils.data import Subset
from torchvision import datasets as tv

import srcache.catalog.hashing
from srcache.catalog.listing import Problem
from srcache.catalog.scanning import from_dataset, open_catalog, scan
from srcache.catalog.sources import open_source
from srcache.errors import CatalogError, ImageError
from srcache.images import Pixels
from srcache.keys import file_key, image_key, pixel_key


def test_class_folders(photos: Path) -> None:
    catalog = scan(photos)
    assert catalog.classes == ("bark", "gravel", "moss")
    assert names(catalog)[:4] == ["bark/bark0.png", "bark/bark1.png", "bark/bark2.png", "bark/bark3.jpg"]
    assert [row.label for row in catalog.rows] == ["bark"] * 4 + ["gravel"] * 4 + ["moss"] * 4
    assert catalog.root == photos
    assert (catalog.problems, catalog.ignored, len(catalog)) == ((), 0, 12)
    for row in catalog.rows:
        assert row.path == photos / row.name
        assert row.key == file_key(photos / row.name)
    np.testing.assert_array_equal(catalog.load(0, check=True).rgb, np.asarray(Image.open(photos / "bark/bark0.png")))


def test_keys_are_what_b2sum_prints(photos: Path) -> None:
    row = scan(photos).rows[0]
    printed = subprocess.run(["b2sum", "-l", "128", photos / row.name], capture_output=True, text=True, check=True)
    assert printed.stdout.split()[0] == row.key


def test_equal_bytes_are_two_rows_with_one_key(tmp_path: Path) -> None:
    write(tmp_path / "a/1.png", b"same")
    write(tmp_path / "b/2.png", b"same")
    catalog = scan(tmp_path)
    assert [row.key for row in catalog.rows] == [image_key(b"same")] * 2
    assert [row.label for row in catalog.rows] == ["a", "b"]


def test_a_root_that_is_a_link_is_followed(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    linked = scan(tmp_path / "link")
    assert linked.to_csv() == scan(photos).to_csv()
    assert linked.root == tmp_path / "link"


def test_a_file_that_cannot_be_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = srcache.catalog.hashing.file_key

    def denied(path: Path) -> str:
        if path.name == "bark1.png":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(srcache.catalog.hashing, "file_key", denied)
    catalog = scan(photos)
    assert catalog.problems == (Problem("bark/bark1.png", "unreadable", "it cannot be read (Permission denied)"),)
    assert len(catalog) == 11


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"expected a folder of images or a \.csv file, but .*gone does not exist"):
        scan(tmp_path / "gone")
    with pytest.raises(CatalogError, match=r"\.jpg.*2 other files lie there"):
        scan(tree(tmp_path, "a/notes.txt", "b.doc"))
    with pytest.raises(CatalogError, match="another kind of file"):
        scan(tmp_path / "b.doc")


def test_nothing_but_problems_are_reported(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").symlink_to(tmp_path / "x.png")
    with pytest.raises(CatalogError, match=r"a\.png is unreadable"):
        scan(root)


def test_open_catalog_takes_folders_and_catalogs(photos: Path) -> None:
    catalog = open_catalog(str(photos))
    assert catalog == scan(photos)
    assert open_catalog(catalog) is catalog


def test_csv_labels_that_are_numbers_stay_these_numbers(photos: Path) -> None:
    rows = "moss/moss1.png,10\nbark/bark0.png,2\nmoss/moss0.png,0\n"
    assert scan(csv_of(photos, f"path,label\n{rows}")).classes == tuple(map(str, range(11)))
    assert scan(csv_of(photos, f"path,label\n{rows}bark/bark1.png,a\n")).classes == ("0", "10", "2", "a")


def test_a_catalogs_own_csv_is_one(photos: Path) -> None:
    catalog = scan(photos)
    assert scan(csv_of(photos, catalog.to_csv())).to_csv() == catalog.to_csv()
    flat = scan(photos / "moss")
    assert scan(csv_of(photos / "moss", flat.to_csv())).to_csv() == flat.to_csv()


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "many", *(f"a/{number:04d}.png" for number in range(300)))
    calls: list[tuple[int, int]] = []
    scan(root, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (300, 300)
    assert calls == sorted(calls)
    assert len(calls) < 20, "not once per file"


def test_threads_do_not_change_the_catalog(photos: Path) -> None:
    assert scan(photos, workers=1, rehash=True) == scan(photos, workers=7, rehash=True)


def test_a_scan_decodes_nothing(
    photos: Path, make_image: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "moss/moss0.png").write_bytes(b"broken")
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened a image"))
    assert len(scan(photos)) == 12


def test_a_catalog_of_items(pixels: list[Pixels]) -> None:
    catalog = open_catalog(ImageItems([as_pillow(p) for p in pixels], transform=fail))
    assert [row.name for row in catalog.rows] == ["00000000", "00000001", "00000002", "00000003"]
    assert [row.key for row in catalog.rows] == [pixel_key(p) for p in pixels]
    assert [row.label for row in catalog.rows] == ["0", "1", "0", "1"]
    assert catalog.classes == ("0", "1")
    assert catalog.root is None
    np.testing.assert_array_equal(catalog.load(2, check=True).rgb, pixels[2])


def test_items_are_made_once_for_a_catalog(pixels: list[Pixels]) -> None:
    calls: list[int] = []

    class Counted(ImageItems):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            calls.append(index)
            return super().__getitem__(index)

    from_dataset(Counted([as_pillow(p) for p in pixels]))
    assert calls == [0, 1, 2, 3]


def test_progress_of_items(pixels: list[Pixels]) -> None:
    calls: list[tuple[int, int]] = []
    from_dataset(ImageItems([as_pillow(p) for p in pixels]), progress=lambda *step: calls.append(step))
    assert calls[0] == (1, 4)
    assert calls[-1] == (4, 4)


def test_a_subset_of_images_in_memory_is_named_by_its_own_numbers(pixels: list[Pixels]) -> None:
    catalog = from_dataset(Subset(ImageItems([Image.fromarray(p) for p in pixels]), [2, 0]))
    assert [row.name for row in catalog.rows] == ["00000000", "00000001"]
    assert [row.key for row in catalog.rows] == [pixel_key(pixels[2]), pixel_key(pixels[0])]


def test_an_empty_data_set_has_no_images() -> None:
    with pytest.raises(CatalogError, match="none that can be read"):
        from_dataset(ImageItems([]))


def test_a_plain_list_of_pairs(pixels: list[Pixels]) -> None:
    catalog = from_dataset([(as_pillow(p), "cat") for p in pixels])
    assert {row.label for row in catalog.rows} == {"cat"}


def test_a_folders_catalog_is_the_folders(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos), transform=fail)
    assert from_dataset(folder).to_csv() == scan(photos).to_csv()
    assert from_dataset(folder).rows == scan(photos).rows


def test_a_relative_root(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    catalog = from_dataset(tv.ImageFolder(photos.name))
    monkeypatch.chdir("/")
    assert catalog.rows == scan(photos).rows
    assert catalog.load(0, check=True).rgb.shape == (24, 32, 3)


def test_a_second_look_at_a_folder_reads_no_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time_passes(monkeypatch)
    then = 1_700_000_000
    for file in photos.rglob("*.*"):
        os.utime(file, (then, then))
    first = from_dataset(Subset(tv.ImageFolder(str(photos)), [5, 1]))
    scan(photos)
    monkeypatch.setattr("srcache.catalog.hashing.file_key", fail)
    assert from_dataset(Subset(tv.ImageFolder(str(photos)), [5, 1])).rows == first.rows
    assert len(scan(photos)) == 12, "a subset does not make the memo forget the rest"


def test_a_file_that_is_gone_leaves_a_problem_and_the_rest_in_order(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos))
    (photos / "bark/bark1.png").unlink()
    catalog = from_dataset(folder)
    assert [problem.reason for problem in catalog.problems] == ["unreadable"]
    assert len(catalog) == 11
    assert catalog.source is not None
    for index in range(11):
        catalog.load(index, check=True)
        assert catalog.source.path(index) == catalog.rows[index].path
    with pytest.raises(ImageError) as caught:
        open_source(folder).load(1)
    assert caught.value.reason == "unreadable"


def test_an_item_that_cannot_be_read_is_a_problem(pixels: list[Pixels]) -> None:
    class Holey(ImageItems):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            if index == 1:
                raise FileNotFoundError("no such image")
            return super().__getitem__(index)

    catalog = from_dataset(Holey([as_pillow(p) for p in pixels]))
    assert [(problem.name, problem.reason) for problem in catalog.problems] == [("00000001", "unreadable")]
    assert [row.key for row in catalog.rows] == [pixel_key(pixels[i]) for i in (0, 2, 3)]
    for index in range(3):
        catalog.load(index, check=True)
