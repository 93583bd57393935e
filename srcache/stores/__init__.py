"""Stores: names to bytes. The first write of a name wins.

A store keeps, for each entry, the bytes of an image file and a small JSON record, and beside them aliases: other keys
(of pixels in memory) under which an image may be asked for. `conformance.check_store` says what every store must do.
"""

from importlib import import_module
from pathlib import Path

from srcache.errors import CacheError
from srcache.stores.grouping import Group as Group
from srcache.stores.interface import Entry as Entry
from srcache.stores.interface import Problem as Problem
from srcache.stores.interface import Record as Record
from srcache.stores.interface import Salvage as Salvage
from srcache.stores.interface import Stamped as Stamped
from srcache.stores.interface import Store as Store
from srcache.stores.interface import StoreKind as StoreKind
from srcache.stores.interface import StoreOptions as StoreOptions
from srcache.stores.interface import View as View
from srcache.stores.interface import source_of as source_of
from srcache.stores.records import sides_in as sides_in
from srcache.stores.records import whole as whole
from srcache.stores.records import with_checksums as with_checksums
from srcache.stores.records import xxh3_in as xxh3_in

KINDS = ("lmdb", "shards")
"""The kinds of store that a cache directory can be made of, the default first."""

_HOMES = {"lmdb": "lmdb_kind", "shards": "shards_kind", "memory": "memory"}
"""Every kind, and the module of this package whose `KIND` it is; `memory` lives only as long as its process."""


def store_kind(name: str) -> StoreKind:
    """A kind of store by its name.

    Raises:
        CacheError: there is no such kind.
    """
    if name not in _HOMES:
        raise CacheError(f"no store is named {name!r}; this srcache knows {', '.join(_HOMES)}")
    kind: StoreKind = import_module(f"srcache.stores.{_HOMES[name]}").KIND
    return kind


def open_store(kind: str, path: Path, *, writable: bool = False) -> Store:
    """Open a store of a kind; a writable one is made if it is not there.

    Raises:
        CacheError: no such kind, or nothing there to read.
        DamagedError: the files are not what was written.
        MachineError: no room or no permission.
    """
    return store_kind(kind).open(path, StoreOptions(writable=writable))
