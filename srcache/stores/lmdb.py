"""The default store: one LMDB environment with random access, crash-safe, read by any number of processes.

An entry is there if its image and its record are; where damage left one of them, neither is served.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import lmdb
from xxhash import xxh3_64_hexdigest

from srcache.errors import CacheError, DamagedError
from srcache.stores.interface import Entry, Record
from srcache.stores.lmdb_environment import NAMES_AT_ONCE, Reading, shared_environment
from srcache.stores.records import checksum_error

_NO_NAME = b"-"
"""Asked for where a name is empty, which LMDB refuses; no entry has it."""

XXH3 = b'{"xxh3": "'
"""How a record begins that has a fast checksum, which older ones lack."""


class LmdbStore:
    """See `srcache.stores.Store`. Safe in threads, under fork and spawn, and when pickled."""

    def __init__(
        self, path: Path, *, writable: bool = False, fingerprint: str | None = None, look: bool = False
    ) -> None:
        self._path = Path(path)
        self._writable = writable
        self._environment = shared_environment(self._path)
        self._environment.open(writable, look=look)
        if fingerprint is not None:
            self._environment.require_recipe(fingerprint.encode(), note=writable)

    def __reduce__(self) -> tuple[Callable[..., "LmdbStore"], tuple[Path, bool]]:
        return _unpickled, (self._path, self._writable)

    def put_many(self, entries: Iterable[Entry]) -> int:
        """See `Store.put_many`. Where damage left an entry's image or its record alone, both are written anew."""
        batch = [(entry, entry.name.encode(), json.dumps(entry.record).encode()) for entry in entries]

        def put(transaction: lmdb.Transaction, images: Any, records: Any, aliases: Any) -> int:
            new = 0
            for entry, name, record in batch:
                had_image = not transaction.put(name, entry.payload, overwrite=False, db=images)
                had_record = not transaction.put(name, record, overwrite=False, db=records)
                if had_image and not had_record:
                    transaction.put(name, entry.payload, db=images)
                if had_record and not had_image:
                    transaction.put(name, record, db=records)
                new += not (had_image and had_record)
                key = name.rpartition(b"-")[0]
                for alias in map(str.encode, entry.aliases):
                    known = transaction.get(alias, db=aliases)
                    if known is None or key < bytes(known):
                        transaction.put(alias, key, db=aliases)
            return new

        if not self._writable:
            raise CacheError(f"{self._path} was opened for reading; open it with writable=True to add entries")
        return self._environment.write(put)

    def get(self, name: str) -> bytes | None:
        """See `Store.get`."""
        payload, record = self._environment.entry(_bytes(name))
        if payload is None or record is None:
            return None
        _compare(payload, record, name, self._path)
        return payload

    def record(self, name: str) -> Record | None:
        """See `Store.record`."""
        found = self._environment.get(b"records", _bytes(name))
        try:
            return json.loads(found) if found is not None else None
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"the record of {name} in {self._path} is damaged; run `srcache repair`") from error

    def has(self, name: str) -> bool:
        """See `Store.has`."""
        return self._environment.has(_bytes(name))

    def __len__(self) -> int:
        """See `Store.__len__`."""
        return self._environment.count()

    def resolve(self, alias: str) -> str | None:
        """See `Store.resolve`."""
        found = self._environment.get(b"aliases", _bytes(alias))
        return found.decode("latin-1") if found is not None else None

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Store.names`. Read in pieces, so that a slow caller pins no pages."""
        start, after = _bytes(prefix), False
        while True:
            piece = self._environment.names(start, after, _bytes(prefix))
            yield from (self._decoded(name) for name in piece)
            if len(piece) < NAMES_AT_ONCE:
                return
            start, after = piece[-1], True

    def _decoded(self, name: bytes) -> str:
        try:
            return name.decode()
        except UnicodeDecodeError as error:
            raise DamagedError(
                f"{self._path} holds a name that is none ({name!r}); `srcache repair` saves what is readable"
            ) from error

    @contextmanager
    def view(self) -> Iterator["_LmdbView"]:
        """See `Store.view`: one read transaction, and bytes in the mapped file."""
        with self._environment.reading() as reading:
            yield _LmdbView(reading, self._path)

    def close(self) -> None:
        """See `Store.close`; a later call opens the files again."""
        self._environment.close()


class _LmdbView:
    """See `srcache.stores.View`."""

    def __init__(self, reading: Reading, path: Path) -> None:
        self._reading, self._path = reading, path

    def get(self, name: str) -> bytes | memoryview | None:
        """See `View.get`."""
        return self.get_many([name])[0]

    def get_many(self, names: Sequence[str], trusted: Sequence[int] = ()) -> list[bytes | memoryview | None]:
        """See `View.get_many`."""
        found = self._reading.entries([_bytes(name) or _NO_NAME for name in names])
        for name, (payload, record), is_trusted in zip(names, found, trusted or repeat(0), strict=False):
            if payload is not None and record is not None and not is_trusted:
                _compare(payload, record, name, self._path)
        return [payload if record is not None else None for payload, record in found]

    def resolve(self, alias: str) -> str | None:
        """See `View.resolve`."""
        found = self._reading.alias(_bytes(alias))
        return bytes(found).decode("latin-1") if found is not None else None


def _compare(payload: bytes | memoryview, record: bytes | memoryview, name: str, path: Path) -> None:
    """Compare a payload with the fast checksum in its record, if that has one.

    Raises:
        ChecksumError: they differ.
    """
    head = bytes(record[: len(XXH3) + 16])
    if head.startswith(XXH3) and xxh3_64_hexdigest(payload) != head[len(XXH3) :].decode("latin-1"):
        raise checksum_error(name, path)


def _bytes(name: str) -> bytes:
    """A name to look for, which may be any text; one that is not UTF-8 is not there."""
    return name.encode("utf-8", "surrogatepass")


def _unpickled(path: Path, writable: bool) -> LmdbStore:
    store = LmdbStore.__new__(LmdbStore)
    store._path, store._writable = path, writable
    store._environment = shared_environment(path)
    store._environment.writable |= writable
    return store
