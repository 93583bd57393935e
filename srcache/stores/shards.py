"""A store of tar files in WebDataset's form, for many writers, network file systems and other programs.

    DIR/00000000-1a2b3c4d.tar             a complete shard: `{key}-{sample}.png` and `.json` for each entry
    DIR/00000000-1a2b3c4d.tar.idx         where its entries lie
    DIR/00000001-5e6f7a8b.tar.partial     a shard that is being written
    DIR/table.idx                         where all entries of complete shards lie, sorted

A shard is complete when it has its final name, and never changes. Where two shards hold one name, the lower one wins,
so writers one after another never change what a name means; writers side by side may both make it, and a store that is
open keeps to the shard that it first knew. A name that is not found makes the store look at the folder again, at most
once a second. What shards that are being written hold by now is read too.

Shards are mapped into memory where they are on this machine. On a network file system, where a file that shrinks would
end the process, they are read, and the table is kept in the user's own folder.
"""

import heapq
import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from srcache.errors import CacheError, DamagedError
from srcache.files import disk_errors
from srcache.machine import NETWORK, file_system
from srcache.stores import tar
from srcache.stores.interface import Entry, Record, StoreOptions
from srcache.stores.shard_index import Place, Shard, Table, merge_tables, name_of, packed_key, packed_name
from srcache.stores.shard_members import Found, entries_of, read_payload, read_record, recipe_of
from srcache.stores.shard_tables import folder_table, shard_table
from srcache.stores.shard_writer import ShardWriter, is_partial, is_shard

_T = TypeVar("_T")
_LOOK_EVERY = 1.0
"""Seconds between two looks at a folder in which a name was not found."""

_MOST_FILES = 256
"""Shards that are open at once; that which has been open for longest is closed first."""

_PIECE = 10_000


class ShardsStore:
    """Entries in tar files; see `srcache.stores.Store`. Safe in threads, under fork and spawn, and when pickled."""

    def __init__(self, path: Path, options: StoreOptions) -> None:
        self._path, self._options = Path(path), options
        self._lock = threading.RLock()
        self._pid, self._due, self._on_network = 0, 0.0, False
        self._tables: list[Table] = []
        self._files: dict[str, _File] = {}
        self._partials: dict[str, _Partial] = {}
        self._writer = ShardWriter(self._path, options)
        _STORES.add(self)
        if options.writable:
            with disk_errors(self._path):
                self._path.mkdir(parents=True, exist_ok=True)
        elif not self._path.is_dir():
            raise CacheError(f"expected shards in {self._path}, but it is not there; was anything built yet?")
        self._reset()
        self._look()
        self._require_recipe()

    def __reduce__(self) -> tuple[type["ShardsStore"], tuple[Path, StoreOptions]]:
        return type(self), (self._path, self._options)

    def put_many(self, entries: Iterable[Entry]) -> int:
        """See `Store.put_many`."""
        if not self._options.writable:
            raise CacheError(f"{self._path} was opened for reading; open it with writable=True to add entries")
        batch: dict[str, Entry] = {}
        for entry in entries:
            batch.setdefault(entry.name, entry)
        with self._lock:
            wanted = [entry for entry in batch.values() if not self.has(entry.name)]
            new = self._writer.append(wanted) if wanted else []
            if self._writer.is_full:
                self._seal()
        return len(new)

    def get(self, name: str) -> bytes | None:
        """See `Store.get`."""
        return self._found(name, read_payload)

    def record(self, name: str) -> Record | None:
        """See `Store.record`."""
        return self._found(name, read_record)

    def has(self, name: str) -> bool:
        """See `Store.has`."""
        packed = packed_name(name)
        if packed is None:
            return False
        with self._lock:
            return self._find(packed) is not None

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Store.names`."""
        with self._lock:
            self._own_process()
            self._look()
            parts: list[Iterable[str]] = [_table_names(table, prefix) for table in self._tables]
            parts += [sorted(map(name_of, found)) for found in (self._writer.found, *self._partial_entries())]
        last = None
        for name in heapq.merge(*parts):
            if name != last and name.startswith(prefix):
                yield name
            last = name

    def __len__(self) -> int:
        """See `Store.__len__`."""
        with self._lock:
            self._own_process()
            self._look()
            more = {name for found in (self._writer.found, *self._partial_entries()) for name in found}
            if len(self._tables) > 1:
                self._tables = [merge_tables(self._tables)]
            (table,) = self._tables
            return len(table) + sum(table.place(name) is None for name in more)

    def resolve(self, alias: str) -> str | None:
        """See `Store.resolve`."""
        packed = packed_key(alias)
        if packed is None:
            return None
        with self._lock:
            self._own_process()
            for turn in range(2):
                for table in self._tables:
                    if (key := table.resolve(packed)) is not None:
                        return key.hex()
                for found in (self._writer.aliases, *(partial.aliases for partial in self._partials.values())):
                    if alias in found:
                        return found[alias]
                if turn or not self._is_due():
                    break
                self._look()
        return None

    def view(self) -> AbstractContextManager["ShardsStore"]:
        """See `Store.view`."""
        return nullcontext(self)

    def close(self) -> None:
        """See `Store.close`; a shard in hand is sealed. A later call opens the files again."""
        with self._lock:
            if self._pid == os.getpid():
                self._seal()
                if self._options.writable and self._path.is_dir():
                    folder_table(self._path, self._listing()[0])
                self._forget()
            self._reset()

    def _require_recipe(self) -> None:
        """Refuse a store whose first entry was made by another recipe.

        Raises:
            DamagedError: it was.
        """
        wanted, name = self._options.fingerprint, next(self.names(), None)
        noted = self._found(name, recipe_of) if wanted is not None and name is not None else None
        if noted not in (None, wanted):
            raise DamagedError(
                f"{self._path} holds images by recipe {noted}, but lies in the folder of {wanted}; "
                "put it back where it belongs, or remove it and run `srcache build`"
            )

    def _found(self, name: str, read: Callable[[tar.Read, str, Place, str], _T]) -> _T | None:
        """What a function reads of an entry, or None; where files have moved meanwhile, after another look."""
        packed = packed_name(name)
        if packed is None:
            return None
        with self._lock:
            for turn in range(2):
                found = self._find(packed)
                if found is None:
                    return None
                shard, place = found
                try:
                    return read(self._reader(shard), name, place, shard)
                except (DamagedError, FileNotFoundError) as error:
                    if turn or not (is_partial(shard) or isinstance(error, FileNotFoundError)):
                        raise _gone(error, self._path / shard) from error
                    self._forget()
        return None

    def _find(self, name: bytes) -> tuple[str, Place] | None:
        """The shard that holds an entry, and where in it."""
        self._own_process()
        found = self._known(name)
        if found is None and self._is_due():
            self._look()
            found = self._known(name)
        return found

    def _known(self, name: bytes) -> tuple[str, Place] | None:
        for table in self._tables:
            place = table.place(name)
            if place is not None:
                shard = table.shards[place.shard]
                if place.offset + place.size > shard.size:
                    raise DamagedError(f"the index of {shard.name} is damaged; `srcache repair` makes it again")
                return shard.name, place
        one = self._writer.found.get(name)
        if one is not None and self._writer.name is not None:
            return self._writer.name, one.place
        for title, partial in self._partials.items():
            if name in partial.found:
                return title, partial.found[name].place
        return None

    def _reader(self, shard: str) -> tar.Read:
        if (known := self._files.get(shard)) is not None:
            return known.read
        if shard == self._writer.name:
            return self._writer.read
        if shard in self._partials:
            return self._partials[shard].read
        opened = self._files[shard] = _File(self._path / shard, mapped=not self._on_network)
        if len(self._files) > _MOST_FILES:
            self._files.pop(next(iter(self._files))).close()
        return opened.read

    def _is_due(self) -> bool:
        return time.monotonic() >= self._due

    def _look(self) -> None:
        """Take in what the folder holds now: shards that were sealed since, and what partial ones hold by now."""
        self._due = time.monotonic() + _LOOK_EVERY
        sealed, partial = self._listing()
        known = {shard for table in self._tables for shard in table.shards}
        if not self._tables or not known <= set(sealed):
            self._tables = [folder_table(self._path, sealed)]
        elif fresh := [shard for shard in sealed if shard not in known]:
            parts = [shard_table(self._path, shard) for shard in fresh]
            self._tables.append(merge_tables(parts, lowest_wins=True))
            while len(self._tables) > 1 and len(self._tables[-2]) <= 2 * len(self._tables[-1]):
                self._tables[-2:] = [merge_tables(self._tables[-2:])]
        for shard in set(self._partials) - set(partial):
            self._partials.pop(shard).close()
        for shard in partial:
            with suppress(FileNotFoundError):
                if shard not in self._partials:
                    self._partials[shard] = _Partial(self._path / shard)
                self._partials[shard].look()

    def _listing(self) -> tuple[list[Shard], list[str]]:
        """Complete shards, and those that others are writing, by name."""
        if not self._path.is_dir():
            return [], []
        with os.scandir(self._path) as entries:
            files = sorted((entry for entry in entries if entry.is_file()), key=lambda entry: entry.name)
            sealed = [Shard(entry.name, entry.stat().st_size) for entry in files if is_shard(entry.name)]
        others = [entry.name for entry in files if is_partial(entry.name) and entry.name != self._writer.name]
        return sealed, others

    def _partial_entries(self) -> list[dict[bytes, Found]]:
        return [partial.found for partial in self._partials.values()]

    def _seal(self) -> None:
        shard = self._writer.seal()
        if shard is not None:
            self._look()

    def _own_process(self) -> None:
        """After a fork, open everything anew: a shard in hand is the parent's."""
        if self._pid != os.getpid():
            self._reset()
        if not self._tables:
            self._look()

    def _forget(self) -> None:
        """Drop what is known of files, for they have changed."""
        for file in self._files.values():
            file.close()
        for partial in self._partials.values():
            partial.close()
        self._files.clear()
        self._partials.clear()
        self._tables = []

    def _reset(self) -> None:
        self._pid, self._due = os.getpid(), 0.0
        self._on_network = file_system(self._path) in NETWORK
        self._tables, self._files, self._partials = [], {}, {}
        self._writer = ShardWriter(self._path, self._options)


_STORES: "weakref.WeakSet[ShardsStore]" = weakref.WeakSet()


def _after_fork() -> None:
    """A lock that another thread held at the fork is held for ever in the child."""
    for store in _STORES:
        store._lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class _File:
    """A complete shard that is open for reading."""

    def __init__(self, path: Path, *, mapped: bool) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._map = mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ) if mapped else None

    def read(self, amount: int, offset: int) -> bytes:
        """So many bytes from there."""
        if self._map is not None:
            return self._map[offset : offset + amount]
        return os.pread(self._handle, amount, offset)

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
        os.close(self._handle)


class _Partial:
    """A shard that somebody is writing, as far as its entries are complete."""

    def __init__(self, path: Path) -> None:
        self._path, self._end = path, 0
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.found: dict[bytes, Found] = {}
        self.aliases: dict[str, str] = {}

    def read(self, amount: int, offset: int) -> bytes:
        """So many bytes from there."""
        return os.pread(self._handle, amount, offset)

    def look(self) -> None:
        """Take in entries that came since."""
        size = os.fstat(self._handle).st_size
        with suppress(DamagedError):  # the end of what is being written
            for one in entries_of(self.read, size, str(self._path), self._end):
                self.found.setdefault(one.name, one)
                self._end = one.end
                self.aliases.update({alias: one.name[:16].hex() for alias in one.aliases if alias not in self.aliases})

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


def _table_names(table: Table, prefix: str) -> Iterator[str]:
    """The names of a table from a prefix on, as far as they may begin so."""
    first = table.lower(_least(prefix))
    while names := table.names(first, first + _PIECE):
        for packed in names:
            name = name_of(packed)
            if not name.startswith(prefix) and name > prefix:
                return
            yield name
        first += len(names)


def _least(prefix: str) -> bytes:
    """The smallest packed name that could begin so."""
    digits = prefix[:32].ljust(32, "0")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return b""


def _gone(error: Exception, path: Path) -> DamagedError:
    return error if isinstance(error, DamagedError) else DamagedError(f"{path} was there a moment ago, and is gone")
