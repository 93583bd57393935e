"""The tables of a folder of shards: read where they fit the tars that are there, made again where they do not."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from srcache.errors import DamagedError, MachineError
from srcache.stores.shard_home import INDEX, ShardHome
from srcache.stores.shard_index import Shard, Table, make_table, merge_tables, packed_key, read_table, write_table
from srcache.stores.shard_members import Found, entries_of


def folder_table(home: ShardHome, shards: Sequence[Shard]) -> Table:
    """One table of all complete shards of a store, of equal names that in the lowest shard; kept for the next time.

    Raises:
        DamagedError: a shard without an index of its own is not what was written.
    """
    if not shards:  # nothing is written, for the folder may be gone
        return merge_tables([])
    old = next((table for path in home.tables if (table := _read(path)) is not None), None)
    if old is not None and old.shards == tuple(shards):
        return old
    known = set(old.shards) if old is not None else set()
    parts = [old] if old is not None and known <= set(shards) and old.is_sound else []
    parts += shard_tables(home, [shard for shard in shards if not parts or shard not in known])
    table = merge_tables(parts, lowest_wins=True)
    for path in home.tables:
        with suppress(MachineError, OSError):
            write_table(path, table)
            if (kept := read_table(path)).shards == table.shards:  # else another process wrote its own meanwhile
                return kept
    return table


def shard_tables(home: ShardHome, shards: Sequence[Shard]) -> list[Table]:
    """The indexes of complete shards; one that is missing or of another file is made again from the tar.

    Raises:
        DamagedError: a tar is not what was written.
        FileNotFoundError: it is gone.
    """
    home.bring_indexes(shards)
    return [shard_table(home, shard) for shard in shards]


def shard_table(home: ShardHome, shard: Shard) -> Table:
    """The index of one complete shard; see `shard_tables`."""
    path = home.folder / f"{shard.name}{INDEX}"
    table = _read(path, mapped=False)
    if table is not None and table.shards == (shard,) and table.is_sound:
        return table
    table = _made(home, shard)
    with suppress(MachineError, OSError):
        write_table(path, table)
    return table


def index_of(shard: Shard, found: Sequence[Found]) -> Table:
    """The index of one shard from its entries."""
    return make_table([shard], [(one.name, one.place) for one in found], _pairs(found))


def _pairs(found: Iterable[Found]) -> list[tuple[bytes, bytes]]:
    """Each alias with each key that it was given."""
    return [(packed_key(alias) or b"", one.name[:16]) for one in found for alias in one.aliases]


def wrong_indexes(home: ShardHome) -> Iterator[Path]:
    """The indexes and tables that name the tars which are there, but do not say where their entries lie.

    One that names other tars is made again by whoever opens the store, and a tar that is damaged has none.
    """
    shards, parts = home.listing()[0], list[Table]()
    for shard in shards:
        with suppress(DamagedError, FileNotFoundError):
            parts.append(_made(home, shard))
            if _is_wrong(path := home.folder / f"{shard.name}{INDEX}", parts[-1], home):
                yield path
    if len(parts) == len(shards):
        table = merge_tables(parts, lowest_wins=True)
        yield from (path for path in home.tables if _is_wrong(path, table, home))


def _is_wrong(path: Path, truth: Table, home: ShardHome) -> bool:
    def pairs() -> set[bytes]:
        return {alias + key for shard in truth.shards for alias, key in _pairs(_entries(home, shard))}

    kept = _read(path, mapped=False)
    return kept is not None and kept.shards == truth.shards and not kept.agrees(truth, pairs)


def _made(home: ShardHome, shard: Shard) -> Table:
    """The index of a shard, made from its tar."""
    return index_of(shard, list(_entries(home, shard)))


def _entries(home: ShardHome, shard: Shard) -> Iterator[Found]:
    file = home.scan(shard.name)
    return entries_of(file.read, shard.size, str(home.folder / shard.name), check=False)


def _read(path: Path, *, mapped: bool = True) -> Table | None:
    try:
        return read_table(path, mapped=mapped)
    except (OSError, DamagedError):
        return None
