"""The writer of shards: what it commits, what it cuts back, what it continues, and what it never touches."""

import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from shard_stores import left_behind, made_entry, payloads, shard_of, unpacked
from xxhash import xxh3_64_hexdigest

from srcache.errors import BusyError, CacheError, DiskFullError, MachineError
from srcache.stores import Entry, StoreOptions, shard_writer, tar
from srcache.stores.shard_index import Shard, name_of, read_table
from srcache.stores.shard_names import is_partial, is_shard
from srcache.stores.shard_writer import ShardWriter

FIRST, SECOND, THIRD = made_entry(1), made_entry(2), made_entry(3, os.urandom(5000))


@pytest.fixture
def writer(tmp_path: Path) -> ShardWriter:
    return new_writer(tmp_path)


def new_writer(folder: Path, **options: str) -> ShardWriter:
    return ShardWriter(folder, StoreOptions(writable=True, **options))  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def in_hand(writer: ShardWriter, folder: Path) -> Path:
    assert writer.name is not None
    return folder / writer.name


def members(*entries: Entry) -> list[str]:
    return [f"{entry.name}{suffix}" for entry in entries for suffix in (".bin", ".json")]


def test_what_is_appended_is_a_tar_of_payloads_each_before_its_record(writer: ShardWriter, tmp_path: Path) -> None:
    writer.append([FIRST, SECOND])
    writer.append([THIRD])
    found = unpacked(in_hand(writer, tmp_path))
    assert list(found) == members(FIRST, SECOND, THIRD)
    for entry in (FIRST, SECOND, THIRD):
        assert found[f"{entry.name}.bin"] == entry.payload
        record = json.loads(found[f"{entry.name}.json"])
        own = record.pop("srcache")
        assert record == entry.record
        assert len(own.pop("record")) == 16
        assert own == {"aliases": [*entry.aliases], "xxh3": xxh3_64_hexdigest(entry.payload), "recipe": None}


def test_the_recipe_is_noted_beside_each_record(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, fingerprint="0123456789abcdef")
    writer.append([FIRST])
    record = json.loads(unpacked(in_hand(writer, tmp_path))[f"{FIRST.name}.json"])
    assert record["srcache"]["recipe"] == "0123456789abcdef"


def test_what_append_returns_says_where_entries_lie(writer: ShardWriter, tmp_path: Path) -> None:
    found = [*writer.append([FIRST]), *writer.append([SECOND, THIRD])]
    data = in_hand(writer, tmp_path).read_bytes()
    for entry, one in zip((FIRST, SECOND, THIRD), found, strict=True):
        start = one.place.offset + tar.BLOCK
        assert name_of(one.name) == entry.name
        assert data[start : start + one.place.size] == entry.payload
    assert found[-1].end == len(data)
    assert writer.found == {one.name: one for one in found}
    assert writer.aliases == {alias: entry.name[:32] for entry in (FIRST, SECOND, THIRD) for alias in entry.aliases}


def test_each_commit_waits_for_the_disk(writer: ShardWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, sync = list[int](), os.fsync
    writer.append([FIRST])

    def noted(handle: int) -> None:
        sizes.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    writer.append([SECOND])
    assert sizes == [in_hand(writer, tmp_path).stat().st_size]


def _no_room(written: int) -> Callable[..., int]:
    write = os.pwrite

    def full(handle: int, data: bytes, offset: int) -> int:
        if offset >= full.most:  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: full.most - offset], offset)  # type: ignore[attr-defined]

    full.most = written  # type: ignore[attr-defined]
    return full


def _no_sync(handle: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("room", [0, 1, 511, 512, 3000])
def test_a_full_disk_leaves_what_was_committed(
    writer: ShardWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    writer.append([FIRST])
    path = in_hand(writer, tmp_path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", _no_room(len(before) + room))
        with pytest.raises(DiskFullError, match=r"No space left.*what was stored is safe"):
            writer.append([SECOND, THIRD])
    assert path.read_bytes() == before
    assert len(writer.found) == 1
    writer.append([THIRD])
    assert list(unpacked(path)) == members(FIRST, THIRD)


@pytest.mark.parametrize(("error", "raised"), [(_no_sync, DiskFullError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_whatever_interrupts_a_commit_cuts_it_back(
    writer: ShardWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[int], None],
    raised: type[BaseException],
) -> None:
    def interrupt(handle: int) -> None:
        if error is _no_sync:
            _no_sync(handle)
        raise KeyboardInterrupt

    writer.append([FIRST])
    before = in_hand(writer, tmp_path).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(raised):
            writer.append([SECOND])
    assert in_hand(writer, tmp_path).read_bytes() == before


def test_an_entry_that_cannot_be_packed_leaves_nothing_of_its_batch(writer: ShardWriter, tmp_path: Path) -> None:
    writer.append([FIRST])
    before = in_hand(writer, tmp_path).read_bytes()
    wrong = [Entry("name", b"", {}), Entry(THIRD.name, b"", {"srcache": 1}), Entry(THIRD.name, b"", {"no": {1}})]
    for entry in wrong:
        with pytest.raises((ValueError, TypeError)):
            writer.append([SECOND, entry])
    assert in_hand(writer, tmp_path).read_bytes() == before
    assert len(writer.found) == 1


def test_a_folder_that_cannot_be_made_is_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskFullError):
        new_writer(tmp_path / "file" / "folder").append([FIRST])


TAILS = {
    "nothing": b"",
    "zeros": bytes(4096),
    "a few zeros": bytes(100),
    "junk": random.Random(1).randbytes(3000),
    "another file's header": tar.packed("notes.txt", b"text"),
    "half a header": tar.header("0" * 32 + "-000.bin", 5)[:300],
    "the end of a tar": tar.END,
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_shard_that_a_killed_writer_left_is_continued(tmp_path: Path, tail: bytes) -> None:
    path = left_behind(tmp_path, FIRST, SECOND)
    with path.open("ab") as file:
        file.write(tail)
    writer = new_writer(tmp_path)
    writer.append([THIRD])
    assert names(tmp_path) == [path.name]
    assert list(unpacked(path)) == members(FIRST, SECOND, THIRD)
    assert len(writer.found) == 3


def test_at_whatever_byte_it_was_cut_all_that_is_intact_is_kept(tmp_path: Path) -> None:
    """Cut off, or of its right size with zeros from there on, as after a power failure."""
    path = left_behind(tmp_path / "first", FIRST)
    first = path.stat().st_size
    path = left_behind(tmp_path, FIRST, SECOND)
    whole = path.read_bytes()
    ends = [first, len(whole)]
    cuts = {0, 1, 511, 512, 513, *(end + step for end in ends for step in (-513, -512, -300, -1, 0, 1, 600))}
    for cut in sorted(cuts):
        for content in (whole[:cut], whole[:cut].ljust(len(whole), b"\0")):
            path.write_bytes(content)
            writer = new_writer(tmp_path)
            writer.append([])
            kept = [end for end in ends if content[:end] == whole[:end]]
            assert [one.end for one in writer.found.values()] == kept, cut
            assert path.read_bytes() == whole[: max(kept, default=0)]
            writer.release()


def test_an_entry_whose_bytes_were_lost_ends_what_is_kept(tmp_path: Path) -> None:
    """The file system wrote the record, but not the payload: only the checksum in the record knows."""
    path = left_behind(tmp_path, FIRST, THIRD, SECOND)
    data = path.read_bytes()
    path.write_bytes(data.replace(THIRD.payload, bytes(len(THIRD.payload))))
    writer = new_writer(tmp_path)
    writer.append([made_entry(4)])
    assert list(unpacked(path)) == members(FIRST, made_entry(4))


def test_what_was_continued_is_not_written_twice(tmp_path: Path) -> None:
    path = left_behind(tmp_path, FIRST)
    writer = new_writer(tmp_path)
    [found] = writer.append([Entry(FIRST.name, b"another payload", {}), SECOND])
    assert name_of(found.name) == SECOND.name
    assert unpacked(path)[f"{FIRST.name}.bin"] == FIRST.payload
    assert list(unpacked(path)) == members(FIRST, SECOND)


def test_a_writer_has_one_id_for_all_its_shards(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, writer="1a2b3c4d")
    for number in range(3):
        writer.append([made_entry(number)])
        writer.seal()
    assert [path.name for path in sorted(tmp_path.glob("*.tar"))] == [f"0000000{n}-1a2b3c4d.tar" for n in range(3)]


@pytest.mark.parametrize("place", ["here", "on a network"])
def test_a_shard_is_taken_over_by_its_writers_id(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "on a network":
        monkeypatch.setattr(shard_writer, "file_system", lambda path: "nfs4")
    path, other = left_behind(tmp_path / "a", FIRST), left_behind(tmp_path / "b", THIRD)
    other = other.rename(tmp_path / "a" / other.name.replace("00000000", "00000001"))
    writer = new_writer(tmp_path / "a")
    writer.take_over(path.name[9:17])
    assert list(unpacked(path)) == members(FIRST)
    writer.append([SECOND])
    assert writer.seal() is not None
    assert list(unpacked(path.with_suffix(""))) == members(FIRST, SECOND)
    assert other.exists()


def test_taking_over_what_is_not_there_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no unfinished shard of a writer 'aaaaaaaa'; no shard there is unfinished"):
        new_writer(tmp_path / "gone").take_over("aaaaaaaa")
    left = left_behind(tmp_path, FIRST)
    with pytest.raises(CacheError, match=f"unfinished shards there are of writers {left.name[9:17]}"):
        new_writer(tmp_path).take_over("aaaaaaaa")


@pytest.mark.parametrize("place", ["here", "on a network"])
def test_a_shard_whose_writer_lives_is_not_taken_over(
    writer: ShardWriter, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its lock is seen from another machine."""
    if place == "on a network":
        monkeypatch.setattr(shard_writer, "file_system", lambda path: "nfs4")
    writer.append([FIRST])
    with pytest.raises(BusyError, match="is being written; wait for its writer, or stop it"):
        new_writer(tmp_path).take_over(str(writer.name)[9:17])
    writer.append([SECOND])


def test_without_locks_a_shard_is_begun_and_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(shard_writer, "file_system", lambda path: "nfs4")
    path, writer = left_behind(tmp_path, FIRST), new_writer(tmp_path)
    writer.take_over(path.name[9:17])
    writer.append([SECOND])
    assert list(unpacked(path)) == members(FIRST, SECOND)


def test_what_a_writer_left_that_was_killed_as_it_began_is_swept_away(tmp_path: Path) -> None:
    old, new, other = (
        tmp_path / name for name in (f".{'0' * 8}-{'a' * 8}.tar.partial", f".{'0' * 8}-{'b' * 8}.tar.partial", ".x")
    )
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (1, 1))
    new_writer(tmp_path).append([FIRST])
    assert [path.exists() for path in (old, new, other)] == [False, True, True]


def test_a_shard_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(DiskFullError):
            new_writer(tmp_path).append([FIRST])
    assert names(tmp_path) == []


def test_a_folder_that_was_taken_away_between_two_shards_does_not_come_back(tmp_path: Path) -> None:
    writer = new_writer(tmp_path / "data.shards")
    writer.append([FIRST])
    writer.seal()
    (tmp_path / "data.shards").rename(tmp_path / "away")
    with pytest.raises(MachineError, match="was taken away while it was being written"):
        writer.append([SECOND])
    assert names(tmp_path) == ["away"]


def test_writers_side_by_side_have_shards_of_their_own(tmp_path: Path) -> None:
    writers = [new_writer(tmp_path) for _ in range(4)]
    for number in range(8):
        writers[number % 4].append([made_entry(number)])
    paths = [in_hand(writer, tmp_path) for writer in writers]
    assert len({*paths}) == len(names(tmp_path)) == 4
    before = [path.read_bytes() for path in paths[1:]]
    writers[0].append([THIRD])
    with pytest.raises(ValueError, match="an entry's name"):
        writers[0].append([Entry("name", b"", {})])
    writers[0].seal()
    writers[0].append([SECOND])
    assert [path.read_bytes() for path in paths[1:]] == before
    assert len(names(tmp_path)) == 6, "a shard, its index, and four that are being written"


def test_nobody_sees_a_shard_that_is_not_locked_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer that looks at any moment of the beginning must not take the shard over."""
    lock, seen = shard_writer._locked, list[str]()

    def watched(handle: int) -> bool:
        seen.extend(filter(is_partial, names(tmp_path)))
        return lock(handle)

    monkeypatch.setattr(shard_writer, "_locked", watched)
    writer = new_writer(tmp_path)
    writer.append([FIRST])
    assert (seen, names(tmp_path)) == ([], [writer.name])


def test_on_a_network_file_system_nothing_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks do not hold there."""
    path = left_behind(tmp_path, FIRST)
    before = path.read_bytes()
    monkeypatch.setattr(shard_writer, "file_system", lambda path: "nfs4")
    writer = new_writer(tmp_path)
    writer.append([SECOND])
    assert path.read_bytes() == before
    assert in_hand(writer, tmp_path) != path


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced", "folder"])
@pytest.mark.parametrize("then", ["append", "seal"])
def test_a_shard_that_was_taken_away_fails_what_comes_next(tmp_path: Path, how: str, then: str) -> None:
    folder = tmp_path / "data.shards"
    writer = new_writer(folder)
    writer.append([FIRST])
    path = in_hand(writer, folder)
    if how == "folder":
        folder.rename(tmp_path / "away")
    elif how == "removed":
        path.unlink()
    else:
        path.rename(folder / "away")
    if how == "replaced":
        path.write_bytes(b"another's")
    with pytest.raises(MachineError, match=r"was taken away while it was being written.*run the same command again"):
        writer.append([SECOND]) if then == "append" else writer.seal()
    assert writer.name is None
    assert writer.found == writer.aliases == {}
    if how == "replaced":
        assert path.read_bytes() == b"another's"
        path.unlink()
    writer.append([SECOND])
    assert list(unpacked(in_hand(writer, folder))) == members(SECOND)


def test_a_sealed_shard_is_a_tar_with_an_index(writer: ShardWriter, tmp_path: Path) -> None:
    writer.append([FIRST, SECOND])
    partial = in_hand(writer, tmp_path)
    shard = writer.seal()
    path = tmp_path / partial.name.removesuffix(".partial")
    assert shard == Shard(path.name, path.stat().st_size)
    assert names(tmp_path) == [path.name, f"{path.name}.idx"]
    assert is_shard(path.name)
    assert path.read_bytes().endswith(tar.END)
    assert {name: data for name, data in unpacked(path).items() if name.endswith(".bin")} == {
        f"{name}.bin": payload for name, payload in payloads(FIRST, SECOND).items()
    }
    table = read_table(tmp_path / f"{path.name}.idx")
    assert (table.shards, len(table), table.aliases) == ((shard,), 2, 2)
    assert writer.name is None
    assert writer.found == {}


def test_a_shard_without_entries_is_deleted(writer: ShardWriter, tmp_path: Path) -> None:
    assert writer.seal() is None
    with pytest.raises(ValueError, match="an entry's name"):
        writer.append([Entry("name", b"", {})])
    assert writer.seal() is None
    assert names(tmp_path) == []


def test_a_shard_that_cannot_be_sealed_is_sealed_later(
    writer: ShardWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append([FIRST])
    size = in_hand(writer, tmp_path).stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", _no_room(size))
        with pytest.raises(DiskFullError):
            writer.seal()
    writer.append([SECOND])
    assert writer.seal() is not None
    assert list(unpacked(next(tmp_path.glob("*.tar")))) == members(FIRST, SECOND)


def test_an_index_that_cannot_be_written_is_no_failure(
    writer: ShardWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("no room")

    monkeypatch.setattr(shard_writer, "write_table", full)
    writer.append([FIRST])
    assert writer.seal() is not None
    assert [path.suffix for path in tmp_path.iterdir()] == [".tar"]


def test_a_shard_is_numbered_above_all_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "00000099-1a2b3c4d.tar.other").touch()
    assert [shard_of(tmp_path, made_entry(number)).name[:9] for number in range(2)] == ["00000000-", "00000001-"]
    (tmp_path / "00000041-1a2b3c4d.tar").write_bytes(tar.END)
    writers = [new_writer(tmp_path) for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.append([made_entry(number)])
    assert [str(writer.name)[:9] for writer in writers] == ["00000042-", "00000043-"]


def test_a_shard_is_full_when_it_has_so_many_bytes(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, StoreOptions(writable=True, shard_bytes=5000))
    full = []
    for number in range(4):
        writer.append([made_entry(number, b"x" * 100)])
        full.append(writer.is_full)
    assert full == [False, False, True, True], "each entry takes 2048 bytes"
