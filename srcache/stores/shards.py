"""A store of tar files in WebDataset's form, for many writers, network file systems and other programs.

    DIR/00000000-1a2b3c4d.tar             a complete shard: `{key}-{sample}.png` and `.json` for each entry
    DIR/00000000-1a2b3c4d.tar.idx         where its entries lie
    DIR/00000001-5e6f7a8b.tar.partial     a shard that is being written
    DIR/table.idx                         where all entries of complete shards lie, sorted

A shard is complete when it has its final name, and never changes. Where two shards hold one name, the lower one wins,
so writers one after another never change what a name means; writers side by side may both make it, and a store that is
open keeps to the shard that it first saw it in. A name that is not found makes the store look at the folder again, at
most once a second. What shards that are being written hold by now is read too.

Shards are mapped into memory where they are on this machine. On a network file system, where a file that shrinks would
end the process, they are read, and the table is kept in the user's own folder.
"""

import heapq
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from srcache.errors import CacheError, DamagedError
from srcache.files import disk_errors
from srcache.stores.interface import Entry, Record, StoreOptions
from srcache.stores.shard_files import OpenShard
from srcache.stores.shard_finish import finish_by_locks
from srcache.stores.shard_folder import ShardFolder
from srcache.stores.shard_home import shard_home
from srcache.stores.shard_index import Place, packed_key, packed_name
from srcache.stores.shard_members import read_payload, read_record, recipe_of
from srcache.stores.shard_names import is_partial
from srcache.stores.shard_writer import ShardWriter

_T = TypeVar("_T")


class ShardsStore:
    """Entries in tar files; see `srcache.stores.Store`. Safe in threads, under fork and spawn, and when pickled."""

    _folder: ShardFolder

    def __init__(self, path: Path, options: StoreOptions) -> None:
        self._path, self._options = Path(path), options
        self._lock, self._held = threading.RLock(), False
        _STORES.add(self)
        if options.writable:
            with disk_errors(self._path):
                self._path.mkdir(parents=True, exist_ok=True)
        self._home = shard_home(self._path)
        if not options.writable and not self._home.exists():
            raise CacheError(f"expected shards in {self._home.place}, but it is not there; was anything built yet?")
        self._reset()
        self._folder.look()
        self._require_recipe()
        if options.take_over is not None:
            self._writer.take_over(options.take_over)

    def __reduce__(self) -> tuple[type["ShardsStore"], tuple[Path, StoreOptions]]:
        return type(self), (self._path, replace(self._options, writer=None, take_over=None))

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
            if full := self._writer.is_full:
                self._folder.seal()
        if full:
            self._home.deliver(finish=False)
        return len(new)

    def get(self, name: str) -> bytes | None:
        """See `Store.get`. The payload is read and compared outside the store's lock."""
        return self._found(name, lambda file, *place: read_payload(file.read, *place))

    def record(self, name: str) -> Record | None:
        """See `Store.record`."""
        return self._found(name, lambda file, *place: read_record(file.read, *place))

    def has(self, name: str) -> bool:
        """See `Store.has`."""
        packed = packed_name(name)
        if packed is None:
            return False
        with self._lock:
            return self._own_folder().find(packed) is not None

    def names(self, prefix: str = "") -> Iterator[str]:
        """See `Store.names`."""
        with self._lock:
            parts = self._own_folder().names(prefix)
        last = None
        for name in heapq.merge(*parts):
            if name != last and name.startswith(prefix):
                yield name
            last = name

    def __len__(self) -> int:
        """See `Store.__len__`."""
        with self._lock:
            return self._own_folder().count()

    def resolve(self, alias: str) -> str | None:
        """See `Store.resolve`."""
        packed = packed_key(alias)
        if packed is None:
            return None
        with self._lock:
            return self._own_folder().resolve(packed)

    def view(self) -> AbstractContextManager["_ShardsView"]:
        """See `Store.view`: bytes in mapped files; on a network file system, bytes that were read."""
        return nullcontext(_ShardsView(self))

    def close(self) -> None:
        """See `Store.close`; a shard in hand is sealed, and so are those that killed writers left, on a local disk.

        A later call opens the files again.
        """
        with self._lock:
            if self._pid == os.getpid():
                self._folder.seal()
                if self._options.writable and self._path.is_dir():
                    finish_by_locks(self._home.spool, self._options)
                    self._home.deliver(finish=True)
                    self._folder.save_table()
            self._reset()

    def _require_recipe(self) -> None:
        """Refuse a store whose first entry was made by another recipe."""
        if self._options.fingerprint is not None and (name := next(self.names(), None)) is not None:
            self._found(name, lambda file, *place: None)

    def _require_own(self, file: OpenShard, name: str, place: Place, shard: str) -> None:
        """Refuse a shard that another recipe's images are in, as the record of one of them says.

        Raises:
            DamagedError: it is one.
        """
        wanted = self._options.fingerprint
        noted = recipe_of(file.read, name, place, shard) if wanted is not None else None
        if noted not in (None, wanted):
            raise DamagedError(
                f"{self._path / shard} holds images by recipe {noted}, but lies in the folder of {wanted}; "
                "put it back where it belongs, or remove it and run `srcache build`"
            )

    def _found(self, name: str, read: Callable[[OpenShard, str, Place, str], _T]) -> _T | None:
        """What a function reads of an entry, or None; where files have moved meanwhile, after another look."""
        packed = packed_name(name)
        if packed is None:
            return None
        for turn in range(2):
            shard = ""
            try:
                with self._lock:
                    folder = self._own_folder()
                    found = folder.find(packed)
                    if found is None:
                        return None
                    shard, place = found
                    file = folder.file(shard)
                if file is None:  # opened outside the lock, for it may have to be fetched
                    file = self._home.open(shard)
                    self._require_own(file, name, place, shard)
                    with self._lock:
                        self._own_folder().keep(shard, file)
                return read(file, name, place, f"{self._home.place}/{shard}")
            except FileNotFoundError as error:
                if turn:
                    raise DamagedError(f"{self._path / shard} was there a moment ago, and is gone") from error
            except DamagedError:
                if turn or not (is_partial(shard) or self._home.drop(shard)):
                    raise
            with self._lock:
                self._own_folder().forget()
        return None

    def _own_folder(self) -> ShardFolder:
        """What is known of the folder; a forked child knows what its parent did, but writes shards of its own."""
        if self._pid != os.getpid():
            known: ShardFolder | None = self._folder if self._held else None
            self._options, self._held = replace(self._options, writer=None, take_over=None), False
            self._reset()
            if known is not None:
                known.hand_to(self._writer)
                self._folder = known
        return self._folder

    def _reset(self) -> None:
        """Begin anew, as a writer of its own."""
        self._pid = os.getpid()
        self._writer = ShardWriter(self._home.spool, self._options, self._home.taken)
        self._folder = ShardFolder(self._home, self._writer)


class _ShardsView:
    """See `srcache.stores.View`."""

    def __init__(self, store: ShardsStore) -> None:
        self._store = store

    def get(self, name: str) -> memoryview | None:
        """See `View.get`."""
        return self._store._found(name, lambda file, *place: read_payload(file.view, *place))

    def get_many(self, names: Sequence[str], trusted: Sequence[int] = ()) -> list[bytes | memoryview | None]:
        """See `View.get_many`."""
        return [self.get(name) for name in names]

    def resolve(self, alias: str) -> str | None:
        """See `View.resolve`."""
        return self._store.resolve(alias)


_STORES: "weakref.WeakSet[ShardsStore]" = weakref.WeakSet()


def _before_fork() -> None:
    """Note of which stores nobody is changing what they know, so that a child can go on with it."""
    for store in list(_STORES):
        store._held = store._lock.acquire(blocking=False)


def _after_fork_in_parent() -> None:
    for store in list(_STORES):
        if store._held:
            store._held = False
            store._lock.release()


def _after_fork_in_child() -> None:
    """A lock that another thread held at the fork is held for ever in the child; a shard in hand is the parent's."""
    for store in list(_STORES):
        store._lock = threading.RLock()
        if store._held:
            store._writer.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
