"""The promises of a store, one function each; `srcache.conformance` runs them.

A cache stands on these promises: what is there is never computed again and never changes, so the first write of a name
must win; a crash must leave complete batches only; and what a reader gets must be, bit for bit, what was put.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Barrier
from typing import Any

from srcache.errors import ConformanceError
from srcache.keys import ImageKey, entry_name, image_key
from srcache.stores import Entry, Store

_RECORD: dict[str, Any] = {
    "key": 'größer “clean” 日本 \n\t\\"\u2028',
    "seed": 2**64 - 1,
    "sample": 0,
    "milliseconds": 0.1,
    "size": [512, 1],
    "notes": {"tags": ["a", None], "empty": {}, "deep": [[[-1e-300]]]},
    "ok": True,
    "nothing": None,
}
_LARGE = 5_000_000


@dataclass(frozen=True, kw_only=True)
class StoreTrial:
    """How to open stores under test: one per name; the same name opens the same store, if it is `persistent`."""

    open: Callable[[str], Store]
    persistent: bool
    numbers: Iterator[int]

    @contextmanager
    def fresh(self) -> Iterator[tuple[str, Store]]:
        """A store that was never written to, and its name."""
        name = f"store{next(self.numbers)}"
        with closing(self.open(name)) as store:
            yield name, store


def store_trial(open_one: Callable[[str], Store], persistent: bool) -> StoreTrial:
    """A trial that has used no name yet."""
    return StoreTrial(open=open_one, persistent=persistent, numbers=count())


def some_entries(amount: int, first: int = 0) -> list[Entry]:
    """Entries with different keys, payloads and aliases, in no special order."""
    return [_entry(number) for number in range(first, first + amount)]


def _entry(number: int, payload: bytes | None = None, sample: int = 0) -> Entry:
    key = image_key(f"image {number}".encode())
    data = f"payload {number}".encode() * (1 + number % 50) if payload is None else payload
    record = {"key": key, "sample": sample, "checksum": image_key(data)}
    return Entry(entry_name(key, sample), data, record, (_alias(number),))


def _alias(number: int) -> ImageKey:
    return image_key(f"alias {number}".encode())


_NO_NAMES = ("", "\0", "a\0b", "\udcff.png", "\ud800", "ü" * 300, "../" * 400, "a" * 5000)
"""Empty, with zeros, no UTF-8, and longer than any."""


def _empty(trial: StoreTrial) -> None:
    """A new store holds no names, no entries, no records and no aliases."""
    name = _entry(0).name
    with trial.fresh() as (_, store):
        _expect(list(store.names()), [], "names of a new store")
        _expect((store.get(name), store.record(name), store.resolve(name)), (None,) * 3, "what a new store knows")
        _expect((store.has(name), len(store)), (False, 0), "whether a new store has an entry, and how many")


def _bytes(trial: StoreTrial) -> None:
    """A payload comes back as it was, as bytes: empty, one byte, all bytes, 5 MB."""
    payloads = [b"", b"\0", bytes(range(256)) * 3, bytes(range(251)) * (_LARGE // 251)]
    entries = [_entry(number, payload) for number, payload in enumerate(payloads)]
    with trial.fresh() as (_, store):
        _expect(store.put_many(entries), len(entries), "entries that were new")
        for entry in entries:
            got = store.get(entry.name)
            if type(got) is not bytes or got != entry.payload:
                raise ConformanceError(f"a payload of {len(entry.payload)} bytes came back as {_short(got)}")


def _borrowed(trial: StoreTrial) -> None:
    """Changing a record after it was put, or one that was got, changes nothing in the store."""
    with trial.fresh() as (_, store):
        record: dict[str, Any] = {"list": [1]}
        entry = Entry(_entry(0).name, b"x", record)
        store.put_many([entry])
        record["list"].append(2)
        (store.record(entry.name) or {})["list"] = 3
        _expect(store.record(entry.name), {"list": [1]}, "the record, after others changed their copies")


def _records(trial: StoreTrial) -> None:
    """A record comes back as plain JSON values: numbers of 64 bits, any text, nested lists and mappings."""
    with trial.fresh() as (_, store):
        entry = Entry(_entry(0).name, b"x", _RECORD)
        store.put_many([entry])
        got = store.record(entry.name)
        _expect(json.dumps(got, sort_keys=True), json.dumps(_RECORD, sort_keys=True), "the record")


def _first_write(trial: StoreTrial) -> None:
    """The first write of a name wins, payload and record, within a batch and later."""
    first, second = _entry(0, b"first"), Entry(_entry(0).name, b"second", {"second": True})
    with trial.fresh() as (_, store):
        _expect(store.put_many([first, second]), 1, "new names among two entries of one name")
        _expect(store.put_many([second, _entry(1)]), 1, "new names among an old one and a new one")
        _expect((store.get(first.name), store.record(first.name)), (b"first", dict(first.record)), "the entry")


def _all_or_none(trial: StoreTrial) -> None:
    """A batch that cannot be put completely leaves nothing behind."""

    def torn() -> Iterator[Entry]:
        yield _entry(1)
        raise _TornError

    with trial.fresh() as (_, store):
        store.put_many([_entry(0)])
        for batch in (torn(), [_entry(1), Entry(_entry(2).name, b"x", {"no": object()})]):
            try:
                store.put_many(batch)
            except (_TornError, TypeError, ValueError):
                continue
            raise ConformanceError("a batch with a record that is not JSON was put without an error")
        _expect(list(store.names()), [_entry(0).name], "names after two batches that failed")
        _expect((store.get(_entry(1).name), store.resolve(_alias(1))), (None, None), "what the failed batches left")
        _expect(store.put_many([_entry(1)]), 1, "new names in the next batch")


def _names(trial: StoreTrial) -> None:
    """Names come sorted and once each, all of them or those with a prefix."""
    entries = some_entries(300)
    entries += [_entry(7, sample=sample) for sample in (2, 1, 999)]
    names = sorted(entry.name for entry in entries)
    with trial.fresh() as (_, store):
        for start in range(0, len(entries), 50):
            store.put_many(entries[start : start + 50])
        _expect(list(store.names()), names, "all names")
        for prefix in ("", "0", "ab", f"{entries[7].name[:32]}-", entries[7].name, "~", "g"):
            _expect(list(store.names(prefix)), [n for n in names if n.startswith(prefix)], f"names from {prefix!r}")


def _having(trial: StoreTrial) -> None:
    """`has` and `len` agree with the names, for samples of one key too; an alias is no entry."""
    entries = [*some_entries(40), _entry(7, sample=2)]
    with trial.fresh() as (_, store):
        for start in range(0, len(entries), 9):
            store.put_many(entries[start : start + 9])
            _expect(len(store), len(list(store.names())), "how many entries there are")
        asked = [entries[3].name, entries[-1].name, _entry(7, sample=1).name, _alias(3), entries[3].name[:32], ""]
        _expect([store.has(name) for name in asked], [True, True, False, False, False, False], "which names it has")


def _names_and_writes(trial: StoreTrial) -> None:
    """While the names are iterated the store may be written to; every name that was there before is seen."""
    with trial.fresh() as (_, store):
        store.put_many(some_entries(20))
        before, seen = set(store.names()), []
        for number, name in enumerate(store.names()):
            seen.append(name)
            store.put_many([_entry(1000 + number)])
            if number > 100:
                break
        _expect(before - set(seen), set(), "names that a walk missed")


def _aliases(trial: StoreTrial) -> None:
    """An alias stands for the lowest key of the entries that had it, whatever order they came in, together or one after
    the other; keys and unknown words stand for nothing.
    """
    low, high = sorted(_entry(number).name for number in (0, 3))
    first, second = Entry(low, b"x", {}, (_alias(1), _alias(2))), Entry(high, b"y", {}, (_alias(2), _alias(4)))
    for batches in ([[first], [second]], [[second], [first]], [[second, first]]):
        with trial.fresh() as (_, store):
            for batch in batches:
                store.put_many(batch)
            with store.view() as view:
                seen = [view.resolve(_alias(number)) for number in (1, 2, 4, 5)]
            got = [store.resolve(_alias(number)) for number in (1, 2, 4, 5)]
            _expect(got, [low[:32], low[:32], high[:32], None], "what the aliases stand for")
            _expect(seen, got, "what the aliases stand for in a view")
            _expect(store.resolve(low[:32]), None, "what a key stands for")
            _expect(store.resolve(""), None, "what an empty alias stands for")


def _nothing(trial: StoreTrial) -> None:
    """An empty batch is no error, and neither is a name that none can have: it is not there."""
    with trial.fresh() as (_, store):
        _expect(store.put_many([]), 0, "new names in an empty batch")
        store.put_many(some_entries(3))
        for name in _NO_NAMES:
            with store.view() as view:
                found = store.get(name), store.record(name), store.resolve(name), view.get(name), view.resolve(name)
            _expect((*found, store.has(name)), (None,) * 5 + (False,), f"what the name {name[:9]!r} means")
        _expect(list(store.names("\udcff")), [], "names with a prefix that is no UTF-8")


def _threads(trial: StoreTrial) -> None:
    """Threads that write the same and read: every name is new once, and what is read is right."""
    entries, together = some_entries(60), Barrier(4, timeout=60)

    def work(turn: int) -> int:
        together.wait()
        mine = entries[turn * 7 :] + entries[: turn * 7]
        new = sum(store.put_many(mine[start : start + 9]) for start in range(0, len(mine), 9))
        wrong = [entry.name for entry in entries if store.get(entry.name) != entry.payload]
        _expect(wrong, [], "entries that a thread read wrongly")
        return new

    with trial.fresh() as (_, store), ThreadPoolExecutor(4) as pool:
        _expect(sum(pool.map(work, range(4))), len(entries), "new names over all threads")


def _viewing(trial: StoreTrial) -> None:
    """A view gives what `get` and `resolve` give, to several threads at once, while others are writing."""
    entries, together = some_entries(60), Barrier(3, timeout=60)

    def look(_: int) -> None:
        together.wait()
        for start in range(0, len(entries), 7):
            with store.view() as view:
                got = [bytes(view.get(entry.name) or b"") for entry in entries[start : start + 7]]
                _expect(got, [entry.payload for entry in entries[start : start + 7]], "payloads in a view")
                names = [*(entry.name for entry in entries[start : start + 7]), _entry(10**6).name, ""]
                for many in (view.get_many(names), view.get_many(names, [number % 2 for number in range(len(names))])):
                    _expect([one and bytes(one) for one in many], [*got, None, None], "payloads of many names")
                _expect(view.resolve(_alias(start)), entries[start].name[:32], "an alias in a view")
                unknown = (view.get(_entry(10**6).name), view.get(""), view.resolve(_alias(10**6)), view.resolve(""))
                _expect(unknown, (None,) * 4, "what a view knows of names that were never put")

    def write() -> None:
        together.wait()
        for number in range(1000, 1040):
            store.put_many([_entry(number)])

    with trial.fresh() as (_, store), ThreadPoolExecutor(3) as pool:
        store.put_many(entries)
        for done in [pool.submit(write), *(pool.submit(look, turn) for turn in range(2))]:
            done.result()


def _closing(trial: StoreTrial) -> None:
    """Closing twice is harmless."""
    with trial.fresh() as (_, store):
        store.put_many([_entry(0)])
        store.close()
        store.close()


def _opening_again(trial: StoreTrial) -> None:
    """What was put is there when the store is opened again, and the first write still wins."""
    if not trial.persistent:
        return
    entries = some_entries(20)
    with trial.fresh() as (name, store):
        store.put_many(entries)
        store.close()
        with closing(trial.open(name)) as again:
            _expect(list(again.names()), sorted(entry.name for entry in entries), "names after opening again")
            _expect(
                [again.get(one.name) for one in entries], [one.payload for one in entries], "payloads, opened again"
            )
            _expect(again.record(entries[3].name), dict(entries[3].record), "a record, opened again")
            _expect(again.resolve(_alias(3)), entries[3].name[:32], "an alias, opened again")
            _expect(again.put_many([Entry(entries[0].name, b"other", {})]), 0, "new names in a second write")


STORE_CHECKS: tuple[Callable[[StoreTrial], None], ...] = (
    _empty,
    _bytes,
    _borrowed,
    _records,
    _first_write,
    _all_or_none,
    _names,
    _having,
    _names_and_writes,
    _aliases,
    _nothing,
    _threads,
    _viewing,
    _closing,
    _opening_again,
)
"""In order; each raises ConformanceError if the promise in its docstring is broken."""


class _TornError(Exception):
    """Raised by a batch in its middle."""


def _expect(got: Any, wanted: Any, what: str) -> None:
    if got != wanted:
        raise ConformanceError(f"{what}: expected {_short(wanted)}, but got {_short(got)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
