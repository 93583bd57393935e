"""Files of shards that are open: what is lent of them stays valid, and what is being written is followed."""

import gc
import os
from pathlib import Path

import pytest
from shard_stores import left_behind, made_entry, shard_of

from srcache.stores import StoreOptions
from srcache.stores.shard_files import PartialFile, ShardFile
from srcache.stores.shard_index import name_of
from srcache.stores.shard_writer import ShardWriter


def open_handles(path: Path) -> int:
    found = 0
    for handle in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{handle}"
        found += os.path.lexists(link) and os.readlink(link).startswith(str(path))
    return found


@pytest.mark.parametrize("mapped", [True, False])
def test_bytes_are_read_and_lent(tmp_path: Path, mapped: bool) -> None:
    path = shard_of(tmp_path, made_entry(1))
    data, file = path.read_bytes(), ShardFile(path, mapped=mapped)
    for amount, offset in ((10, 0), (512, 512), (5, len(data) - 2), (3, len(data) + 9)):
        assert file.read(amount, offset) == data[offset : offset + amount]
        assert bytes(file.view(amount, offset)) == data[offset : offset + amount]
    assert file.size == len(data)
    assert type(file.read(1, 0)) is bytes


@pytest.mark.parametrize("mapped", [True, False])
def test_what_was_lent_outlives_the_file_and_then_it_is_closed(tmp_path: Path, mapped: bool) -> None:
    path = shard_of(tmp_path, made_entry(1))
    data, file = path.read_bytes(), ShardFile(path, mapped=mapped)
    lent = file.view(1000, 512)
    path.unlink()
    del file
    gc.collect()
    assert bytes(lent) == data[512:1512]
    assert lent.readonly
    del lent
    assert open_handles(path) == 0


def test_a_file_of_no_bytes_and_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert bytes(ShardFile(tmp_path / "empty", mapped=True).view(5, 0)) == b""
    with pytest.raises(FileNotFoundError):
        ShardFile(tmp_path / "none", mapped=True)


class Partial:
    """A shard in hand, and a reader that follows it."""

    def __init__(self, folder: Path) -> None:
        self.writer = ShardWriter(folder, StoreOptions(writable=True))
        self.writer.append([made_entry(1)])
        self.path = folder / str(self.writer.name)
        self.reader = PartialFile(self.path)

    def seen(self) -> list[str]:
        self.reader.look(lambda _: False)
        return [name_of(name) for name in self.reader.found]


def test_entries_are_taken_in_as_they_come(tmp_path: Path) -> None:
    partial = Partial(tmp_path)
    for number in range(2, 6):
        assert partial.seen() == [made_entry(one).name for one in range(1, number)]
        partial.writer.append([made_entry(number)])
    assert partial.reader.aliases == {made_entry(n).aliases[0]: made_entry(n).name[:32] for n in range(1, 5)}


@pytest.mark.parametrize("then", [made_entry(3, b"x" * 1000), made_entry(3, b"x" * 9000), made_entry(3, b"")])
def test_what_was_cut_back_is_forgotten_and_what_follows_is_taken_in(tmp_path: Path, then: object) -> None:
    """Whatever the size of what is written in its place: one put after another, and no read has failed meanwhile."""
    partial = Partial(tmp_path)
    end = partial.path.stat().st_size
    partial.writer.append([made_entry(2, b"y" * 3000)])
    assert partial.seen() == [made_entry(1).name, made_entry(2).name]
    os.truncate(partial.path, end)
    partial.writer.release()
    partial.writer = ShardWriter(tmp_path, StoreOptions(writable=True))
    partial.writer.append([then])  # type: ignore[list-item]
    partial.writer.append([made_entry(4), made_entry(5)])
    assert partial.seen() == [made_entry(number).name for number in (1, 3, 4, 5)]
    assert made_entry(2).aliases[0] not in partial.reader.aliases


def test_half_an_entry_is_waited_for(tmp_path: Path) -> None:
    path = left_behind(tmp_path, made_entry(1), made_entry(2))
    whole, reader = path.read_bytes(), PartialFile(path)
    for size in range(0, len(whole), 300):
        path.write_bytes(whole[:size])
        reader.look(lambda _: False)
    path.write_bytes(whole)
    reader.look(lambda _: False)
    assert [name_of(name) for name in reader.found] == [made_entry(1).name, made_entry(2).name]


def test_names_that_are_known_are_left_to_others(tmp_path: Path) -> None:
    path, known = left_behind(tmp_path, made_entry(1), made_entry(2)), bytes.fromhex(made_entry(1).name[:32]) + b"\0\0"
    reader = PartialFile(path)
    reader.look(lambda name: name == known)
    assert [name_of(name) for name in reader.found] == [made_entry(2).name]
