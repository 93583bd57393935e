"""A store of shards: what every store promises, readers beside writers, and what becomes of files that change."""

import json
import mmap
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_stores import (
    SMALL,
    by_tarfile,
    contents,
    filled,
    left_behind,
    made_entry,
    opened,
    payloads,
    shard_of,
    unpacked,
)

from srcache.conformance import check_store
from srcache.errors import CacheError, ChecksumError, DamagedError, MachineError
from srcache.keys import image_key
from srcache.stores import Entry, StoreOptions, shard_folder, shard_home, shard_members, shard_writer
from srcache.stores.shard_index import read_table
from srcache.stores.shards import ShardsStore

ENTRIES = [made_entry(number) for number in range(20)]


class Clock:
    """Time that passes only when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty entries in several shards, closed."""
    return filled(tmp_path / "data.shards", range(20))


@pytest.fixture
def reader(folder: Path, clock: Clock) -> Iterator[ShardsStore]:
    with closing(opened(folder, writable=False)) as store:
        yield store


@pytest.fixture
def on_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (shard_home, shard_writer):
        monkeypatch.setattr(module, "file_system", lambda path: "nfs4")


@pytest.mark.parametrize("shard_bytes", [512 << 20, 20_000, 1])
def test_shards_keep_what_every_store_promises(tmp_path: Path, shard_bytes: int) -> None:
    check_store(lambda name: opened(tmp_path / name, shard_bytes=shard_bytes))


def test_shards_keep_their_promises_on_a_network_file_system(tmp_path: Path, on_network: None) -> None:
    check_store(lambda name: opened(tmp_path / name, shard_bytes=20_000))


def test_a_filled_store_is_shards_that_tarfile_reads(folder: Path) -> None:
    shards = sorted(folder.glob("*.tar"))
    assert len(shards) > 3
    assert not list(folder.glob("*.partial"))
    assert by_tarfile(folder) == {entry.name: entry for entry in ENTRIES}
    for shard in shards:
        names = list(unpacked(shard))
        stems = [name.partition(".")[0] for name in names]
        assert stems[::2] == stems[1::2], "samples lie together, as a WebDataset loader needs them"
        assert shard.stat().st_size < SMALL + 12_000
    assert contents(folder) == payloads(*ENTRIES)


@given(
    batches=st.lists(st.lists(st.integers(0, 15), max_size=6), max_size=12),
    closes=st.sets(st.integers(0, 12), max_size=3),
    shard_bytes=st.sampled_from([1, 5000, 20_000]),
)
@settings(max_examples=25)
def test_a_store_answers_as_a_dict_does(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], closes: set[int], shard_bytes: int
) -> None:
    folder, known = tmp_path_factory.mktemp("dict"), dict[str, bytes]()
    store = opened(folder, shard_bytes=shard_bytes)
    for turn, batch in enumerate(batches):
        entries = [made_entry(number, b"%d in %d" % (number, turn)) for number in batch]
        new = {entry.name for entry in entries} - set(known)
        assert store.put_many(entries) == len(new)
        for entry in entries:
            known.setdefault(entry.name, entry.payload)
        if turn in closes:
            store.close()
        assert len(store) == len(known)
        assert {name: store.get(name) for name in store.names()} == known
    asked = [made_entry(number).name for number in range(17)]
    assert [store.get(name) for name in asked] == [known.get(name) for name in asked]
    store.close()
    assert {name: entry.payload for name, entry in by_tarfile(folder).items()} == known == contents(folder)


def test_nothing_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="was anything built yet"):
        opened(tmp_path / "no", writable=False)
    assert not (tmp_path / "no").exists()
    with closing(opened(tmp_path / "no")):
        assert contents(tmp_path / "no") == {}
    with pytest.raises(CacheError, match="opened for reading"), closing(opened(tmp_path, writable=False)) as store:
        store.put_many([ENTRIES[0]])


def test_a_reader_does_not_make_a_folder_again_that_was_pruned(folder: Path, reader: ShardsStore, clock: Clock) -> None:
    shutil.rmtree(folder)
    clock.now += 2
    assert reader.get(made_entry(99).name) is None
    assert (list(reader.names()), len(reader)) == ([], 0)
    assert not folder.exists()


def test_a_shard_that_is_being_written_is_read(tmp_path: Path, clock: Clock) -> None:
    with closing(opened(tmp_path, shard_bytes=1 << 30)) as writer, closing(opened(tmp_path, writable=False)) as reader:
        for entry in ENTRIES[:5]:
            writer.put_many([entry])
            clock.now += 2
            assert (reader.get(entry.name), reader.record(entry.name)) == (entry.payload, entry.record)
            assert reader.resolve(entry.aliases[0]) == entry.name[:32]
        assert list(reader.names()) == sorted(payloads(*ENTRIES[:5]))
        assert (len(reader), list(tmp_path.glob("*.tar"))) == (5, [])


def test_a_folder_is_looked_at_once_a_second_for_names_that_are_not_there(
    folder: Path, reader: ShardsStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = list[float](), reader._folder.look
    reader.has(made_entry(99).name)
    monkeypatch.setattr(reader._folder, "look", lambda **how: (looks.append(clock.now), look(**how)))
    shard_of(folder, made_entry(99))
    for _ in range(20):
        found = reader.get(made_entry(99).name), reader.resolve(made_entry(99).aliases[0])
        clock.now += 0.09
        if clock.now < 101:
            assert found == (None, None)
    assert found == (made_entry(99).payload, made_entry(99).name[:32])
    assert len(looks) == 1


def test_a_store_with_many_late_shards_knows_all_of_them(folder: Path, reader: ShardsStore, clock: Clock) -> None:
    for number in range(30, 60):
        shard_of(folder, made_entry(number), made_entry(number + 100))
        clock.now += 2
        assert reader.get(made_entry(number).name) == made_entry(number).payload
    entries = [*ENTRIES, *(made_entry(number + more) for number in range(30, 60) for more in (0, 100))]
    assert {name: reader.get(name) for name in reader.names()} == payloads(*entries)
    assert len(reader) == len(entries)
    assert [reader.resolve(entry.aliases[0]) for entry in entries] == [entry.name[:32] for entry in entries]


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_an_alias_means_its_lowest_key_whichever_shard_gives_it(tmp_path: Path, order: tuple[int, ...]) -> None:
    alias = image_key(b"pixels of three files")
    mine = [replace(made_entry(number), aliases=(alias,)) for number in range(3)]
    lowest = min(entry.name for entry in mine)[:32]
    sealed, theirs, own = (mine[place] for place in order)
    shard_of(tmp_path, sealed)
    with closing(opened(tmp_path, shard_bytes=1 << 30)) as other:
        other.put_many([theirs])
        with closing(opened(tmp_path, shard_bytes=1 << 30)) as store:
            store.put_many([own])
            assert store.resolve(alias) == lowest
    with closing(opened(tmp_path, writable=False)) as reader:
        assert reader.resolve(alias) == lowest


def test_the_lowest_shard_wins_for_whoever_opens_and_who_is_open_keeps_what_it_knew(
    folder: Path, reader: ShardsStore, clock: Clock
) -> None:
    entry = ENTRIES[7]
    late = shard_of(folder, Entry(entry.name, b"lower", {"lower": True}), made_entry(99))
    late.rename(folder / "00000000-00000000.tar")
    clock.now += 2
    assert reader.get(made_entry(99).name) == made_entry(99).payload, "it has looked"
    assert (reader.get(entry.name), reader.record(entry.name)) == (entry.payload, entry.record)
    with closing(opened(folder, writable=False)) as other:
        assert (other.get(entry.name), other.record(entry.name)) == (b"lower", {"lower": True})
        assert len(other) == len(reader) == 21
    assert by_tarfile(folder)[entry.name].payload == b"lower"


def test_the_lower_of_two_shards_that_come_at_once_wins(folder: Path, reader: ShardsStore, clock: Clock) -> None:
    name = made_entry(99).name
    for payload in (b"first", b"second"):
        shard_of(folder, Entry(name, payload, {"by": payload.decode()}))
    clock.now += 2
    assert (reader.get(name), reader.record(name)) == (b"first", {"by": "first"})


def test_writers_that_take_turns_and_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    stores = [opened(tmp_path) for _ in range(3)]
    for number in range(30):
        stores[number % 3].put_many([made_entry(number), made_entry((number * 7) % 30)])
    for store in stores:
        store.close()
    assert contents(tmp_path) == payloads(*(made_entry(number) for number in range(30)))


def test_a_writer_takes_over_what_a_killed_one_left_and_the_first_write_wins(tmp_path: Path, clock: Clock) -> None:
    """Also where it has not seen the shard yet, for no second has passed since it looked."""
    with closing(opened(tmp_path)) as store:
        assert not store.has(made_entry(1).name)
        path = left_behind(tmp_path, made_entry(1))
        assert store.put_many([Entry(made_entry(1).name, b"another", {}), made_entry(2)]) == 1
        assert store.get(made_entry(1).name) == made_entry(1).payload
        assert store._writer.name == path.name
    assert contents(tmp_path) == payloads(made_entry(1), made_entry(2))


def test_a_writer_whose_shard_was_taken_away_says_so_and_goes_on(tmp_path: Path, clock: Clock) -> None:
    with closing(opened(tmp_path)) as store:
        store.put_many([made_entry(1)])
        next(tmp_path.glob("*.partial")).unlink()
        with pytest.raises(MachineError, match="taken away"):
            store.put_many([made_entry(2)])
        clock.now += 2
        assert store.put_many([made_entry(1), made_entry(2)]) == 2
    assert contents(tmp_path) == payloads(made_entry(1), made_entry(2))


def test_what_a_failed_put_left_for_a_moment_is_not_served_later(tmp_path: Path, clock: Clock) -> None:
    """A reader may see entries between their write and the disk's refusal."""
    path = left_behind(tmp_path, made_entry(1))
    size = path.stat().st_size
    left_behind(tmp_path, made_entry(2))
    with closing(opened(tmp_path, writable=False)) as reader:
        assert reader.get(made_entry(2).name) == made_entry(2).payload
        os.truncate(path, size)
        assert reader.get(made_entry(2).name) is None
        assert reader.record(made_entry(1).name) == made_entry(1).record


def test_a_shard_that_vanished_takes_its_entries_and_no_others(folder: Path, clock: Clock) -> None:
    shard = sorted(folder.glob("*.tar"))[1]
    gone = {name.partition(".")[0] for name in unpacked(shard)}
    with closing(opened(folder, writable=False)) as reader:
        shard.unlink()
        for entry in ENTRIES:
            assert reader.get(entry.name) == (None if entry.name in gone else entry.payload)
        assert set(reader.names()) == set(payloads(*ENTRIES)) - gone
    assert set(contents(folder)) == set(payloads(*ENTRIES)) - gone


def test_a_folder_that_was_replaced_is_read_anew(folder: Path, reader: ShardsStore, clock: Clock) -> None:
    folder.rename(folder.with_name("old"))
    filled(folder, range(3, 6))
    clock.now += 2
    assert list(reader.names()) == sorted(payloads(*ENTRIES[3:6]))
    assert reader.get(ENTRIES[4].name) == ENTRIES[4].payload


def _lie(path: Path, name: str, first: int, value: bytes) -> None:
    data, packed = bytearray(path.read_bytes()), bytes.fromhex(name[:32]) + b"\0\0"
    place = data.index(packed, read_table(path).start)
    data[place + first : place + first + len(value)] = value
    path.write_bytes(data)


LIES = {
    "the suffix": (18, b"\x01\0"),
    "no suffix": (18, b"\xff\0"),
    "another shard": (20, b"\x01\0\0\0"),
    "no shard": (20, b"\xff\0\0\0"),
    "the offset": (24, b"\0\x02"),
    "an offset outside": (24, b"\xff" * 4),
    "an offset outside of all files": (24, b"\xff" * 8),
    "the size": (32, b"\x01\0\0\0"),
    "a size outside": (32, b"\xff" * 4),
    "the checksum": (40, b"\0" * 8),
}


@pytest.mark.parametrize(("first", "value"), LIES.values(), ids=LIES)
@pytest.mark.parametrize("place", ["here", "on a network"])
def test_an_index_that_lies_is_found_out(
    folder: Path, first: int, value: bytes, place: str, request: pytest.FixtureRequest
) -> None:
    if place == "on a network":
        request.getfixturevalue("on_network")
        opened(folder, writable=False).close()
    name = next(iter(unpacked(min(folder.glob("*.tar"))))).partition(".")[0]
    table = shard_home.shard_home(folder).tables[0]
    _lie(table, name, first, value)
    try:
        store = opened(folder, writable=False)
        with closing(store), pytest.raises(DamagedError, match=r"index|not what was written"):
            store.get(name)
    finally:
        table.unlink()
    assert contents(folder) == payloads(*ENTRIES)


def test_an_index_that_lies_of_a_records_size_is_found_out(folder: Path) -> None:
    _lie(folder / "table.idx", ENTRIES[3].name, 36, b"\x05\0\0\0")
    with closing(opened(folder, writable=False)) as store:
        assert store.get(ENTRIES[3].name) == ENTRIES[3].payload
        with pytest.raises(DamagedError, match=f"the record of {ENTRIES[3].name} in .* is damaged"):
            store.record(ENTRIES[3].name)


@pytest.mark.parametrize("cut", [513, 5000, -1030])
def test_a_shard_that_is_cut_off_is_refused(folder: Path, cut: int) -> None:
    shard = min(folder.glob("*.tar"))
    os.truncate(shard, cut % shard.stat().st_size)
    with pytest.raises(DamagedError, match=shard.name):
        opened(folder, writable=False)


@pytest.mark.parametrize("cut", [0, 1, 511])
def test_a_shard_of_which_nothing_is_left_has_no_entries(folder: Path, cut: int) -> None:
    shard = min(folder.glob("*.tar"))
    lost = {name.partition(".")[0] for name in unpacked(shard)}
    os.truncate(shard, cut)
    assert set(contents(folder)) == set(payloads(*ENTRIES)) - lost


def test_a_record_of_another_recipe_is_refused(tmp_path: Path) -> None:
    with closing(opened(tmp_path, recipe="0123456789abcdef")) as store:
        store.put_many(ENTRIES[:2])
    record = json.loads(next(data for name, data in unpacked(next(tmp_path.glob("*.tar"))).items() if "json" in name))
    assert record["srcache"]["recipe"] == "0123456789abcdef"
    with pytest.raises(DamagedError, match="by recipe 0123456789abcdef"):
        opened(tmp_path, recipe="0" * 16)


@pytest.mark.parametrize("network", [False, True])
def test_shards_are_mapped_unless_they_lie_on_another_machine(
    folder: Path, network: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if network:
        request.getfixturevalue("on_network")
    mapped, make = list[str](), mmap.mmap

    def noted(handle: int, *rest: int, **more: int) -> mmap.mmap:
        mapped.append(os.readlink(f"/proc/self/fd/{handle}"))
        return make(handle, *rest, **more)

    monkeypatch.setattr("srcache.stores.shard_files.mmap.mmap", noted)
    assert contents(folder) == payloads(*ENTRIES)
    assert any(path.startswith(str(folder)) for path in mapped) is not network


def test_so_many_files_are_open_and_none_after_closing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_files() -> list[str]:
        handles = [f"/proc/self/fd/{handle}" for handle in os.listdir("/proc/self/fd")]
        return [os.readlink(handle) for handle in handles if os.path.lexists(handle)]

    def ours() -> int:
        return sum(str(folder) in path and path.endswith((".tar", ".partial")) for path in open_files())

    monkeypatch.setattr(shard_folder, "_MOST_FILES", 2)
    left_behind(folder, made_entry(50))
    with closing(opened(folder, writable=False)) as store:
        for entry in (*ENTRIES, *reversed(ENTRIES)):
            assert store.get(entry.name) == entry.payload
        assert store.get(made_entry(50).name) == made_entry(50).payload
        assert ours() <= 2 * 2 + 1, "a mapped file has two handles"
    assert ours() == 0
    assert store.get(ENTRIES[0].name) == ENTRIES[0].payload, "it opens them again"
    store.close()
    assert ours() == 0


@pytest.mark.parametrize("network", [False, True])
def test_a_view_gives_bytes_that_stay_whatever_becomes_of_the_store(
    folder: Path, network: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if network:
        request.getfixturevalue("on_network")
    monkeypatch.setattr(shard_folder, "_MOST_FILES", 1)
    left_behind(folder, made_entry(50))
    store = opened(folder, writable=False)
    with store.view() as view:
        got = {entry.name: view.get(entry.name) for entry in (*ENTRIES, made_entry(50))}
        assert all(type(payload) is memoryview for payload in got.values())
        store.close()
        shutil.rmtree(folder)
        assert {name: bytes(payload or b"") for name, payload in got.items()} == payloads(*ENTRIES, made_entry(50))


def test_a_view_compares_checksums(folder: Path) -> None:
    shard, entry = min(folder.glob("*.tar")), ENTRIES[1]
    shard.write_bytes(shard.read_bytes().replace(entry.payload, bytes(len(entry.payload))))
    with closing(opened(folder, writable=False)) as store, store.view() as view:
        with pytest.raises(ChecksumError, match=entry.name):
            view.get(entry.name)
        assert bytes(view.get(ENTRIES[0].name) or b"") == ENTRIES[0].payload
        assert (view.get(made_entry(99).name), view.get("x"), view.resolve("x")) == (None, None, None)


def test_bytes_are_read_and_compared_outside_the_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a loader hash side by side: two are in there at the same time."""
    together, compare = threading.Barrier(2, timeout=30), shard_members.xxh3_64_intdigest

    def slowly(data: bytes) -> int:
        together.wait()
        return compare(data)

    with closing(opened(folder, writable=False)) as store, ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(shard_members, "xxh3_64_intdigest", slowly)
        assert list(pool.map(store.get, [ENTRIES[0].name, ENTRIES[0].name])) == [ENTRIES[0].payload] * 2
        with store.view() as view:
            found = list(pool.map(view.get, [ENTRIES[0].name, ENTRIES[9].name]))
        assert [bytes(one or b"") for one in found] == [ENTRIES[0].payload, ENTRIES[9].payload]


def test_a_writer_is_asked_to_take_over_when_the_store_is_opened(tmp_path: Path) -> None:
    left = left_behind(tmp_path, made_entry(1))
    options = StoreOptions(writable=True, writer="1a2b3c4d", take_over=left.name[9:17])
    with closing(ShardsStore(tmp_path, options)) as store:
        assert store.get(made_entry(1).name) == made_entry(1).payload
        assert not pickle.loads(pickle.dumps(store))._options.take_over
    assert sorted(path.name for path in tmp_path.glob("*.tar*")) == [
        left.with_suffix("").name,
        f"{left.with_suffix('').name}.idx",
    ]


def test_a_pickled_store_is_its_path_and_its_options(folder: Path, reader: ShardsStore) -> None:
    pickled = pickle.dumps(reader)
    assert len(pickled) < 1000
    with closing(pickle.loads(pickled)) as again:
        assert {name: again.get(name) for name in again.names()} == payloads(*ENTRIES)


@pytest.mark.parametrize(
    "ask",
    [lambda store, name: store.get(name), lambda store, name: store.record(name), lambda store, name: store.has(name)],
    ids=["get", "record", "has"],
)
@pytest.mark.parametrize(
    "name", ["", "name", "0" * 32, f"{'0' * 32}-0٣0", f"{'A' * 32}-000", f"{'0' * 32}-0000", "é" * 36]
)
def test_what_is_no_name_is_not_there(
    reader: ShardsStore, ask: Callable[[ShardsStore, str], object], name: str
) -> None:
    assert not ask(reader, name)
    assert reader.resolve(name) is None
    assert list(reader.names(name or "~")) == []
