"""What a damaged LMDB file still holds, found without LMDB and without trusting any of it.

LMDB's own reader follows a tree from the file's head: one bad page hides all that lies behind it, and ends the process
where the file is cut off (SIGBUS) or blank (an assertion). But an entry's name has a form of its own, and stands right
before its value. So this reader looks for names in every byte of the file, and needs no head, no tree and no page; what
it finds is believed only if the payload has the checksum that its record names. Old copies of pages, which LMDB leaves
behind, do no harm: an entry never changes, so an old copy says the same or points to what is no longer there. Only its
fast checksum may have been added (`lmdb_stamp`): the record that has it is the later one.

The format (LMDB 0.9, native byte order, sizes in bytes; pages are in `lmdb_pages`):

    node    size, low half 2 | high half 2 | flags 2 | key's size 2 | key | value, or number 8 of the big page
"""

import json
import os
import re
import struct
import sys
from pathlib import Path
from typing import Any

from srcache.keys import image_key, is_key, split_name
from srcache.stores.interface import Entry
from srcache.stores.lmdb_pages import PAGE_HEAD, SIZES

_NODE = struct.Struct("=HHHH")
_INLINE, _IS_BIG = 0x00, 0x01
_AT_ONCE = 1 << 22
_KEY, _NAME, _FINGERPRINT = 32, 36, 16
_SAMPLE = re.compile(rb"-[0-9]{3}")
"""The end of a name: a plain beginning makes the search fast, and what is before it is looked at then."""

_RECIPE = re.compile(re.escape(_NODE.pack(_FINGERPRINT, 0, _INLINE, len(b"recipe")) + b"recipe") + rb"([0-9a-f]{16})")
_ALIAS = re.compile(re.escape(_NODE.pack(_KEY, 0, _INLINE, _KEY)) + rb"([0-9a-f]{32})([0-9a-f]{32})")


class LmdbSalvage:
    """What a `data.mdb` still holds, read with care; see `Salvage`. What the disk refuses to read is taken for zeros.

    A context manager: it looks at every byte when it is entered.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / "data.mdb"
        self._places: dict[str, tuple[int, ...]] = {}
        """An entry's name → where its record and its payload may lie, each perhaps in several copies, as
        offset × 2³² + size; packed, because there may be millions."""
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._recipes = set[str]()

    def __enter__(self) -> "LmdbSalvage":
        self._file = os.open(self._path, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self._survey()
        return self

    def __exit__(self, *rest: object) -> None:
        os.close(self._file)

    def names(self) -> list[str]:
        """See `Salvage.names`."""
        return sorted(self._places)

    def entry(self, name: str) -> Entry | None:
        """See `Salvage.entry`."""
        values = [self._read(place >> 32, place & 0xFFFFFFFF) for place in self._places.get(name, ())]
        records = [record for value in values if (record := _record(name, value)) is not None]
        checksums = {image_key(value): value for value in values if records}
        for record in sorted(records, key=lambda record: "xxh3" not in record):
            payload = checksums.get(record["checksum"])
            if payload is not None:
                return Entry(name, payload, record, self._aliases.get(record["key"], ()))
        return None

    def recipe(self, name: str) -> str | None:
        """See `Salvage.recipe`: a file notes one for all its entries."""
        return next(iter(self._recipes)) if len(self._recipes) == 1 else None

    def _survey(self) -> None:
        """Look for names and aliases in all of the file, in pieces that overlap."""
        page = self._page_size()
        before, behind = _NODE.size + _NAME, 2 * _NAME + _NODE.size
        for start in range(0, self._size, _AT_ONCE):
            first = max(0, start - before)
            block = self._read(first, start + _AT_ONCE + behind - first)
            for match in _SAMPLE.finditer(block):
                at = match.start() - _KEY
                if at >= _NODE.size and is_key(block[at : at + _KEY].decode("latin-1")):
                    self._note(block[at - _NODE.size : at + _NAME + 8], first + at + _NAME, page)
            for alias in _ALIAS.finditer(block):
                self._note_alias(alias[1].decode(), alias[2].decode())
            self._recipes.update(recipe[1].decode() for recipe in _RECIPE.finditer(block))

    def _page_size(self) -> int:
        """The size at which most pages carry their own number; not asked of the head, which may be gone."""

        def fits(size: int) -> int:
            heads = (self._read(number * size, 8) for number in range(1, min(1000, self._size // size)))
            return sum(head == number.to_bytes(8, sys.byteorder) for number, head in enumerate(heads, start=1))

        return max(SIZES, key=fits)

    def _note(self, node: bytes, start: int, page: int) -> None:
        """Note where a node's value may lie: behind its name, which ends at `start`, or on a big page."""
        low, high, flags, _ = _NODE.unpack_from(node)
        name, size = node[_NODE.size : _NODE.size + _NAME].decode("latin-1"), low | high << 16
        big = int.from_bytes(node[_NODE.size + _NAME :], sys.byteorder) * page + PAGE_HEAD
        for offset, other in ((start, _IS_BIG), (big, _INLINE)):
            known, value = self._places.get(name, ()), offset << 32 | size
            if flags != other and offset + size <= self._size and value not in known:
                self._places[name] = (*known, value)

    def _note_alias(self, alias: str, meaning: str) -> None:
        known = self._aliases.get(meaning, ())
        if alias not in known:
            self._aliases[meaning] = (*known, alias)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError:
            step = SIZES[0]
            if size <= step:
                return bytes(size)
            return b"".join(self._read(offset + place, min(step, size - place)) for place in range(0, size, step))


def _record(name: str, data: bytes) -> dict[str, Any] | None:
    """A value as a record, if it is one, and the one of this name; a payload never starts with a brace."""
    if not data.startswith(b"{"):
        return None
    try:
        record: dict[str, Any] = json.loads(data)
        fits = (record["key"], record["sample"]) == split_name(name) and isinstance(record["checksum"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if fits else None
