"""Whether an LMDB file is sound: every page is in use once or free once, and what pages say of themselves holds.

LMDB takes pages for new entries from its list of free ones. Where that list is damaged, and names a page that is in
use, the next commit writes over what is stored there; and where a tree is damaged, reading it may end the process. So
whoever opens a store for writing looks at all of it first: at both trees, at the tables, and at the list. It reads
neither images nor records, but the pages that lead to them and the records' own, many at once as rows of arrays: about
0.2 s for 100,000 entries. `verify` looks at the heads of big values too, of which each image has one.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcache.stores.lmdb_pages import BIG, BRANCH, LEAF, NOTHING, PAGE_HEAD, Head, Pages, Tree, parse_tree

_AT_ONCE = 1024
_NODE_HEAD = 8
_IS_BIG, _IS_TREE = 0x01, 0x02
_DEEPEST = 32

_Numbers = NDArray[np.uint64]
_Ints = NDArray[np.int64]


class UnsoundError(Exception):
    """What is wrong, as a sentence: it ends the look, and `problem` makes a sentence of it."""


class _Nodes(NamedTuple):
    """The nodes of some pages, in their order: which page each is on (its row), where it begins, and its fields."""

    row: _Ints
    start: _Ints
    key: _Ints
    flags: _Ints
    size: _Ints
    low: _Numbers


def problem(pages: Pages, head: Head, tables: Iterable[bytes], *, deep: bool = False) -> str | None:
    """What is wrong with the state that a head describes, as a sentence; None if it is sound.

    Args:
        pages: of the file; nobody may write over the state meanwhile, which a read transaction sees to.
        head: the head.
        tables: the names of the tables that a store has; where a disk got full while they were made, some are not
            there, and the others are empty.
        deep: look at the heads of big values too, which are as many as images.
    """
    look = _Look(pages, head, deep)
    try:
        found = dict(look.tables())
        free = look.free()
        look.require_each_once(free)
    except UnsoundError as error:
        return str(error)
    lacking = [name.decode() for name in tables if name not in found]
    if lacking and any(found[name].entries for name in tables if name in found):
        return f"it has no table {', '.join(lacking)}"
    return None


def wrong_number(pages: Pages, head: Head) -> str | None:
    """What is wrong with the number of the commit that a head names, or with its list of free pages; None if nothing.

    That is also asked of the head that is not in force, which LMDB never looks at: it may be the newer one.
    """
    try:
        _Look(pages, head, deep=False).free()
    except UnsoundError as error:
        return str(error)
    return None


class _Look:
    """One look at a file: which pages were met, in trees and as big values, and how often."""

    def __init__(self, pages: Pages, head: Head, deep: bool) -> None:
        self._pages, self._head, self._deep = pages, head, deep
        self._met = [np.array([0, 1], np.uint64)]
        self._big: list[tuple[_Numbers, _Numbers]] = []

    def tables(self) -> Iterator[tuple[bytes, Tree]]:
        """Walk the main tree and every table; gives their names."""
        for row, nodes, rows in self._leaves(self._head.main, "its main tree"):
            for at in range(len(nodes.row)):
                name, value = _content(row, nodes, rows, at)
                if nodes.flags[at] != _IS_TREE or len(value) != 48:
                    raise UnsoundError(f"its main tree holds {name!r}, which is no table")
                tree = parse_tree(value)
                if tree.flags:
                    raise UnsoundError(f"table {name!r} has settings that srcache does not use")
                for _ in self._leaves(tree, f"table {name.decode('latin-1')}"):
                    pass
                yield name, tree

    def free(self) -> _Numbers:
        """The pages that the list says are free.

        Every commit frees some, if only the page that said where the trees before it were, and lists them under its
        own number. A head whose number was damaged, so that an older state seems to be the newest, is known by that.
        """
        lists, newest = [np.empty(0, np.uint64)], 0
        for row, nodes, rows in self._leaves(self._head.free, "its list of free pages"):
            for at in range(len(nodes.row)):
                key, value = _content(row, nodes, rows, at)
                if nodes.flags[at] == _IS_BIG:
                    first = int.from_bytes(value, "little")
                    value = self._pages.read(int(nodes.size[at]), first * self._head.page + PAGE_HEAD)
                lists.append(self._listed(key, value))
                newest = max(newest, int.from_bytes(key, "little"))
        if newest and newest != self._head.commit:
            raise UnsoundError(f"its list of free pages is of commit {newest}, and its head of {self._head.commit}")
        return np.concatenate(lists)

    def require_each_once(self, free: _Numbers) -> None:
        """Refuse pages that are met twice, or not at all."""
        change = np.zeros(self._head.last + 2, np.int64)
        for first, count in [(pages, 1) for pages in (*self._met, free)] + self._big:
            np.add.at(change, first.astype(np.int64), 1)
            np.add.at(change, (first + np.asarray(count, np.uint64)).astype(np.int64), -1)
        times = np.cumsum(change[:-1])
        twice, never = np.flatnonzero(times > 1), np.flatnonzero(times == 0)
        if len(twice):
            is_free = np.isin(twice, free.astype(np.int64))
            which = "is in use, and listed as free" if is_free[0] else "is used for two things"
            raise UnsoundError(f"page {twice[0]} {which}{_more(len(twice))}")
        if len(never):
            raise UnsoundError(f"page {never[0]} is neither in use nor listed as free{_more(len(never))}")

    def _listed(self, key: bytes, value: bytes) -> _Numbers:
        """The pages in one record of the list of free ones, which begins with their number."""
        numbers = np.frombuffer(value[: len(value) // 8 * 8], np.uint64)
        commit = int.from_bytes(key, "little")
        if len(key) != 8 or len(numbers) == 0 or len(numbers) - 1 != numbers[0] or commit > self._head.commit:
            raise UnsoundError("its list of free pages is none")
        listed = numbers[1:]
        if np.any(listed < 2) or np.any(listed > self._head.last) or np.any(listed[1:] >= listed[:-1]):
            raise UnsoundError("its list of free pages names pages that cannot be free")
        return listed

    def _leaves(self, tree: Tree, what: str) -> Iterator[tuple[_Ints, _Nodes, NDArray[np.uint8]]]:
        """Walk a tree from its root, some pages at a time; gives its leaf pages: their numbers, nodes, and bytes.

        Raises:
            UnsoundError: it is not what its description says.
        """
        if tree.root == NOTHING and tree[2:7] == (0, 0, 0, 0, 0):
            return
        if not 0 < tree.depth <= _DEEPEST:
            raise UnsoundError(f"{what} is damaged: it says that it is {tree.depth} pages deep")
        level, counts = np.array([tree.root], np.uint64), [0, 0, 0, 0]
        for depth in range(tree.depth):
            is_leaf = depth == tree.depth - 1
            counts[is_leaf] += len(level)
            if counts[is_leaf] > (tree.leaves if is_leaf else tree.branches):
                raise UnsoundError(f"{what} is damaged: it has more pages than it says")
            children = []
            for start in range(0, len(level), _AT_ONCE):
                numbers = level[start : start + _AT_ONCE]
                self._meet(numbers, what)
                rows = self._pages.rows(numbers, self._head.page)
                nodes = _nodes(rows, _Piece(numbers, what), is_leaf)
                if is_leaf:
                    counts[2] += self._meet_big(nodes, rows, what)
                    counts[3] += len(nodes.row)
                    yield numbers.astype(np.int64), nodes, rows
                else:
                    children.append(nodes.low | nodes.flags.astype(np.uint64) << np.uint64(32))
            level = np.concatenate(children) if children else level
        if tuple(counts) != tree[3:7]:
            raise UnsoundError(f"{what} is damaged: it has {counts[3]} entries, and says otherwise")

    def _meet(self, numbers: _Numbers, what: str) -> None:
        if np.any(numbers < 2) or np.any(numbers > self._head.last):
            raise UnsoundError(f"{what} is damaged: it leads to a page that is not there")
        self._met.append(numbers)

    def _meet_big(self, nodes: _Nodes, rows: NDArray[np.uint8], what: str) -> int:
        """Note the pages of big values; returns how many there are."""
        at = np.flatnonzero(nodes.flags == _IS_BIG)
        if not len(at):
            return 0
        size = rows.shape[1]
        place = nodes.row[at] * size + nodes.start[at] + _NODE_HEAD + nodes.key[at]
        first = rows.reshape(-1)[place[:, None] + np.arange(8)].copy().view(np.uint64)[:, 0]
        count = ((PAGE_HEAD - 1 + nodes.size[at]) // size + 1).astype(np.uint64)
        if np.any(first < 2) or np.any(first > self._head.last) or np.any(count > self._head.last + 1 - first):
            raise UnsoundError(f"{what} is damaged: it leads to a value that is not there")
        if self._deep:
            self._require_heads(first, count, what)
        self._big.append((first, count))
        return int(count.sum())

    def _require_heads(self, first: _Numbers, count: _Numbers, what: str) -> None:
        """Refuse big values whose first page says something else of itself."""
        for number, pages in zip(first.tolist(), count.tolist(), strict=True):
            data = self._pages.read(PAGE_HEAD, number * self._head.page)
            own, flags, length = (int.from_bytes(data[a:b], "little") for a, b in ((0, 8), (10, 12), (12, 16)))
            if (own, flags, length) != (number, BIG, pages):
                raise UnsoundError(f"{what} is damaged: page {number} does not begin the value that it should")


class _Piece(NamedTuple):
    """Some pages of a tree: their numbers, and what to call the tree."""

    numbers: _Numbers
    what: str

    def require(self, good: NDArray[np.bool_], row: _Ints | None = None) -> None:
        """Refuse pages, or nodes on the pages of `row`, that are not good.

        Raises:
            UnsoundError: one is not.
        """
        if not good.all():
            worst = int(np.argmin(good))
            number = self.numbers[worst if row is None else row[worst]]
            raise UnsoundError(f"{self.what} is damaged: page {number} is not what was written")


def _nodes(rows: NDArray[np.uint8], piece: _Piece, is_leaf: bool) -> _Nodes:
    """The nodes of some pages.

    Raises:
        UnsoundError: a page is not what it should be, or its nodes do not fill it as LMDB fills it.
    """
    size, words = rows.shape[1], rows.view(np.uint16)
    lower, upper = words[:, 6].astype(np.int64), words[:, 7].astype(np.int64)
    own, flags = rows.view(np.uint64)[:, 0], words[:, 5]
    good = (own == piece.numbers) & (flags == (LEAF if is_leaf else BRANCH)) & (lower % 2 == 0)
    piece.require(good & (lower > PAGE_HEAD) & (lower <= upper) & (upper <= size))
    count = (lower - PAGE_HEAD) // 2
    offsets = words[:, PAGE_HEAD // 2 : PAGE_HEAD // 2 + count.max()].astype(np.int64)
    row, column = np.nonzero(np.arange(offsets.shape[1]) < count[:, None])
    start = offsets[row, column]
    piece.require((start % 2 == 0) & (start >= upper[row]) & (start + _NODE_HEAD <= size), row)
    flat, at = words.reshape(-1), (row * size + start) // 2
    low, high, kinds, key = (flat[at + place].astype(np.int64) for place in range(4))
    value = low | high << 16
    taken = _NODE_HEAD + key
    if is_leaf:
        piece.require(kinds <= _IS_TREE, row)
        taken += np.where(kinds == _IS_BIG, 8, value)
    piece.require(_fill(row, start, taken + taken % 2, upper, size), np.sort(row))
    return _Nodes(row, start, key, kinds, value, value.astype(np.uint64))


def _fill(row: _Ints, start: _Ints, taken: _Ints, upper: _Ints, size: int) -> NDArray[np.bool_]:
    """Of each node, by page and place: whether it ends where the next one of its page begins, or the page ends."""
    order = np.lexsort((start, row))
    row, start, end = row[order], start[order], (start + taken)[order]
    is_last = np.append(row[1:] != row[:-1], True)
    is_first = np.append(True, is_last[:-1])
    following = np.where(is_last, size, np.append(start[1:], size))
    good: NDArray[np.bool_] = (end == following) & (~is_first | (start == upper[row]))
    return good


def _content(numbers: _Ints, nodes: _Nodes, rows: NDArray[np.uint8], at: int) -> tuple[bytes, bytes]:
    """A node's key, and its value, or the number of the big page that has it."""
    start = int(nodes.start[at]) + _NODE_HEAD
    middle = start + int(nodes.key[at])
    end = middle + (8 if nodes.flags[at] == _IS_BIG else int(nodes.size[at]))
    page = rows[nodes.row[at]]
    return page[start:middle].tobytes(), page[middle:end].tobytes()


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
