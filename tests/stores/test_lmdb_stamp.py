"""Checksums for entries of LMDB stores that older versions wrote."""

import json
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_hexdigest

from srcache.errors import ChecksumError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, Stamped, lmdb_stamp, open_store
from srcache.stores.lmdb_environment import Environment, shared_environment
from srcache.stores.lmdb_kind import KIND


def entry(number: int, **more: Any) -> Entry:
    key, payload = image_key(b"image %d" % number), b"payload %d" % number * 100
    record = {"key": key, "sample": 0, "deep": {"ö": [1e-3, None]}, "checksum": image_key(payload), **more}
    return Entry(entry_name(key, 0), payload, record)


def new(number: int) -> Entry:
    made = entry(number)
    return Entry(made.name, made.payload, {"xxh3": xxh3_64_hexdigest(made.payload), **made.record})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Ten entries of version 0.1, and three new ones."""
    path = tmp_path / "data.lmdb"
    with closing(open_store("lmdb", path, writable=True)) as store:
        store.put_many([*map(entry, range(10)), *map(new, range(10, 13))])
    return path


def records(path: Path) -> dict[str, Any]:
    with closing(open_store("lmdb", path)) as store:
        return {name: store.record(name) for name in store.names()}


def raw(path: Path, name: str) -> bytes:
    return shared_environment(path).get(b"records", name.encode()) or b""


def total(steps: list[Stamped]) -> tuple[int, int]:
    return sum(step.entries for step in steps), sum(step.added for step in steps)


def test_entries_that_lack_it_get_it_first_in_their_record(path: Path) -> None:
    before = records(path)
    assert total(list(KIND.stamp(path))) == (13, 10)
    with closing(open_store("lmdb", path)) as store:
        for name, record in before.items():
            digest = xxh3_64_hexdigest(store.get(name) or b"")
            assert raw(path, name).startswith(b'{"xxh3": "%s"' % digest.encode())
            assert store.record(name) == {**record, "xxh3": digest}
            assert list(store.record(name) or {})[1:] == [field for field in record if field != "xxh3"]
    assert total(list(KIND.stamp(path))) == (13, 0), "twice is the same as once"


def test_from_then_on_readers_compare_it(path: Path) -> None:
    name = entry(3).name
    list(KIND.stamp(path))
    shared_environment(path).write(lambda at, images, *_: at.put(name.encode(), b"other", db=images))
    with closing(open_store("lmdb", path)) as store, pytest.raises(ChecksumError):
        store.get(name)


def test_what_is_damaged_is_told_and_left_as_it_is(path: Path) -> None:
    names = [entry(number).name for number in range(4)]
    torn = json.dumps({"key": "x"}).encode()

    def harm(at: Any, images: Any, table: Any, aliases: Any) -> None:
        at.put(names[0].encode(), b"other bytes", db=images)
        at.delete(names[1].encode(), db=images)
        at.put(names[2].encode(), torn, db=table)
        at.put(names[3].encode(), b"{", db=table)

    shared_environment(path).write(harm)
    before = {name: raw(path, name) for name in names}
    steps = list(KIND.stamp(path))
    assert {(one.name, one.reason) for step in steps for one in step.problems} == {
        (names[0], "checksum"),
        (names[1], "no_payload"),
        (names[2], "bad_record"),
        (names[3], "bad_record"),
    }
    assert total(steps) == (13, 6)
    assert {name: raw(path, name) for name in names} == before


def test_a_run_that_was_stopped_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is one commit: what it did stays."""
    monkeypatch.setattr(lmdb_stamp, "_PIECE", 4)
    write, writes = Environment.write, []

    def stopped(self: Environment, act: Any) -> Any:
        writes.append(1)
        if len(writes) == 2:
            raise KeyboardInterrupt
        return write(self, act)

    with monkeypatch.context() as patch:
        patch.setattr(Environment, "write", stopped)
        done = []
        with suppress(KeyboardInterrupt):
            done += [step.added for step in KIND.stamp(path)]
    left = sum("xxh3" not in record for record in records(path).values())
    assert 0 < left < 10
    assert total(list(KIND.stamp(path))) == (13, left)


def test_a_record_that_changed_meanwhile_is_not_written_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, write = entry(5).name, Environment.write

    def late(self: Environment, act: Any) -> Any:
        write(self, lambda at, images, table, _: at.put(name.encode(), b'{"later": 1}', db=table))
        return write(self, act)

    monkeypatch.setattr(Environment, "write", late)
    list(KIND.stamp(path))
    assert raw(path, name) == b'{"later": 1}'


def test_what_is_saved_of_a_damaged_store_keeps_the_checksum_that_was_added(tmp_path: Path) -> None:
    """Pages that the change left behind still hold the records without it."""
    path = tmp_path / "data.lmdb"
    with closing(open_store("lmdb", path, writable=True)) as store:
        for start in range(0, 150, 50):
            store.put_many(map(entry, range(start, start + 50)))
    list(KIND.stamp(path))
    with KIND.salvage(path) as salvage:
        saved = [salvage.entry(name) for name in salvage.names()]
    assert [one is not None and "xxh3" in one.record for one in saved] == [True] * 150
