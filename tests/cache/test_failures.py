"""The journal of failed entries: counted, and readable whatever a crash left in it."""

import pytest

from srcache.cache.failures import FailedEntry, failures_by_reason
from srcache.cache.manifest import Cache, RecipeFolder, create_cache
from srcache.recipe.reading import load_recipe

BICUBIC = load_recipe("bicubic")


@pytest.fixture
def cache(tmp_path) -> Cache:
    return create_cache(tmp_path / "cache")


@pytest.fixture
def folder(cache) -> RecipeFolder:
    return cache.add(BICUBIC)


def _failed(name="a", reason="empty"):
    return FailedEntry(name, "größe.png", reason, "the file has no bytes")


def test_failures_are_counted_by_entry_and_the_last_reason_holds(folder):
    assert folder.failures() == {}
    for reason in ("empty", "truncated", "empty"):
        folder.note_failure(_failed("a", reason))
    folder.note_failure(_failed("b", "blank"))
    found = folder.failures()
    assert {name: (one.reason, one.tries, one.source) for name, one in found.items()} == {
        "a": ("empty", 3, "größe.png"),
        "b": ("blank", 1, "größe.png"),
    }


def test_a_journal_with_torn_and_foreign_lines_still_speaks(folder):
    journal = folder.path / "failures.jsonl"
    folder.note_failure(_failed("a"))
    with journal.open("ab") as file:
        file.write(b'\n[1]\n{"name": "x"}\n\xff\xfe\n{"name": "torn", "reas')
    folder.note_failure(_failed("b"))
    assert list(folder.failures()) == ["a", "b"]


def test_reasons_are_counted_the_most_frequent_first():
    failed = [_failed(reason=reason) for reason in ("b", "c", "a", "c", "b", "c")]
    assert list(failures_by_reason(failed).items()) == [("c", 3), ("b", 2), ("a", 1)]
