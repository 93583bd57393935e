"""Splits: every file in one of three, bytes and names kept, copies or links, what cannot be divided refused."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from prepare_commands import contents, images

from srcache.catalog.rows import Row
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError, ConfigError, ImageError
from srcache.keys import file_key, image_key
from srcache.study.prepare.split import make_split, names_by_class, place_file
from srcache.study.prepare.stratify import SPLITS


@pytest.mark.parametrize("link", ["copy", "hard"])
def test_split(photos: Path, tmp_path: Path, link: str) -> None:
    done = make_split(photos, tmp_path / "out", ratios=(0.5, 0.25, 0.25), seed=1, link=link)
    assert (done.written, done.kept, done.failures, done.doubles) == (12, 0, (), ())
    assert done.folders == (tmp_path / "out",)
    expected = {"train": 2, "validation": 1, "test": 1}
    assert done.counts == {f"{s}/{label}": expected[s] for s in SPLITS for label in ("bark", "gravel", "moss")}
    before, after = contents(photos), images(tmp_path / "out")
    assert {name.partition("/")[2]: data for name, data in after.items()} == before
    for name in after:
        same = (tmp_path / "out" / name).samefile(photos / name.partition("/")[2])
        assert same == (link == "hard")
    train = scan(tmp_path / "out/train")
    assert train.classes == ("bark", "gravel", "moss")


def test_classes_with_too_few_images_for_their_shares_are_told(photos: Path, tmp_path: Path) -> None:
    for name in ("moss1", "moss2", "moss3"):
        next(photos.glob(f"moss/{name}.*")).unlink()
    done = make_split(photos, tmp_path / "out", ratios=(0.5, 0.5, 0))
    assert done.lacking == ("validation/moss",), "a test set was not asked for"
    assert make_split(photos, tmp_path / "all", ratios=(1, 0, 0)).lacking == ()


def test_a_split_is_the_same_again_and_elsewhere(photos: Path, tmp_path: Path) -> None:
    make_split(photos, tmp_path / "one")
    shutil.copytree(photos, tmp_path / "moved")
    make_split(tmp_path / "moved", tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    make_split(photos, tmp_path / "three", seed=1)
    assert images(tmp_path / "one").keys() != images(tmp_path / "three").keys()


def test_the_same_bytes_stay_together_and_doubles_are_reported(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "bark/bark0.png", photos / "bark/again.png")
    shutil.copy(photos / "bark/bark0.png", photos / "moss/wrong.png")
    shutil.copy(photos / "gravel/gravel1.png", photos / "gravel/twice.png")
    for seed in range(6):
        done = make_split(photos, tmp_path / str(seed), ratios=(0.4, 0.3, 0.3), seed=seed)
        assert done.doubles == (("bark/again.png", "bark/bark0.png", "moss/wrong.png"),)
        keys = [{file_key(p) for p in (tmp_path / str(seed) / name).rglob("*.*")} for name in SPLITS]
        assert sum(map(len, keys)) == len(set.union(*keys)), "no key is in two splits"
        assert done.written == 15


def test_deeper_folders_and_csv_labels(photos: Path, tmp_path: Path) -> None:
    (photos / "bark/deep").mkdir()
    shutil.move(photos / "bark/bark0.png", photos / "bark/deep/bark0.png")
    make_split(photos, tmp_path / "a", ratios=(1, 0, 0))
    assert (tmp_path / "a/train/bark/deep/bark0.png").exists()
    (photos / "some.csv").write_text("path,label\nmoss/moss0.png,wet\ngravel/gravel0.png,gravel\n")
    make_split(photos / "some.csv", tmp_path / "b", ratios=(0, 0, 1))
    assert sorted(images(tmp_path / "b")) == ["test/gravel/gravel0.png", "test/wet/moss/moss0.png"]


def test_a_split_needs_labels_that_can_be_folders(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="one folder per class"):
        make_split(photos / "moss", tmp_path / "out")
    (photos / "some.csv").write_text("path,label\nmoss/moss0.png,a/b\nmoss/moss1.png,..\n")
    with pytest.raises(CatalogError, match=r"must be names of folders, but are: \.\., a/b"):
        make_split(photos / "some.csv", tmp_path / "out")
    (photos / "wet/moss").mkdir(parents=True)
    shutil.copy(photos / "moss/moss0.png", photos / "wet/moss/moss0.png")
    (photos / "some.csv").write_text("path,label\nmoss/moss0.png,wet\nwet/moss/moss0.png,wet\n")
    with pytest.raises(CatalogError, match=r"several files would be called wet/moss/moss0\.png"):
        make_split(photos / "some.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_that_there_are_not(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="link must be one of copy, hard"):
        make_split(photos, tmp_path / "out", link="soft")

    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ConfigError, match="one file system"):
        make_split(photos, tmp_path / "out", link="hard")


def test_a_file_that_changes_under_a_split_is_a_failure(photos: Path, tmp_path: Path) -> None:
    catalog = scan(photos)
    (photos / "moss/moss0.png").write_bytes(b"other")
    (photos / "moss/moss1.png").unlink()
    done = make_split(catalog, tmp_path / "out")
    assert done.failed == {"changed": 1, "unreadable": 1}
    assert done.written == 10


def test_names_begin_with_the_class_once() -> None:
    rows = [Row(image_key(b"a"), name, "cat", None) for name in ("cat/a.png", "b.png", "dog/cat/a.png")]
    assert names_by_class(rows) == ["cat/a.png", "cat/b.png", "cat/dog/cat/a.png"]
    with pytest.raises(CatalogError, match=r"several files would be called cat/a\.png; rename them"):
        names_by_class([*rows, Row(image_key(b"b"), "a.png", "cat", None)])


@pytest.mark.parametrize("link", ["copy", "hard"])
def test_a_file_is_placed_once_and_again_when_its_size_differs(photos: Path, tmp_path: Path, link: str) -> None:
    row, path = scan(photos).rows[0], tmp_path / "deep/file.png"
    assert row.path is not None
    assert place_file(row, path, link)
    assert path.read_bytes() == row.path.read_bytes()
    assert path.samefile(row.path) == (link == "hard")
    assert not place_file(row, path, link)
    path.unlink()
    path.write_bytes(b"cut short")
    assert place_file(row, path, link)
    assert path.read_bytes() == row.path.read_bytes()
    assert sorted(one.name for one in path.parent.iterdir()) == ["file.png"]


def test_a_copy_of_other_bytes_than_those_catalogued_is_refused(photos: Path, tmp_path: Path) -> None:
    row = scan(photos).rows[0]
    assert row.path is not None
    row.path.write_bytes(b"other")
    with pytest.raises(ImageError, match="changed after it was catalogued") as caught:
        place_file(row, tmp_path / "file.png", "copy")
    assert caught.value.reason == "changed"
    assert not (tmp_path / "file.png").exists()


@pytest.mark.parametrize("link", ["copy", "hard"])
def test_files_that_do_not_decode_go_into_no_split_and_are_told(photos: Path, tmp_path: Path, link: str) -> None:
    (photos / "moss/moss0.png").write_bytes(b"")
    (photos / "bark/bark1.png").write_text("<html>no image</html>")
    data = (photos / "gravel/gravel2.png").read_bytes()
    (photos / "gravel/gravel2.png").write_bytes(data[: len(data) // 2])
    done = make_split(photos, tmp_path / "out", link=link)
    assert done.failed == {"empty": 1, "truncated": 1, "unreadable": 1}
    assert done.written == sum(done.counts.values()) == len(images(tmp_path / "out")) == 9
    again = make_split(photos, tmp_path / "out", link=link)
    assert (again.written, again.kept, again.failed, again.counts) == (0, 9, done.failed, done.counts)
