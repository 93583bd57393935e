"""A store in this process's memory: for tests, and for trying things out. Nothing reaches the disk."""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from srcache.errors import CacheError
from srcache.stores.interface import Entry, Problem, Record, Salvage, StoreKind, StoreOptions


class MemoryStore:
    """See `srcache.stores.Store`."""

    def __init__(self, path: Path | None = None, *, writable: bool = True) -> None:
        self._entries: dict[str, tuple[bytes, str]] = {}
        self._aliases: dict[str, str] = {}
        self._lock = threading.Lock()

    def put_many(self, entries: Iterable[Entry]) -> int:
        """See `Store.put_many`."""
        batch = [(entry, json.dumps(entry.record)) for entry in entries]
        with self._lock:
            before = len(self._entries)
            for entry, record in batch:
                if entry.name not in self._entries:
                    self._entries[entry.name] = (bytes(entry.payload), record)
                key = entry.name.rpartition("-")[0]
                for alias in entry.aliases:
                    self._aliases[alias] = min(key, self._aliases.get(alias, key))
            return len(self._entries) - before

    def get(self, name: str) -> bytes | None:
        """See `Store.get`."""
        found = self._entries.get(name)
        return found[0] if found else None

    def record(self, name: str) -> Record | None:
        """See `Store.record`."""
        found = self._entries.get(name)
        return json.loads(found[1]) if found else None

    def has(self, name: str) -> bool:
        """See `Store.has`."""
        return name in self._entries

    def __len__(self) -> int:
        """See `Store.__len__`."""
        return len(self._entries)

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Store.names`."""
        with self._lock:
            found = sorted(name for name in self._entries if name.startswith(prefix))
        yield from found

    def resolve(self, alias: str) -> str | None:
        """See `Store.resolve`."""
        return self._aliases.get(alias)

    def get_many(self, names: Sequence[str], trusted: Sequence[int] = ()) -> list[bytes | memoryview | None]:
        """See `View.get_many`."""
        return [self.get(name) for name in names]

    def view(self) -> AbstractContextManager["MemoryStore"]:
        """See `Store.view`."""
        return nullcontext(self)

    def close(self) -> None:
        """See `Store.close`; the entries stay."""


def _open(path: Path, options: StoreOptions) -> MemoryStore:
    return MemoryStore(path, writable=options.writable)


def _refuse(path: Path) -> None:
    raise CacheError(f"a cache in {path} cannot keep its images in memory; choose another kind of store")


def _check(path: Path) -> Iterator[Problem]:
    return iter(())


def _salvage(path: Path) -> AbstractContextManager[Salvage]:
    raise CacheError(f"a store in memory has no files in {path}")


def _replace(store: Path, new: Path) -> Path:
    raise CacheError(f"a store in memory has no files in {store}")


KIND = StoreKind(
    name="memory",
    codec="qoi",
    misses=True,
    prompt=True,
    open=_open,
    refuse=_refuse,
    check=_check,
    salvage=_salvage,
    replace=_replace,
)
