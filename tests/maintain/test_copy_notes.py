"""copy_notes: receipts, failures and label safety come along once, however often they are copied."""

import shutil
from pathlib import Path

import caches
import pytest

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import RecipeFolder, create_cache, open_cache
from srcache.maintain.copy_notes import SAFETY, copy_catalogs, copy_notes, copy_safety


@pytest.fixture
def source(cache) -> RecipeFolder:
    return caches.only(cache)


@pytest.fixture
def target(source, tmp_path) -> RecipeFolder:
    return create_cache(tmp_path / "target").add(source.recipe)


def _measure(folder: RecipeFolder, text: str) -> None:
    for name in SAFETY:
        (folder.path / name).write_text(f"{name} {text}")


def _table(folder: RecipeFolder) -> list[str]:
    return [file.read_text() for name in SAFETY if (file := folder.path / name).exists()]


def test_catalogs_are_kept_byte_for_byte(cache, tmp_path):
    target = create_cache(tmp_path / "target")
    assert copy_catalogs(open_cache(cache), target) == []
    assert caches.tree(cache / "catalogs") == caches.tree(tmp_path / "target/catalogs")


def test_a_damaged_catalog_is_listed_and_not_copied(cache, tmp_path):
    target = create_cache(tmp_path / "target")
    (broken,) = open_cache(cache).catalogs().values()
    broken.write_text("key,name,label\nx")
    (failed,) = copy_catalogs(open_cache(cache), target)
    assert (failed.source, failed.reason) == (str(broken), "damaged")
    assert target.catalogs() == {}


def test_receipts_and_failures_are_copied_once(source, target):
    for _ in range(2):
        assert copy_notes(source, target) == []
        assert target.receipts() == source.receipts()
        assert target.failures() == source.failures()


def test_a_failure_counts_as_often_as_it_was_tried_anywhere(source, target):
    name = "a" * 32 + "-000"
    for tries, folder in ((3, source), (2, target)):
        for _ in range(tries):
            folder.note_failure(FailedEntry(name, "a.png", "unreadable", folder.path.name))
    copy_notes(source, target)
    assert target.failures()[name].tries == 3
    copy_notes(source, target)
    assert target.failures()[name].tries == 3


def test_a_damaged_receipt_is_listed(source, target):
    broken = next((source.path / "receipts").iterdir())
    broken.write_text("{")
    (failed,) = copy_notes(source, target)
    assert (failed.source, failed.reason) == (str(broken), "damaged")
    assert target.receipts() == []


@pytest.fixture
def second(source, tmp_path) -> RecipeFolder:
    return RecipeFolder(Path(shutil.copytree(source.path, tmp_path / "second")), source.kind, source.recipe)


def test_label_safety_is_taken_where_the_sources_agree(source, second, target):
    assert copy_safety([source, second], target, False) is None
    assert _table(target) == []
    _measure(source, "one")
    assert copy_safety([source, second], target, False) is None
    assert _table(target) == ["safety.json one", "safety.csv one"]
    _measure(second, "one")
    assert copy_safety([source, second], target, False) is None


def test_label_safety_that_differs_is_told(source, second, target):
    _measure(source, "one")
    _measure(second, "two")
    note = copy_safety([source, second], target, False)
    assert note is not None
    assert "no table was copied, and `srcache safety` measures anew" in note
    assert _table(target) == []
    _measure(target, "three")
    note = copy_safety([source], target, False)
    assert note is not None
    assert f"the table of {target.path} stays" in note
    assert _table(target) == ["safety.json three", "safety.csv three"]


def test_label_safety_of_images_in_conflict_is_not_taken(source, target):
    _measure(source, "one")
    note = copy_safety([source], target, True)
    assert note is not None
    assert "because of the conflicts" in note
    assert _table(target) == []
