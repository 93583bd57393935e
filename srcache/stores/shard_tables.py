"""The tables of a folder of shards: read where they fit the tars that are there, made again where they do not."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from srcache.errors import DamagedError, MachineError
from srcache.files import user_folder
from srcache.machine import NETWORK, file_system
from srcache.stores import tar
from srcache.stores.shard_index import Shard, Table, make_table, merge_tables, packed_key, read_table, write_table
from srcache.stores.shard_members import Found, entries_of
from srcache.stores.shard_names import shards_in

INDEX, TABLE = ".idx", "table.idx"


def folder_table(folder: Path, shards: Sequence[Shard]) -> Table:
    """One table of all complete shards of a folder, of equal names that in the lowest shard; kept for the next time.

    Raises:
        DamagedError: a shard without an index of its own is not what was written.
    """
    if not shards:  # nothing is written, for the folder may be gone
        return merge_tables([])
    places = _places(folder)
    old = next((table for path in places if (table := _read(path)) is not None), None)
    if old is not None and old.shards == tuple(shards):
        return old
    known = set(old.shards) if old is not None else set()
    parts = [old] if old is not None and known <= set(shards) and old.is_sound else []
    parts += [shard_table(folder, shard) for shard in shards if not parts or shard not in known]
    table = merge_tables(parts, lowest_wins=True)
    for path in places:
        with suppress(MachineError, OSError):
            write_table(path, table)
            if (kept := read_table(path)).shards == table.shards:  # else another process wrote its own meanwhile
                return kept
    return table


def shard_table(folder: Path, shard: Shard) -> Table:
    """The index of one complete shard; one that is missing or of another file is made again from the tar.

    Raises:
        DamagedError: the tar is not what was written.
    """
    path = folder / f"{shard.name}{INDEX}"
    table = _read(path, mapped=False)
    if table is not None and table.shards == (shard,) and table.is_sound:
        return table
    table = _made(folder, shard)
    with suppress(MachineError, OSError):
        write_table(path, table)
    return table


def index_of(shard: Shard, found: Sequence[Found]) -> Table:
    """The index of one shard from its entries."""
    aliases = [(packed_key(alias) or b"", one.name[:16]) for one in found for alias in one.aliases]
    return make_table([shard], [(one.name, one.place) for one in found], aliases)


def wrong_indexes(folder: Path) -> Iterator[Path]:
    """The indexes and tables that name the tars which are there, but do not say where their entries lie.

    One that names other tars is made again by whoever opens the store, and a tar that is damaged has none.
    """
    shards, parts = shards_in(folder)[0], list[Table]()
    for shard in shards:
        with suppress(DamagedError, FileNotFoundError):
            parts.append(_made(folder, shard))
            if _is_wrong(path := folder / f"{shard.name}{INDEX}", parts[-1]):
                yield path
    if len(parts) == len(shards):
        table = merge_tables(parts, lowest_wins=True)
        yield from (path for path in _places(folder) if _is_wrong(path, table))


def _is_wrong(path: Path, truth: Table) -> bool:
    kept = _read(path, mapped=False)
    return kept is not None and kept.shards == truth.shards and kept.content != truth.content


def _made(folder: Path, shard: Shard) -> Table:
    """The index of a shard, made from its tar."""
    with (folder / shard.name).open("rb") as file:
        read = tar.reader(file.fileno())
        return index_of(shard, list(entries_of(read, shard.size, str(folder / shard.name), check=False)))


def _places(folder: Path) -> list[Path]:
    """Where a table may be kept: beside the shards on a disk of this machine, else in the user's own folder."""
    name = blake2b(os.fsencode(os.path.realpath(folder)), digest_size=16).hexdigest()
    own = user_folder() / "shards" / f"{name}{INDEX}"
    return [own] if file_system(folder) in NETWORK else [folder / TABLE, own]


def _read(path: Path, *, mapped: bool = True) -> Table | None:
    try:
        return read_table(path, mapped=mapped)
    except (OSError, DamagedError):
        return None
