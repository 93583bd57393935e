"""Shards whose writers are gone are completed; what a writer that lives is writing is left to it, if locks reach it."""

import errno
import os
from pathlib import Path

import pytest
from shard_stores import contents, filled, left_behind, made_entry, payloads, unpacked

from srcache.errors import DiskFullError
from srcache.stores import StoreOptions, shard_finish, shard_writer
from srcache.stores.shard_finish import finish_shards
from srcache.stores.shard_names import shards_in
from srcache.stores.shard_writer import ShardWriter

OPTIONS = StoreOptions(fingerprint="0123456789abcdef")
LEFT = [made_entry(number, os.urandom(900)) for number in range(30, 35)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path / "data.shards", range(3))


@pytest.fixture
def on_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (shard_finish, shard_writer):
        monkeypatch.setattr(module, "file_system", lambda path: "nfs4")


def expected() -> dict[str, bytes]:
    return payloads(*(made_entry(number) for number in range(3)), *LEFT)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_nothing_is_done_where_nothing_was_left(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    assert finish_shards(folder, OPTIONS) == finish_shards(folder / "gone", OPTIONS) == 0
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("tail", [b"", b"torn", bytes(5000)])
def test_on_a_disk_of_this_machine_a_shard_is_sealed_as_it_is(folder: Path, tail: bytes) -> None:
    left = left_behind(folder, *LEFT)
    with left.open("ab") as file:
        file.write(tail)
    assert finish_shards(folder, OPTIONS) == 5
    assert list(unpacked(left.with_suffix("")))[::2] == [f"{entry.name}.bin" for entry in LEFT]
    assert shards_in(folder)[1] == []
    assert contents(folder) == expected()


def test_a_shard_without_an_entry_goes(folder: Path) -> None:
    left = left_behind(folder, LEFT[0])
    left.write_bytes(b"torn")
    assert finish_shards(folder, OPTIONS) == 0
    assert shards_in(folder)[1] == []


@pytest.mark.parametrize("place", ["here", "on a network"])
def test_a_writer_that_holds_its_lock_is_left_alone(folder: Path, place: str, request: pytest.FixtureRequest) -> None:
    if place == "on a network":
        request.getfixturevalue("on_network")
    writer = ShardWriter(folder, StoreOptions(writable=True))
    writer.append(LEFT[:1])
    assert finish_shards(folder, OPTIONS) == 0
    writer.append(LEFT[1:])
    writer.seal()
    assert contents(folder) == expected()


def test_on_a_network_what_is_whole_is_copied_into_a_shard_of_our_own(folder: Path, on_network: None) -> None:
    left = left_behind(folder, made_entry(1), *LEFT)
    with left.open("ab") as file:
        file.write(b"torn")
    assert finish_shards(folder, OPTIONS) == 6
    assert not left.with_suffix("").exists()
    (copied,) = (folder / shard.name for shard in shards_in(folder)[0] if len(unpacked(folder / shard.name)) == 10)
    assert b'"recipe": "0123456789abcdef"' in copied.read_bytes()
    assert list(unpacked(copied))[::2] == [f"{entry.name}.bin" for entry in LEFT], "what was there is not copied"
    assert contents(folder) == expected()
    assert (shards_in(folder)[1], hidden(folder)) == ([], [])


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)


def test_what_a_writer_that_lives_commits_meanwhile_is_copied_too(
    folder: Path, on_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the copy and the moment at which its shard is renamed."""
    without_locks(monkeypatch)
    writer = ShardWriter(folder, StoreOptions(writable=True))
    writer.append(LEFT[:2])
    title, rename = str(writer.name), Path.rename

    def late(path: Path, target: Path) -> Path:
        if path.name == title:
            writer.append(LEFT[2:])
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", late)
        assert finish_shards(folder, OPTIONS) == 5
    with pytest.raises(shard_writer.MachineError, match="was taken away while it was being written"):
        writer.append([made_entry(50)])
    assert contents(folder) == expected()
    assert hidden(folder) == []


def test_whatever_stops_it_nothing_is_lost_and_the_next_one_goes_on(
    folder: Path, on_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(folder, *LEFT)

    def stopped(path: Path, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for step in ("rename", "unlink"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, stopped)
            with pytest.raises(KeyboardInterrupt):
                finish_shards(folder, OPTIONS)
        assert contents(folder) == expected()
    finish_shards(folder, OPTIONS)
    assert contents(folder) == expected()
    assert (shards_in(folder)[1], hidden(folder)) == ([], [])


def test_no_room_for_a_copy_leaves_all_as_it_was(
    folder: Path, on_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_behind(folder, *LEFT)
    before = left.read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(DiskFullError):
            finish_shards(folder, OPTIONS)
    assert left.read_bytes() == before
    finish_shards(folder, OPTIONS)
    assert contents(folder) == expected()
