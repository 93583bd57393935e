"""Where entries lie in shards: an index beside each tar, and one table of all of them, sorted and mapped into memory.

An index is a convenience and no truth. It names the sizes of its tars, and one that does not fit is made again from
them; a reader compares what it gets with the tar's own header and a checksum. Both files have one form, little-endian:

    magic 8 | length of the head 8 | head, JSON | entries, sorted by name | aliases, sorted
    entry   key 16, sample 2 (big-endian) | suffix 2 | shard 4 | offset 8 | size 4 | size of the record 4 | xxh3-64 8
    alias   alias 16 | key 16 | shard 4

The head lists the shards (name, size in bytes) to which the entries' numbers refer. Names are digests, evenly spread,
so a place in the table is interpolated rather than bisected: three or four looks among a million entries.
"""

import json
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcache.errors import DamagedError
from srcache.files import atomic_file
from srcache.files.documents import parse_json

MAGIC = b"srcshrd2"
SUFFIXES = (".bin", ".png", ".jpg", ".webp", ".qoi", ".ppm")
"""What an entry's `suffix` is a place in; new ones only at the end."""

NAME, ALIAS = 18, 16
_ENTRY = struct.Struct("<18sHIQIIQ")
_ALIAS = struct.Struct("<16s16sI")
_ENTRY_ROW = np.dtype(
    {
        "names": ["name", "suffix", "shard", "offset", "size", "record", "xxh3"],
        "formats": [f"S{NAME}", "<u2", "<u4", "<u8", "<u4", "<u4", "<u8"],
    }
)
_ALIAS_ROW = np.dtype([("alias", f"S{ALIAS}"), ("key", f"S{ALIAS}"), ("shard", "<u4")])
_PAIR_ROW = np.dtype([("pair", f"S{2 * ALIAS}"), ("shard", "<u4")])
"""The same, with an alias and its key as one."""

_HEAD = 16
_NEAR = 8
"""Rows on both sides of a guess that are bisected first."""


class Shard(NamedTuple):
    """A complete shard: its file's name, and its size in bytes."""

    name: str
    size: int


class Place(NamedTuple):
    """Where an entry lies: the shard's number, the payload's header, sizes of payload and record, checksum, suffix."""

    shard: int
    offset: int
    size: int
    record: int
    xxh3: int
    suffix: str


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Entries and aliases of some shards, as sorted rows in one piece of memory, which may be a mapped file.

    Attributes:
        shards: those that the entries' numbers refer to.
        rows: entries from `start` on, `count` of them, then aliases.
    """

    shards: tuple[Shard, ...]
    rows: "bytes | mmap.mmap"
    start: int
    count: int
    aliases: int

    def __len__(self) -> int:
        return self.count

    def place(self, name: bytes) -> Place | None:
        """Where the entry of a packed name lies, or None.

        Raises:
            DamagedError: in a shard that is none, or beyond its end.
        """
        place = self.start + self.lower(name) * _ENTRY.size
        if self.rows[place : place + NAME] != name or place >= self._end:
            return None
        _, suffix, shard, offset, size, record, xxh3 = _ENTRY.unpack_from(self.rows, place)
        if shard >= len(self.shards) or suffix >= len(SUFFIXES) or offset + size + record > self.shards[shard].size:
            raise DamagedError(f"the index of {name_of(name)} is damaged; `srcache repair` makes it again")
        return Place(shard, offset, size, record, xxh3, SUFFIXES[suffix])

    def among(self, names: Iterable[bytes]) -> list[bytes]:
        """Those of many packed names that are in the table."""
        asked = list(names)
        rows = np.frombuffer(self.rows, _ENTRY_ROW, self.count, self.start)["name"]
        if not asked or not len(rows):
            return []
        wanted = np.array(asked, f"S{NAME}")
        at = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
        return [name for name, is_there in zip(asked, rows[at] == wanted, strict=True) if is_there]

    def names(self, first: int, last: int) -> list[bytes]:
        """The packed names of some rows."""
        places = range(self.start + first * _ENTRY.size, self.start + min(last, self.count) * _ENTRY.size, _ENTRY.size)
        return [self.rows[place : place + NAME] for place in places]

    def lower(self, name: bytes) -> int:
        """How many names are smaller."""
        return lower_bound(self.rows, Rows(self.start, self.count, _ENTRY.size), name)

    def resolve(self, alias: bytes) -> bytes | None:
        """The key that an alias stands for, or None."""
        at = lower_bound(self.rows, Rows(self._end, self.aliases, _ALIAS.size), alias)
        place = self._end + at * _ALIAS.size
        found = self.rows[place : place + _ALIAS.size] if at < self.aliases else b""
        return found[ALIAS : 2 * ALIAS] if found[:ALIAS] == alias else None

    def require_whole(self) -> None:
        """Refuse a mapped table whose file was cut off since: reading there would end the process.

        Raises:
            DamagedError: it was.
        """
        if not isinstance(self.rows, bytes) and self.rows.size() < len(self.rows):
            raise DamagedError("the table of shards was cut off while it was open; run the same command again")

    @property
    def content(self) -> bytes:
        """All rows, as bytes."""
        return self.rows[self.start :]

    def agrees(self, other: "Table", pairs: Callable[[], Set[bytes]]) -> bool:
        """Whether it says what another table of the same shards does.

        Earlier versions let the key that an alias was given first win, so any key that it was given will do.

        Args:
            other: the table.
            pairs: gives each alias with each key that it was given; called where the two differ in that.
        """
        rows, truth = self.content, other.content  # copies of what may be a mapped file
        if rows == truth:
            return True
        start = self.count * _ENTRY.size
        if rows[:start] != truth[:start] or len(rows) != len(truth):
            return False
        places = range(start, len(rows), _ALIAS.size)
        mine, theirs = ({each[at : at + 2 * ALIAS] for at in places} for each in (rows, truth))
        return {pair[:ALIAS] for pair in mine} == {pair[:ALIAS] for pair in theirs} and mine <= pairs()

    @property
    def is_sound(self) -> bool:
        """Whether all rows are in order, and lie in the shards."""
        rows = np.frombuffer(self.rows, _ENTRY_ROW, self.count, self.start)
        others = np.frombuffer(self.rows, _ALIAS_ROW, self.aliases, self._end)
        sizes = np.array([shard.size for shard in self.shards], np.uint64)
        if any(np.any(column["shard"] >= len(sizes)) for column in (rows, others)):
            return False
        if np.any(rows["suffix"] >= len(SUFFIXES)):
            return False
        limits = sizes[rows["shard"]] if len(rows) else sizes[:0]
        lengths = rows["size"].astype(np.uint64) + rows["record"]
        fits = (rows["offset"] <= limits) & (lengths <= limits - np.minimum(rows["offset"], limits))
        ordered = all((column[1:] > column[:-1]).all() for column in (rows["name"], others["alias"]))
        return bool(fits.all()) and ordered

    @property
    def _end(self) -> int:
        return self.start + self.count * _ENTRY.size


class Rows(NamedTuple):
    """Rows of one size in a piece of memory: where they begin, how many there are, bytes of each."""

    start: int
    number: int
    size: int


def packed_name(name: str) -> bytes | None:
    """`{key}-{sample:03d}` as the 18 bytes that a table is sorted by; None for what is no name of an entry."""
    key, sample = name[:32], name[33:]
    if name[32:33] != "-" or len(sample) != 3 or not (sample.isascii() and sample.isdigit()):
        return None
    packed = packed_key(key)
    return None if packed is None else packed + int(sample).to_bytes(2, "big")


def packed_key(key: str) -> bytes | None:
    """A key as 16 bytes; None for what is none."""
    try:
        packed = bytes.fromhex(key)
    except ValueError:
        return None
    return packed if packed.hex() == key and len(packed) == ALIAS else None


def name_of(packed: bytes) -> str:
    """The name of an entry from a table's 18 bytes."""
    return f"{packed[:16].hex()}-{int.from_bytes(packed[16:], 'big'):03d}"


def make_table(
    shards: Sequence[Shard], entries: Iterable[tuple[bytes, Place]], aliases: Iterable[tuple[bytes, bytes]]
) -> Table:
    """A table in memory; of a name that is there twice, the first wins, of an alias the lowest key. Aliases are of the
    first shard.
    """
    rows = b"".join(
        _ENTRY.pack(name, SUFFIXES.index(place.suffix), place.shard, *place[1:5]) for name, place in entries
    )
    return _sorted(shards, [rows], [b"".join(_ALIAS.pack(*pair, 0) for pair in aliases)])


def merge_tables(tables: Sequence[Table], *, lowest_wins: bool = False) -> Table:
    """One table of many; of a name that is there twice, the first wins, or (`lowest_wins`) that of the lowest shard; of
    an alias the lowest key.

    Raises:
        DamagedError: a table names shards that it does not list.
    """
    shards = [shard for table in tables for shard in table.shards]
    ranks = np.argsort(np.argsort([shard.name for shard in shards])) if lowest_wins else np.arange(len(shards))
    ordered = [shard for _, shard in sorted(zip(ranks, shards, strict=True))]
    first, entries, aliases = 0, [], []
    for table in tables:
        own = ranks[first : first + len(table.shards)]
        entries.append(_renumbered(np.frombuffer(table.rows, _ENTRY_ROW, table.count, table.start), own))
        aliases.append(_renumbered(np.frombuffer(table.rows, _ALIAS_ROW, table.aliases, table._end), own))
        first += len(table.shards)
    joined = [np.concatenate(rows) for rows in (entries, aliases) if rows]
    if lowest_wins:
        joined = [rows[np.argsort(rows["shard"], kind="stable")] for rows in joined]
    return _sorted(ordered, *([rows.tobytes()] for rows in joined or (np.empty(0), np.empty(0))))


def write_table(path: Path, table: Table) -> None:
    """Write a table in one step.

    Raises:
        DiskFullError: no room, or no permission.
    """
    head = json.dumps({"shards": table.shards, "entries": table.count, "aliases": table.aliases}).encode()
    head = MAGIC + len(head).to_bytes(8, "little") + head
    with atomic_file(path, sync=False) as file:
        file.write(head)
        file.write(table.content)


def read_table(path: Path, *, mapped: bool = True) -> Table:
    """Read a table; `mapped` leaves it on the disk until a row is looked at.

    Raises:
        DamagedError: it is none, or is cut off.
        OSError: there is none.
    """
    with path.open("rb") as file:
        first = file.read(_HEAD)
        length = int.from_bytes(first[8:16], "little")
        size = os.fstat(file.fileno()).st_size
        if first[:8] != MAGIC or length > size:
            raise DamagedError(f"{path} is no index of shards")
        try:
            head = parse_json(file.read(length))
            shards = tuple(Shard(str(name), int(size)) for name, size in head["shards"])
            counts = int(head["entries"]), int(head["aliases"])
            valid = min(*counts, *(size for _, size in shards), 0) == 0
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise DamagedError(f"{path} is no index of shards") from error
        start = _HEAD + length
        end = start + counts[0] * _ENTRY.size + counts[1] * _ALIAS.size
        if size != end or not valid:
            raise DamagedError(f"{path} is no complete index of shards: expected {end} bytes, but it has {size}")
        file.seek(0)
        rows = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if mapped else file.read()
    return Table(shards, rows, start, *counts)


def lower_bound(rows: "bytes | mmap.mmap", among: Rows, wanted: bytes) -> int:
    """How many of some rows, sorted by the bytes they begin with, are smaller than what is wanted.

    Where keys are spread evenly, a key's value says where it lies but for the square root of the count; the distance to
    the value found there says it but for the square root of that, and so on. What lies otherwise is bisected.
    """
    start, count, size = among
    target, length = int.from_bytes(wanted[:8].ljust(8, b"\0"), "big"), len(wanted)
    at = target * count >> 64
    for _ in range(4):
        place = start + at * size
        move = (target - int.from_bytes(rows[place : place + 8], "big")) * count >> 64
        if -3 < move < 3:
            break
        at = min(max(at + move, 0), count - 1)
    low, high = max(at - _NEAR, 0), min(at + _NEAR, count)
    place = start + (low - 1) * size
    if low and rows[place : place + length] >= wanted:
        low = 0
    place = start + high * size
    if high < count and rows[place : place + length] < wanted:
        high = count
    while low < high:
        middle = (low + high) // 2
        place = start + middle * size
        if rows[place : place + length] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def _renumbered(rows: NDArray[Any], numbers: NDArray[Any]) -> NDArray[Any]:
    """A copy of rows whose shards have other numbers."""
    if np.any(rows["shard"] >= len(numbers)):
        raise DamagedError("an index names shards that it does not list; `srcache repair` makes it again")
    rows = rows.copy()
    rows["shard"] = numbers[rows["shard"]] if len(rows) else 0
    return rows


def _sorted(shards: Sequence[Shard], entries: Sequence[bytes], aliases: Sequence[bytes]) -> Table:
    found = _first_of_each(np.frombuffer(b"".join(entries), _ENTRY_ROW), "name")
    pairs = _first_of_each(np.frombuffer(b"".join(aliases), _PAIR_ROW), "pair")
    others = _first_of_each(pairs.view(_ALIAS_ROW), "alias")
    return Table(tuple(shards), found.tobytes() + others.tobytes(), 0, len(found), len(others))


def _first_of_each(rows: NDArray[Any], field: str) -> NDArray[Any]:
    """Rows in order; of equal ones the first. numpy ignores zeros at the end of bytes, which changes no order here."""
    ordered = rows[np.argsort(rows[field], kind="stable")]
    return ordered[np.concatenate([[True], ordered[field][1:] != ordered[field][:-1]])] if len(ordered) else ordered
