"""Shards that are open for reading: complete ones, and such as somebody is writing.

A file is closed when nothing refers to it any more. A store may therefore let go of a file while another thread reads
in it, and bytes that were lent of a mapped file stay valid for as long as somebody has them.
"""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from srcache.errors import DamagedError
from srcache.stores.shard_index import name_of
from srcache.stores.shard_members import Found, entries_of, note_aliases, read_record


class OpenShard(Protocol):
    """A shard that is open for reading. Any thread may use it."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    @property
    def is_there(self) -> bool:
        """Whether it still lies where it was opened; if not, its room on the disk is free once it is let go of."""
        ...

    def read(self, amount: int, offset: int) -> bytes:
        """So many bytes from there; fewer at the end."""
        ...

    def view(self, amount: int, offset: int) -> bytes | memoryview:
        """As `read`, but not copied if the file is mapped."""
        ...


class ShardFile:
    """A file that is open for reading; `mapped` into memory, or read. Any thread may use it."""

    _handle = -1

    def __init__(self, path: Path, *, mapped: bool) -> None:
        self._bytes: memoryview | None = None
        self._path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._number = os.fstat(self._handle).st_ino
        if mapped and self.size:
            self._map = mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ)
            self._bytes = memoryview(self._map)
            os.close(self._handle)  # the map has one of its own
            self._handle = -1

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    @property
    def size(self) -> int:
        """Bytes of the file as it is now, or as it was when it was mapped."""
        return os.fstat(self._handle).st_size if self._bytes is None else len(self._bytes)

    @property
    def is_there(self) -> bool:
        """See `OpenShard.is_there`."""
        try:
            return self._path.stat().st_ino == self._number
        except OSError:
            return False

    def read(self, amount: int, offset: int) -> bytes:
        """So many bytes from there; fewer at the end."""
        if self._bytes is not None:
            return bytes(self.view(amount, offset))
        return os.pread(self._handle, amount, offset)

    def view(self, amount: int, offset: int) -> memoryview:
        """As `read`, but not copied if the file is mapped.

        Raises:
            DamagedError: the file was cut off since it was mapped, and reading there would end the process.
        """
        if self._bytes is not None:
            if (size := self._map.size()) < len(self._bytes):
                raise DamagedError(
                    f"{self._path} was cut off while it was open: it had {len(self._bytes)} bytes, and has {size}; "
                    "`srcache repair` saves what is readable"
                )
            return self._bytes[offset : offset + amount]
        return memoryview(os.pread(self._handle, amount, offset))


class PartialFile:
    """A shard that somebody is writing, as far as its entries are complete.

    Attributes:
        file: the shard, not mapped, for it may be cut back.
        found: its entries by packed name.
        aliases: of them, each with the key that it stands for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = ShardFile(path, mapped=False)
        self._last: Found | None = None
        self._size = 0
        self.found: dict[bytes, Found] = {}
        self.aliases: dict[str, str] = {}

    def look(self, is_known: Callable[[bytes], object]) -> None:
        """Take in entries that came since, but for names that are known from elsewhere.

        A put that fails is cut back, and what is written next may end at other places: where the last entry is not
        what it was, all are read anew.
        """
        size = self.file.size
        if size != self._size and not self._is_as_it_was:
            self._last, self.found, self.aliases = None, {}, {}
        self._size, end = size, self._last.end if self._last else 0
        try:
            for one in entries_of(self.file.read, size, str(self._path), end):
                self._last = one
                if not is_known(one.name):
                    self.found.setdefault(one.name, one)
                note_aliases(one, self.aliases)
        except DamagedError:  # the end of what is being written
            return

    @property
    def _is_as_it_was(self) -> bool:
        """Whether the entry that was taken in last is still there."""
        if self._last is None:
            return True
        try:
            read_record(self.file.read, name_of(self._last.name), self._last.place, str(self._path))
        except DamagedError:
            return False
        return True
