"""Shards as a kind of store: every damage is found, whatever is sound is saved, and a store is replaced."""

import json
import os
import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_stores import by_tarfile, contents, filled, left_behind, made_entry, opened, payloads, shard_of, unpacked

from srcache.errors import DamagedError, DiskFullError
from srcache.keys import image_key
from srcache.stores import Entry, Stamped, StoreOptions, tar
from srcache.stores.shard_index import make_table, read_table, write_table
from srcache.stores.shards_kind import KIND

BLOCK = tar.BLOCK
ENTRIES = [made_entry(number, random.Random(number).randbytes(number * 300)) for number in range(9)]

DAMAGE = st.tuples(st.integers(0, 400), st.integers(1, 6), st.integers(0, 2**32))
"""The first block that is overwritten, how many, and the seed of what is written."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of three shards, of three entries each."""
    folder = tmp_path / "data.shards"
    for start in range(0, 9, 3):
        shard_of(folder, *ENTRIES[start : start + 3])
    return folder


@pytest.fixture
def shard(folder: Path) -> Path:
    """The first of them."""
    return min(folder.glob("*.tar"))


def saved(folder: Path) -> dict[str, Entry]:
    with KIND.salvage(folder) as salvage:
        return {name: entry for name in salvage.names() if (entry := salvage.entry(name)) is not None}


def problems(folder: Path) -> list[str]:
    """What a check of the files and reading of all entries bring up, as `srcache verify` does it."""
    found = [problem.detail for problem in KIND.check(folder)]
    try:
        with closing(opened(folder, writable=False)) as store:
            for name in [*store.names()]:
                try:
                    store.record(name)
                    store.get(name)
                except DamagedError as error:
                    found.append(str(error))
    except DamagedError as error:
        found.append(str(error))
    return found


def test_a_store_may_lie_anywhere_and_has_no_problems(folder: Path) -> None:
    KIND.refuse(folder)
    assert problems(folder) == []
    left_behind(folder, made_entry(20))
    assert problems(folder) == []


@pytest.mark.parametrize("content", [bytes, os.urandom], ids=["zeros", "noise"])
@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "not indexed"])
def test_every_block_that_was_overwritten_is_found(folder: Path, shard: Path, content: object, indexed: bool) -> None:
    whole, before = shard.read_bytes(), by_tarfile(folder)
    for start in range(0, len(whole) - len(tar.END), BLOCK):
        block = content(BLOCK)  # type: ignore[operator]
        if block == whole[start : start + BLOCK]:
            continue
        shard.write_bytes(whole[:start] + block + whole[start + BLOCK :])
        if not indexed:
            for path in folder.glob("*.idx"):
                path.unlink()
        assert any(shard.name in problem for problem in problems(folder)), start
        kept = saved(folder)
        assert kept.items() <= before.items()
        assert len(kept) == 8, "one entry was lost"


@pytest.mark.parametrize("place", ["first", "last"])
def test_what_follows_the_last_entry_is_an_end_and_nothing_else(folder: Path, shard: Path, place: str) -> None:
    data = bytearray(shard.read_bytes())
    data[-len(tar.END) if place == "first" else -1] = 1
    shard.write_bytes(data)
    [problem] = KIND.check(folder)
    assert (problem.name, problem.reason) == ("", "damaged")
    assert shard.name in problem.detail
    assert saved(folder) == by_name(ENTRIES)


@pytest.mark.parametrize("cut", [1, 512, 1023, 1024, 1025, 1536, 3000])
def test_a_shard_that_was_cut_off_is_found_and_its_first_entries_are_saved(folder: Path, shard: Path, cut: int) -> None:
    whole = shard.read_bytes()
    os.truncate(shard, len(whole) - cut)
    assert [problem.reason for problem in KIND.check(folder)] == ["damaged"]
    assert set(saved(folder)) >= payloads(*ENTRIES[:2], *ENTRIES[3:]).keys()
    assert saved(folder).items() <= by_name(ENTRIES).items()


STRANGE = {
    "another program's file": tar.packed("notes.txt", b"text"),
    "an entry without a record": tar.packed(f"{'0' * 32}-000.png", b"text"),
    "a record without an entry": tar.packed(f"{'0' * 32}-000.json", b"{}"),
    "an image of an unknown kind": tar.packed(f"{'0' * 32}-000.tiff", b"") + tar.packed(f"{'0' * 32}-000.json", b"{}"),
    "a record that is none": tar.packed(f"{'0' * 32}-000.png", b"") + tar.packed(f"{'0' * 32}-000.json", b"[" * 99_999),
    "no tar": b"text " * 1000,
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_what_is_no_entry_is_found_and_is_in_nobodys_way(folder: Path, shard: Path, strange: bytes) -> None:
    whole = shard.read_bytes()
    for data in (strange + whole, whole[: -len(tar.END)] + strange + tar.END):
        shard.write_bytes(data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0"))
        if len(strange) % BLOCK == 0:
            assert saved(folder) == by_name(ENTRIES)
        assert shard.name in " ".join(problem.detail for problem in KIND.check(folder))


def test_the_end_of_a_shard_that_is_being_written_is_no_problem(folder: Path) -> None:
    path = left_behind(folder, made_entry(20))
    whole = path.read_bytes()
    for size in range(1, len(whole) - 1, 100):
        path.write_bytes(whole + whole[:size])
        assert problems(folder) == []
        path.write_bytes(whole[:size])
        assert problems(folder) == []


def by_name(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


def test_all_of_a_whole_store_is_saved_partial_shards_too(folder: Path) -> None:
    left_behind(folder, made_entry(20))
    assert saved(folder) == by_name([*ENTRIES, made_entry(20)])


def test_of_a_name_in_two_shards_the_lowest_sound_copy_is_saved(folder: Path, shard: Path) -> None:
    entry = ENTRIES[2]
    shard_of(folder, Entry(entry.name, b"later", dict(entry.record)))
    assert saved(folder)[entry.name] == entry
    shard.write_bytes(shard.read_bytes().replace(entry.payload, bytes(len(entry.payload))))
    assert saved(folder)[entry.name].payload == b"later"


def test_a_name_of_which_no_sound_copy_is_left_is_still_named(folder: Path, shard: Path) -> None:
    shard.write_bytes(shard.read_bytes().replace(ENTRIES[2].payload, bytes(600)))
    with KIND.salvage(folder) as salvage:
        assert list(salvage.names()) == sorted(by_name(ENTRIES))
        assert salvage.entry(ENTRIES[2].name) is None
        assert salvage.entry("name") is None


def test_nothing_is_saved_by_an_index(folder: Path) -> None:
    for path in folder.glob("*.idx"):
        path.write_bytes(os.urandom(path.stat().st_size))
    assert saved(folder) == by_name(ENTRIES)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shard of sixty entries of all sizes."""
    rng = random.Random(5)
    sizes = [rng.choice([0, 1, 511, 512, 513, 3000]) for _ in range(60)]
    return shard_of(
        tmp_path_factory.mktemp("many"), *(made_entry(number, rng.randbytes(size)) for number, size in enumerate(sizes))
    )


def _ranges(data: bytes) -> dict[str, list[tuple[int, int]]]:
    """The bytes of each entry, those that fill up its members left out."""
    found = dict[str, list[tuple[int, int]]]()
    for member in tar.members(lambda amount, offset: data[offset : offset + amount], len(data), "many"):
        found.setdefault(member.name.partition(".")[0], []).append((member.offset, member.start + member.size))
    return found


@settings(max_examples=25)
@given(damage=st.lists(DAMAGE, min_size=1, max_size=9))
def test_whatever_blocks_are_overwritten_every_sound_entry_is_saved(
    many: Path, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int, int]]
) -> None:
    whole, before = many.read_bytes(), by_tarfile(many.parent)
    content = bytearray(whole)
    for block, count, seed in damage:
        start, rng = block * BLOCK % len(content), random.Random(seed)
        length = min(count * BLOCK, len(content) - start)
        copied = rng.randrange(0, len(whole) - length, BLOCK)
        over = [bytes(length), rng.randbytes(length), whole[copied : copied + length]]
        content[start : start + length] = rng.choice(over)
    intact = {
        name: before[name]
        for name, ranges in _ranges(whole).items()
        if all(content[first:last] == whole[first:last] for first, last in ranges)
    }
    folder = tmp_path_factory.mktemp("damage")
    (folder / many.name).write_bytes(content)
    kept = saved(folder)
    assert kept.items() >= intact.items()
    assert kept.items() <= before.items()


def test_a_spot_that_the_disk_refuses_costs_only_what_lies_there(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = by_tarfile(many.parent), os.pread
    spot = many.stat().st_size // 2

    def broken(file: int, amount: int, offset: int) -> bytes:
        if offset < spot + 2000 and spot < offset + amount:
            raise OSError(5, "Input/output error")
        return read(file, amount, offset)

    lost = {name for name, ranges in _ranges(many.read_bytes()).items() if _touch(ranges, spot, spot + 2000)}
    monkeypatch.setattr(os, "pread", broken)
    assert saved(many.parent) == {name: entry for name, entry in before.items() if name not in lost}
    assert 1 <= len(lost) <= 4


def _touch(ranges: list[tuple[int, int]], first: int, last: int) -> bool:
    return any(start < last and first < end for start, end in ranges)


def _without_a_row(path: Path) -> None:
    """Leave the last entry out of an index, all the rest as it should be."""
    table = read_table(path, mapped=False)
    places = [(name, place) for name in table.names(0, len(table) - 1) if (place := table.place(name)) is not None]
    write_table(path, make_table(table.shards, places, []))


@pytest.mark.parametrize("which", ["a shard's", "the table", "both"])
def test_an_index_that_omits_an_entry_is_found_and_made_again(folder: Path, shard: Path, which: str) -> None:
    opened(folder).close()
    paths = [shard.with_name(f"{shard.name}.idx"), folder / "table.idx"]
    for path in {"a shard's": paths[:1], "the table": paths[1:], "both": paths}[which]:
        _without_a_row(path)
    found = list(KIND.check(folder))
    assert {problem.reason for problem in found} == {"index"}
    assert "`srcache repair` makes it again" in found[0].detail
    assert KIND.reindex(folder)
    assert contents(folder) == payloads(*ENTRIES)
    assert list(KIND.check(folder)) == []
    assert not KIND.reindex(folder)


@pytest.mark.parametrize("key", ["given", "never given"])
def test_an_index_in_which_another_key_of_an_alias_won_is_no_problem_but_one_that_it_never_had_is(
    tmp_path: Path, key: str
) -> None:
    """Earlier versions let the first win."""
    alias = image_key(b"pixels of two files")
    first, second = sorted((replace(ENTRIES[number], aliases=(alias,)) for number in (0, 1)), key=lambda one: one.name)
    shard_of(tmp_path, second, first)
    opened(tmp_path).close()
    found = KIND.open(tmp_path, StoreOptions()).resolve(alias)
    assert found == first.name[:32]
    won = second.name[:32] if key == "given" else image_key(b"another")
    for path in tmp_path.glob("*.idx"):
        path.write_bytes(path.read_bytes().replace(bytes.fromhex(alias + found), bytes.fromhex(alias + won)))
    assert KIND.open(tmp_path, StoreOptions()).resolve(alias) == won
    assert len(list(KIND.check(tmp_path))) == (0 if key == "given" else 2)


def test_an_index_that_is_missing_torn_or_of_other_tars_is_no_problem(folder: Path, shard: Path) -> None:
    opened(folder).close()
    index = shard.with_name(f"{shard.name}.idx")
    index.write_bytes(index.read_bytes()[:-1])
    (folder / "table.idx").write_bytes(b"")
    next(path for path in folder.glob("*.idx") if path not in (index, folder / "table.idx")).unlink()
    assert list(KIND.check(folder)) == []
    assert not KIND.reindex(folder)
    assert contents(folder) == payloads(*ENTRIES)


def test_names_that_stand_in_two_shards_are_counted_and_are_no_problem(folder: Path) -> None:
    assert KIND.repeated(folder) == 0
    shard_of(folder, *ENTRIES[:2])
    shard_of(folder, ENTRIES[0], made_entry(40))
    assert KIND.repeated(folder) == 2
    left_behind(folder, ENTRIES[5], made_entry(41))
    assert KIND.repeated(folder) == 3
    assert list(KIND.check(folder)) == []


def test_writers_whose_shards_are_not_complete_are_named(folder: Path) -> None:
    assert list(KIND.unfinished(folder)) == list(KIND.unfinished(folder / "gone")) == []
    left = left_behind(folder, made_entry(40))
    assert list(KIND.unfinished(folder)) == [left.name[9:17]]


def test_every_entry_of_a_shard_has_its_checksums(folder: Path) -> None:
    assert list(KIND.stamp(folder)) == [Stamped(9, 0)]


@pytest.mark.parametrize("by", ["a reader", "a writer", "a repair"])
def test_a_replacement_that_was_killed_half_way_is_finished_by_whoever_comes_next(
    folder: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, rename = filled(folder.with_name("new"), range(3)), Path.rename
    expected = payloads(*(made_entry(number) for number in range(3)))

    def killed(path: Path, target: Path) -> Path:
        if target == folder:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            KIND.replace(folder, new)
    assert not folder.exists()
    if by == "a repair":
        again = filled(folder.with_name("new"), range(2))
        KIND.open(folder, StoreOptions()).close()
        KIND.replace(folder, again)
        expected = payloads(*(made_entry(number) for number in range(2)))
    KIND.open(folder, StoreOptions(writable=by == "a writer")).close()
    assert contents(folder) == expected
    assert not folder.with_name(f"{folder.name}.ready").exists()


def test_a_replacement_that_cannot_be_finished_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.with_name(f"{folder.name}.ready"))

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DamagedError, match=r"is missing, for a repair was stopped; .*\.ready"):
        KIND.open(folder, StoreOptions())


def test_what_a_stopped_repair_had_ready_does_not_displace_a_store(folder: Path) -> None:
    filled(folder.with_name(f"{folder.name}.ready"), range(30, 33))
    KIND.open(folder, StoreOptions()).close()
    assert contents(folder) == payloads(*ENTRIES)
    KIND.replace(folder, filled(folder.with_name("new"), range(3)))
    assert contents(folder) == payloads(*(made_entry(number) for number in range(3)))


def test_a_damaged_store_is_replaced_and_kept(folder: Path) -> None:
    new = filled(folder.with_name("new"), range(3))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    old = KIND.replace(folder, new)
    assert old.parent == folder.parent
    assert old.name.startswith("data.shards.damaged-")
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert contents(folder) == payloads(*(made_entry(number) for number in range(3)))
    assert not new.exists()
    assert KIND.replace(folder, filled(folder.with_name("new"), range(2))) != old


def test_a_store_that_cannot_be_replaced_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, rename = filled(folder.with_name("new"), range(3)), Path.rename

    def full(path: Path, target: Path) -> Path:
        if path == new:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(DiskFullError):
        KIND.replace(folder, new)
    assert contents(folder) == payloads(*ENTRIES)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data.shards", "new"]


def test_a_record_says_what_a_loader_of_tars_needs(shard: Path) -> None:
    records = [json.loads(data) for name, data in unpacked(shard).items() if name.endswith(".json")]
    assert [record["key"] for record in records] == [entry.record["key"] for entry in ENTRIES[:3]]


def test_salvage_opens_few_files_however_many_shards_there_are(tmp_path: Path) -> None:
    folder = tmp_path / "data.shards"
    for number in range(40):
        shard_of(folder, made_entry(number))
    left_behind(folder, made_entry(40))
    before = len(os.listdir("/proc/self/fd"))
    with KIND.salvage(folder) as salvage:
        assert len(os.listdir("/proc/self/fd")) <= before + 1
        (partial,) = folder.glob("*.partial")
        partial.rename(folder / partial.name.removesuffix(".partial"))
        found = {name: entry.payload for name in salvage.names() if (entry := salvage.entry(name)) is not None}
    assert found == payloads(*(made_entry(number) for number in range(41)))
    assert len(os.listdir("/proc/self/fd")) == before
