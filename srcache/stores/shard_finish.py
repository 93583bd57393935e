"""Shards whose writers are gone are completed, so that they are shards like any other.

On a disk of this machine a lock says whether a writer lives; what it left is continued and sealed. On a network file
system a lock may not reach other machines. There, what is whole is copied into a shard of our own, and the other's is
renamed only when that is sealed: a writer that lives after all finds its shard gone, and says so, and what it committed
in the meantime is copied too before anything is deleted.
"""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from srcache.errors import BusyError, CacheError
from srcache.files import disk_errors, sync_folder
from srcache.files.file_locks import take
from srcache.files.folders import paths_in
from srcache.machine import NETWORK, file_system
from srcache.stores.interface import Entry, StoreOptions
from srcache.stores.shard_files import PartialFile
from srcache.stores.shard_home import LocalHome
from srcache.stores.shard_index import name_of
from srcache.stores.shard_members import read_payload, read_record
from srcache.stores.shard_names import shards_in, writer_of
from srcache.stores.shard_tables import folder_table
from srcache.stores.shard_writer import ShardWriter

_LEFT = ".left"
_AT_ONCE = 64 << 20
"""Bytes of payloads that are copied in one commit."""


def finish_shards(folder: Path, options: StoreOptions) -> int:
    """Complete what writers left that are gone; returns how many entries are in it.

    Raises:
        DiskFullError: no room for a copy; what was left is as it was.
    """
    if file_system(folder) not in NETWORK:
        return finish_by_locks(folder, options)
    own, stopped = _own(options), paths_in(folder, f".*{_LEFT}")
    return sum(_drained(path, own) for path in stopped) + sum(
        _copied(folder, name, own) for name in shards_in(folder)[1] if not _is_held(folder / name)
    )


def finish_by_locks(folder: Path, options: StoreOptions) -> int:
    """The same on a disk of this machine, where a lock says that a writer is gone; elsewhere nothing is done."""
    if file_system(folder) in NETWORK:
        return 0
    return sum(_sealed(folder, name, _own(options)) for name in shards_in(folder)[1])


def _own(options: StoreOptions) -> StoreOptions:
    """Options of a writer that is nobody's successor."""
    return replace(options, writable=True, writer=None, take_over=None)


def _sealed(folder: Path, name: str, options: StoreOptions) -> int:
    """Continue a shard and seal it; 0 if its writer lives."""
    writer = ShardWriter(folder, options)
    try:
        writer.take_over(writer_of(name))
    except (BusyError, CacheError):
        return 0
    count = len(writer.found)
    writer.seal()
    return count


def _copied(folder: Path, name: str, options: StoreOptions) -> int:
    """Copy what is whole into a shard of our own, then take the other away; returns how many entries it held."""
    _copy(PartialFile(folder / name), folder, options)
    away = folder / f".{name}{_LEFT}"
    with disk_errors(folder):
        (folder / name).rename(away)
        sync_folder(folder)
    return _drained(away, options)


def _drained(away: Path, options: StoreOptions) -> int:
    """Copy what came until a shard was renamed, and delete it."""
    left = PartialFile(away)
    _copy(left, away.parent, options)
    with disk_errors(away):
        away.unlink()
    return len(left.found)


def _copy(left: PartialFile, folder: Path, options: StoreOptions) -> None:
    """Copy the entries that no complete shard holds into a shard of our own."""
    known = folder_table(LocalHome(folder), shards_in(folder)[0])
    left.look(lambda _: False)
    writer, batch, size = ShardWriter(folder, options), list[Entry](), 0
    try:
        for one in left.found.values():
            if known.place(one.name) is not None:
                continue
            name, read = name_of(one.name), left.file.read
            payload = read_payload(read, name, one.place, name)
            batch.append(Entry(name, payload, read_record(read, name, one.place, name), one.aliases))
            size += len(payload)
            if size >= _AT_ONCE:
                writer.append(batch)
                batch, size = [], 0
        if batch:
            writer.append(batch)
        writer.seal()
    finally:
        writer.release()


def _is_held(path: Path) -> bool:
    """Whether a lock says that a writer lives, in as far as locks reach."""
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            take(handle)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
    return False
