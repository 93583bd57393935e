"""The journal of failed entries: counted, and readable whatever a crash left in it."""

import itertools

import pytest

from srcache.cache import failures
from srcache.cache.failures import (
    FailedEntry,
    append_failure,
    failures_by_reason,
    in_order,
    read_failures,
    readable_journals,
    readable_lines,
)
from srcache.cache.manifest import Cache, RecipeFolder, create_cache
from srcache.errors import MachineError
from srcache.recipe.reading import load_recipe

BICUBIC = load_recipe("bicubic")


@pytest.fixture
def cache(tmp_path) -> Cache:
    return create_cache(tmp_path / "cache")


@pytest.fixture
def folder(cache) -> RecipeFolder:
    return cache.add(BICUBIC)


def _failed(name="a", reason="empty", source="größe.png"):
    return FailedEntry(name, source, reason, "the file has no bytes")


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


@pytest.fixture
def shards(tmp_path) -> RecipeFolder:
    """A folder that several processes may fill."""
    return create_cache(tmp_path / "shards", "shards").add(BICUBIC)


def test_each_writer_has_a_journal_of_its_own_and_readers_join_them(shards, monkeypatch):
    (shards.path / "failures.jsonl").write_text(
        '{"name": "a", "source": "s", "reason": "old", "detail": "d"}\n' * 2, encoding="utf-8"
    )
    writers = [shards.as_writer() for _ in range(2)]
    times = iter([100.0, 50.0, 75.0, 60.0])
    monkeypatch.setattr(failures.time, "time", lambda: next(times))
    writers[0].note_failure(_failed("a", "first"))
    writers[1].note_failure(_failed("a", "second"))
    writers[1].note_failure(_failed("b", "blank"))
    writers[1].note_failure(_failed("b", "late"))
    names = sorted(path.name for path in (shards.path / "failures").iterdir())
    assert names == sorted(f"{one.writer}.jsonl" for one in writers)
    found = {name: (one.reason, one.tries) for name, one in shards.failures().items()}
    assert found == {"a": ("first", 4), "b": ("blank", 2)}, "the latest by time, the tries over all"


def test_where_one_process_at_a_time_fills_a_folder_there_is_one_journal(folder):
    writer = folder.as_writer()
    writer.note_failure(_failed("a"))
    assert writer.writer is None
    assert (folder.path / "failures.jsonl").exists()
    assert not (folder.path / "failures").exists()


@pytest.mark.parametrize("kind", ["lmdb", "shards"])
def test_a_folder_that_was_taken_away_does_not_come_back_with_a_failure_or_a_receipt(tmp_path, kind):
    writer = create_cache(tmp_path / kind, kind).add(BICUBIC).as_writer()
    writer.path.rename(tmp_path / "away")
    for act in (lambda: writer.note_failure(_failed()), lambda: writer.write_receipt({"added": 1})):
        with pytest.raises(MachineError, match="was taken away while it was being filled; run the same command again"):
            act()
    assert not writer.path.exists()


def test_reasons_are_counted_the_most_frequent_first():
    failed = [_failed(reason=reason) for reason in ("b", "c", "a", "c", "b", "c")]
    assert list(failures_by_reason(failed).items()) == [("c", 3), ("b", 2), ("a", 1)]


def test_failures_are_listed_by_source_and_entry_whatever_order_they_came_in():
    failed = [_failed(name=name, source=source) for source in ("a", "b") for name in ("1", "2")]
    for order in itertools.permutations(failed):
        assert in_order(order) == tuple(failed)


def test_lines_that_cannot_be_read_are_left_out_and_told(tmp_path):
    journal = tmp_path / "failures.jsonl"
    append_failure(journal, FailedEntry("a-000", "a.png", "empty", "no bytes"))
    good = journal.read_bytes()
    assert readable_journals(tmp_path) == {}
    bad = [b"\xff", b"[" * 3000, b'{"name": 1}', good.strip().replace(b'"time": ', b'"time": 1e999, "x": ')]
    journal.write_bytes(b"\n".join([*bad, b'{"name": "cut', good]))
    assert list(read_failures([journal])) == ["a-000"]
    assert "lines 1, 2, 3, 4 of" in str(readable_journals(tmp_path)[journal])
    assert readable_lines(journal) == good
