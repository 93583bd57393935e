"""Stores: names to bytes. The first write of a name wins.

A store keeps, for each entry, the bytes of an image file and a small JSON record, and beside them aliases: other keys
(of pixels in memory) under which an image may be asked for. `conformance.check_store` says what every store must do.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from srcache.errors import CacheError

Record = dict[str, Any]
"""What is known about an entry, as plain JSON values; `checksum` is the payload's key."""

KINDS = ("lmdb",)
"""Stores that a cache directory can be made of; `memory` lives only as long as its process."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One SR image: its name, an image file's bytes, its record, and other keys that mean the same source image."""

    name: str
    payload: bytes
    record: Mapping[str, Any]
    aliases: tuple[str, ...] = field(default=())


class Store(Protocol):
    """Names to bytes. The first write of a name wins; what `put_many` returned from survives a crash."""

    def put_many(self, entries: Iterable[Entry]) -> int:
        """Commit entries, all or none; returns how many names were new.

        Raises:
            DiskFullError: they did not fit; what was committed before is untouched.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """The payload of a name, or None."""
        ...

    def record(self, name: str) -> Record | None:
        """The record of a name, or None."""
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """All names that start so, sorted."""
        ...

    def resolve(self, alias: str) -> str | None:
        """The image key that an alias stands for, or None."""
        ...

    def close(self) -> None:
        """Let go of files; closing twice is harmless."""
        ...


def open_store(kind: str, path: Path, *, writable: bool = False) -> Store:
    """Open a store of a kind; a writable one is made if it is not there.

    Raises:
        CacheError: no such kind, or nothing there to read.
        DamagedError: the files are not what was written.
        MachineError: no room or no permission.
    """
    makers = {"lmdb": "LmdbStore", "memory": "MemoryStore"}
    if kind not in makers:
        raise CacheError(f"no store is named {kind!r}; this srcache knows {', '.join(makers)}")
    make: Callable[..., Store] = getattr(import_module(f"srcache.stores.{kind}"), makers[kind])
    return make(path, writable=writable)
