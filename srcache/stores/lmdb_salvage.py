"""What a damaged LMDB file still holds, read page by page, without LMDB and without trusting any of it.

LMDB's own reader follows a tree from the file's head: one bad page hides all that lies behind it, and ends the process
where the file is cut off (SIGBUS) or blank (an assertion). But every leaf page says by itself what it is, so this one
looks at each page alone. That needs no head, no tree and no child process; what it finds is believed only if the
payload has the checksum that its record names. Old copies of pages, which LMDB leaves behind, do no harm: an entry
never changes, so an old copy says the same or points to what is no longer there.

The format (LMDB 0.9, native byte order; `p` is the page's number, sizes in bytes):

    page    p 8 | pad 2 | flags 2 | lower 2 | upper 2 | offset of each node, 2 each | … nodes
    big     p 8 | pad 2 | flags 2 | number of pages 4 | the value, over all these pages
    node    size, low half 2 | high half 2 | flags 2 | key's size 2 | key | value, or number 8 of the big page
"""

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

from srcache.keys import image_key, is_key, split_name
from srcache.stores.interface import Entry

_PAGE = struct.Struct("=QHHHH")
_NODE = struct.Struct("=HHHH")
_LEAF, _BIG, _IS_BIG = 0x02, 0x04, 0x01
_SIZES = (4096, 8192, 16384, 32768, 65536)
_AT_ONCE = 1 << 22


class LmdbSalvage:
    """What a `data.mdb` still holds, read with care; see `Salvage`. What the disk refuses to read is taken for zeros.

    A context manager: it looks at every page when it is entered. A file without a single page holds nothing.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / "data.mdb"
        self._places: dict[str, tuple[int, ...]] = {}
        """An entry's name → where its record and its payload may lie, each perhaps in several copies, as
        offset × 2³² + size; packed, because there may be millions."""
        self._aliases: dict[str, tuple[str, ...]] = {}

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
        for record in records:
            payload = checksums.get(record["checksum"])
            if payload is not None:
                return Entry(name, payload, record, self._aliases.get(record["key"], ()))
        return None

    def _survey(self) -> None:
        """Look at every page, and note what it names."""
        page = self._page_size()
        number, start, block = 0, 0, b""
        while page and (number + 1) * page <= self._size:
            place = number * page - start
            if place > len(block) - page:
                start, place, block = number * page, 0, self._read(number * page, _AT_ONCE)
            number += self._look(memoryview(block)[place : place + page], number)

    def _page_size(self) -> int:
        """The size at which pages carry their own number, 0 if none does; not asked of the head, which may be gone."""

        def fits(size: int) -> int:
            heads = (self._read(number * size, 8) for number in range(1, min(1000, self._size // size)))
            return sum(head == number.to_bytes(8, sys.byteorder) for number, head in enumerate(heads, start=1))

        best = max(_SIZES, key=fits)
        return best if fits(best) else 0

    def _look(self, page: memoryview, number: int) -> int:
        """Note what a leaf page names; returns how many pages to go on."""
        own, _, flags, lower, upper = _PAGE.unpack_from(page)
        if own != number:
            return 1
        if flags == _BIG:
            count: int = struct.unpack_from("=I", page, 12)[0]
            return count if 0 < count <= self._size // len(page) - number else 1
        if flags == _LEAF and _PAGE.size <= lower <= upper <= len(page):
            for (place,) in struct.iter_unpack("=H", page[_PAGE.size : lower - lower % 2]):
                self._note(page, number, place)
        return 1

    def _note(self, page: memoryview, number: int, place: int) -> None:
        """Note one node of a leaf page."""
        if place + _NODE.size > len(page):
            return
        low, high, flags, key_size = _NODE.unpack_from(page, place)
        size, start = low | high << 16, place + _NODE.size + key_size
        key = bytes(page[place + _NODE.size : start]).decode("latin-1")
        if flags == _IS_BIG and start + 8 <= len(page):
            target: int = struct.unpack_from("=Q", page, start)[0]
            offset = target * len(page) + _PAGE.size
        elif flags == 0 and start + size <= len(page):
            offset = number * len(page) + start
        else:
            return
        if is_key(key):
            self._note_alias(key, bytes(page[start : start + size]).decode("latin-1"))
        elif _is_name(key) and offset + size <= self._size:
            known, value = self._places.get(key, ()), offset << 32 | size
            if value not in known:
                self._places[key] = (*known, value)

    def _note_alias(self, alias: str, meaning: str) -> None:
        known = self._aliases.get(meaning, ())
        if is_key(meaning) and alias not in known:
            self._aliases[meaning] = (*known, alias)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError:
            step = _SIZES[0]
            if size <= step:
                return bytes(size)
            return b"".join(self._read(offset + place, min(step, size - place)) for place in range(0, size, step))


def _is_name(text: str) -> bool:
    try:
        split_name(text)
    except ValueError:
        return False
    return True


def _record(name: str, data: bytes) -> dict[str, Any] | None:
    """A value as a record, if it is one, and the one of this name; a payload never starts with a brace."""
    if not data.startswith(b"{"):
        return None
    try:
        record: dict[str, Any] = json.loads(data)
        fits = (record["key"], record["sample"]) == split_name(name) and isinstance(record["checksum"], str)
    except (ValueError, KeyError, TypeError):
        return None
    return record if fits else None
