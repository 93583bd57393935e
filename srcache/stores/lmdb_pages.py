"""The heads and pages of an LMDB file, read without LMDB and without trusting any of them.

LMDB believes what it reads: a head that was damaged makes it map memory that is not there, or begin with an older
state and write over the newer one. So the heads are looked at first. The format (LMDB 0.9, native byte order, sizes in
bytes; a file's first two pages are its heads, and the one with the higher number of its commit is in force):

    page    own number 8 | pad 2 | flags 2 | lower 2 | upper 2 | offset of each node, 2 each | … nodes
    big     own number 8 | pad 2 | flags 2 | number of pages 4 | the value, over all these pages
    head    a page's first 16 | magic 4 | version 4 | address 8 | size of the map 8 | free tree 48 | main tree 48 |
            last page 8 | number of the commit 8
    tree    pad 4 | flags 2 | depth 2 | branch pages 8 | leaf pages 8 | big pages 8 | entries 8 | root 8
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcache.errors import DamagedError

PAGE_HEAD = 16
BRANCH, LEAF, BIG, META = 0x01, 0x02, 0x04, 0x08
SIZES = (4096, 8192, 16384, 32768, 65536)
"""Page sizes that there may be."""

NOTHING = 2**64 - 1
"""The root of an empty tree."""

_HEAD = struct.Struct("=QHHI IIQQ 48s48s QQ")
_TREE = struct.Struct("=IHHQQQQQ")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_FREE_FLAGS = 0x08
_TRIES = 20
"""How often heads that do not fit each other are read again: another process may be writing them."""


class Tree(NamedTuple):
    """One of a file's trees, as a head or the main tree describes it."""

    pad: int
    flags: int
    depth: int
    branches: int
    leaves: int
    big: int
    entries: int
    root: int


class Head(NamedTuple):
    """What a head says: the size of pages, the last page in use, the number of the commit, and two trees."""

    page: int
    last: int
    commit: int
    free: Tree
    main: Tree

    @property
    def size(self) -> int:
        """How many bytes the file has at least."""
        return (self.last + 1) * self.page


def parse_tree(data: bytes) -> Tree:
    """A tree's description."""
    return Tree(*_TREE.unpack(data))


class Pages:
    """A file's heads and pages. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "Pages":
        self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *rest: object) -> None:
        os.close(self._file)

    def head(self, commit: int | None = None) -> Head | None:
        """The head that is in force; or that of a commit, None if it has been written over by now.

        Raises:
            DamagedError: the heads are not what LMDB writes.
        """
        heads = self.heads()
        return heads[0] if commit is None else next((head for head in heads if head.commit == commit), None)

    def heads(self) -> list[Head]:
        """Both heads, that which is in force first.

        Raises:
            DamagedError: they are not what LMDB writes.
        """
        for _ in range(_TRIES):
            heads, wrong = self._heads()
            if not wrong:
                return sorted(heads, key=lambda head: head.commit, reverse=True)
        raise self.damaged(wrong)

    def require_whole(self, head: Head) -> None:
        """Refuse a file that is shorter than its head says.

        Raises:
            DamagedError: it is.
        """
        found = os.fstat(self._file).st_size
        if found < head.size:
            raise DamagedError(
                f"{self.path} is cut off: expected at least {head.size} bytes, but it has {found}; "
                "`srcache repair` saves what is readable"
            )

    def rows(self, numbers: Sequence[int] | NDArray[np.uint64], size: int) -> NDArray[np.uint8]:
        """Some pages as rows of bytes; what is beyond the file's end is zeros."""
        rows = np.zeros((len(numbers), size), np.uint8)
        for row, number in zip(rows, numbers, strict=True):
            os.preadv(self._file, [row.data], int(number) * size)
        return rows

    def read(self, amount: int, offset: int) -> bytes:
        """So many bytes from there; fewer at the end."""
        return os.pread(self._file, amount, offset)

    def damaged(self, what: str) -> DamagedError:
        """The error that says what is wrong with the file."""
        return DamagedError(
            f"{self.path.parent} does not read as an LMDB store ({what}); `srcache repair` saves what is readable"
        )

    def _heads(self) -> tuple[list[Head], str]:
        """Both heads, and what is wrong with them; empty if nothing is."""
        first = self._parsed(0)
        if isinstance(first, str):
            return [], first
        second = self._parsed(first.page)
        if isinstance(second, str):
            return [], second
        apart = abs(first.commit - second.commit)
        is_new = first.commit == second.commit == 0
        if first.page != second.page or not (is_new or (apart == 1 and first.commit % 2 == 0)):
            return [], f"its heads do not fit each other (commits {first.commit} and {second.commit})"
        return [first, second], ""

    def _parsed(self, offset: int) -> Head | str:
        """The head at a place, or what is wrong with it."""
        data = self.read(_HEAD.size, offset)
        if len(data) < _HEAD.size:
            return "it ends within its heads"
        _, _, flags, _, magic, version, _, _, free, main, last, commit = _HEAD.unpack(data)
        if (magic, version) != (_MAGIC, _VERSION) or flags != META:
            return f"what stands at byte {offset} is no head of an LMDB file"
        trees = parse_tree(free), parse_tree(main)
        if trees[0].pad not in SIZES or trees[0].flags != _FREE_FLAGS or trees[1].flags:
            return f"the head at byte {offset} has settings that srcache does not use"
        return Head(trees[0].pad, last, commit, *trees)
