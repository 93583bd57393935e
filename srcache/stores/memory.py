"""A store in this process's memory: for tests, and for trying things out. Nothing reaches the disk."""

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from srcache.stores import Entry, Record


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
                for alias in entry.aliases:
                    self._aliases.setdefault(alias, entry.name.rpartition("-")[0])
            return len(self._entries) - before

    def get(self, name: str) -> bytes | None:
        """See `Store.get`."""
        found = self._entries.get(name)
        return found[0] if found else None

    def record(self, name: str) -> Record | None:
        """See `Store.record`."""
        found = self._entries.get(name)
        return json.loads(found[1]) if found else None

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Store.names`."""
        with self._lock:
            found = sorted(name for name in self._entries if name.startswith(prefix))
        yield from found

    def resolve(self, alias: str) -> str | None:
        """See `Store.resolve`."""
        return self._aliases.get(alias)

    def close(self) -> None:
        """See `Store.close`; the entries stay."""
