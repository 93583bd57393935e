"""One process's handle on an LMDB folder, shared by all stores on it.

What LMDB does not forgive is kept in here:

* An environment opened twice in one process, or used across a fork, is an error or worse. Each process therefore keeps
  one `Environment` per folder, shared by all stores on it; before a fork its lock is taken, in the child it is closed,
  and the next call opens it anew. A pickled store is its path.
* A file shorter than its last page in use kills its reader with SIGBUS. It is refused when it is opened, and whenever
  it has become shorter since. So are heads that make no sense, of which LMDB believes every word.
* A damaged tree or list of free pages ends a reader's process, or lets a writer overwrite what is stored. A writer
  looks at all of it first, and so do readers who ask for it (`lmdb_look`).
* The map doubles when it is full, and readers follow.
* Buffers of an open transaction lie in the map, so the map is neither moved nor closed while one is read by another
  thread (`reading`).
* Every commit is synced: batches cost little, and nothing that `put_many` returned from is ever lost. Readers do not
  wait for the disk meanwhile: a commit keeps the map where it is, as they do, and has a lock of its own.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from srcache.errors import CacheError, DamagedError
from srcache.stores.lmdb_errors import translated
from srcache.stores.lmdb_open import DATABASES, State, open_file, refuse_heads, size_of, state_of, unsound
from srcache.stores.lmdb_writers import WritersLock, identity, is_replaced, taken_away

_T = TypeVar("_T")
_ABOUT = b"about"
"""A table that stores of version 0.1 lack: `recipe` → the fingerprint of the recipe that made the images."""

NAMES_AT_ONCE = 10_000


class Environment:
    """This process's one handle on a folder; opened when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writable = False
        self.lock = threading.RLock()
        self._unread = threading.Condition(self.lock)
        self._turn, self.writing = threading.Lock(), threading.Lock()
        self._readers, self._moving = 0, False
        self._env: lmdb.Environment | None = None
        self._open_for_writing = False
        self._file: tuple[int, int] | None = None
        self._writers = WritersLock(path)
        self._dbs: dict[bytes, Any] = {}
        self._handle, self._shortest = -1, 0
        self._sound: State | None = None

    def open(self, writable: bool, *, look: bool = False) -> None:
        """Open now, so that a missing or damaged store is reported at once and a replaced one is opened again.

        Args:
            writable: for writing.
            look: look at all pages that lead to entries, so that reading them cannot end the process.
        """
        with self.lock:
            if self._env is not None and self._file != identity(self.path / "data.mdb"):
                self.close()
            self.writable = self.writable or writable
            env = self._opened(make=writable)
            if look and not self._open_for_writing:
                self._look(env)

    def get(self, database: bytes, key: bytes) -> bytes | None:
        """One value; a few microseconds when its page is in memory."""

        def read(env: lmdb.Environment) -> bytes | None:
            with env.begin(db=self._dbs[database]) as transaction:
                value: bytes | None = transaction.get(key)
                return value

        return self._guarded(read) if key else None

    def entry(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """A payload and its record as bytes; None for what is not there."""

        def read(env: lmdb.Environment) -> tuple[bytes | None, bytes | None]:
            with env.begin() as transaction:
                value: bytes | None = transaction.get(key, db=self._dbs[b"images"])
                return value, transaction.get(key, db=self._dbs[b"records"]) if value is not None else None

        return self._guarded(read) if key else (None, None)

    @contextmanager
    def reading(self) -> Iterator["Reading"]:
        """A read transaction, whose values lie in the mapped file and are valid inside the context."""
        with self.lock:
            transaction = self._guarded(lambda env: env.begin(buffers=True))
            self._readers += 1
        try:
            yield Reading(transaction, self._dbs, self._turn, self.path)
        finally:
            with self.lock:
                transaction.abort()
                self._readers -= 1
                self._unread.notify_all()

    def require_recipe(self, fingerprint: bytes, *, note: bool) -> None:
        """Refuse a store that holds another recipe's images; `note` writes down whose they are, if nobody did.

        Raises:
            DamagedError: it is another recipe's.
        """

        def compare(env: lmdb.Environment) -> bytes | None:
            try:
                about = env.open_db(_ABOUT, create=False)
            except lmdb.NotFoundError:
                return None
            with env.begin(db=about) as transaction:
                found: bytes | None = transaction.get(b"recipe")
                return found

        def write(env: lmdb.Environment) -> None:
            about = env.open_db(_ABOUT)
            with env.begin(db=about, write=True) as transaction:
                transaction.put(b"recipe", fingerprint, overwrite=False)

        found = self._guarded(compare)
        if found is None and note:
            self._guarded(write)
        elif found is not None and found != fingerprint:
            raise DamagedError(
                f"{self.path} holds images by recipe {found.decode('latin-1')}, but lies in the folder of "
                f"{fingerprint.decode()}; put it back where it belongs, or remove it and run `srcache build`"
            )

    def has(self, key: bytes) -> bool:
        """Whether there are a record and an image of a name; their bytes are not copied."""

        def read(env: lmdb.Environment) -> bool:
            with env.begin(buffers=True) as transaction:
                return all(transaction.get(key, db=self._dbs[name]) is not None for name in (b"records", b"images"))

        return bool(key) and self._guarded(read)

    def count(self) -> int:
        """How many records there are; LMDB keeps count."""

        def read(env: lmdb.Environment) -> int:
            with env.begin() as transaction:
                entries: int = transaction.stat(self._dbs[b"records"])["entries"]
                return entries

        return self._guarded(read)

    def names(self, start: bytes, after: bool, prefix: bytes) -> list[bytes]:
        """Up to `NAMES_AT_ONCE` names with a prefix, from `start` on (or after it)."""

        def read(env: lmdb.Environment) -> list[bytes]:
            found: list[bytes] = []
            with env.begin(db=self._dbs[b"records"]) as transaction, transaction.cursor() as cursor:
                more = cursor.set_range(start) if start else cursor.first()
                if more and after and cursor.key() == start:
                    more = cursor.next()
                while more and len(found) < NAMES_AT_ONCE and cursor.key().startswith(prefix):
                    found.append(cursor.key())
                    more = cursor.next()
            return found

        return self._guarded(read)

    def write(self, act: Callable[..., _T]) -> _T:
        """Run `act(transaction, images, records, aliases)` in one synced transaction, growing the map as needed.

        Readers do not wait for it: only what moves or closes the map does. Where the file was replaced by another
        process, the new one is written to.

        Raises:
            MachineError: the file was taken away.
        """
        with self.writing:
            while True:
                try:
                    with self._in_use() as env, env.begin(write=True) as transaction:
                        if not is_replaced(self.path / "data.mdb", self._file):
                            return act(transaction, *(self._dbs[name] for name in DATABASES))
                    self.close()
                except lmdb.MapFullError:
                    self._guarded(lambda env: self._resize(env, 2 * env.info()["map_size"]))
                except lmdb.MapResizedError:
                    self._guarded(lambda env: self._resize(env, 0))
                except (lmdb.Error, MemoryError) as error:
                    self.close()
                    raise translated(error, self.path) from error

    def close(self) -> None:
        """Close the files; the next call opens them again, for reading if it only reads."""
        with self.lock:
            self._drop()
            self.writable = False

    def forget(self) -> None:
        """In a forked child: drop what the parent opened."""
        self.lock = threading.RLock()
        self._unread = threading.Condition(self.lock)
        self._turn, self.writing = threading.Lock(), threading.Lock()
        self._readers, self._moving = 0, False
        self.close()

    @contextmanager
    def _in_use(self) -> Iterator[lmdb.Environment]:
        """The environment, open for writing; inside, nobody moves or closes the map, but others may read."""
        with self.lock:
            self.writable = True
            self._unread.wait_for(lambda: not self._moving)
            env = self._opened()
            self._readers += 1
        try:
            yield env
        finally:
            with self.lock:
                self._readers -= 1
                self._unread.notify_all()

    def _resize(self, env: lmdb.Environment, size: int) -> None:
        with self._unmapped():
            env.set_mapsize(size)

    @contextmanager
    def _unmapped(self) -> Iterator[None]:
        """Wait until no thread reads in the map, and keep others out: inside, it may be moved or closed."""
        self._moving = True
        try:
            self._unread.wait_for(lambda: self._readers == 0)
            yield
        finally:
            self._moving = False
            self._unread.notify_all()

    def _drop(self) -> None:
        if self._env is not None:
            with self._unmapped():
                self._env.close()
        if self._handle >= 0:
            os.close(self._handle)
        self._env, self._dbs, self._handle = None, {}, -1
        self._writers.release()

    def _guarded(self, act: Callable[[lmdb.Environment], _T]) -> _T:
        with self.lock:
            self._unread.wait_for(lambda: not self._moving)
            env = self._opened()
            self._refuse_shortened()
            try:
                return self._following(env, lambda: act(env))
            except (lmdb.Error, MemoryError) as error:
                self.close()  # where growing failed nothing is mapped any more, and the next access would kill us
                raise translated(error, self.path) from error

    def _opened(self, make: bool = False) -> lmdb.Environment:
        if self._env is not None and (self._open_for_writing or not self.writable):
            return self._env
        self._drop()
        data = self.path / "data.mdb"
        if not make and size_of(data) == 0:
            if self.writable:
                self.writable = False
                raise taken_away(self.path)
            raise CacheError(f"expected an LMDB store in {self.path}, but it has no data.mdb; was anything built yet?")
        try:
            if self.writable:
                self.path.mkdir(parents=True, exist_ok=True)
                self._writers.hold()
            if size_of(data):
                refuse_heads(data)
            env = open_file(self.path, self.writable)
            self._env, self._open_for_writing, self._file = env, self.writable, identity(data)
            self._handle = os.open(data, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self._shortest = os.fstat(self._handle).st_size
            if self.writable:
                self._look(env)
            self._following(env, lambda: self._dbs.update({n: env.open_db(n, create=self.writable) for n in DATABASES}))
        except (lmdb.Error, OSError, MemoryError) as error:
            self.close()
            raise translated(error, self.path) from error
        return env

    def _following(self, env: lmdb.Environment, act: Callable[[], _T]) -> _T:
        """Act; where another process has made the map larger in the meantime, follow it and act again."""
        while True:
            try:
                return act()
            except lmdb.MapResizedError:
                self._resize(env, 0)

    def _look(self, env: lmdb.Environment) -> None:
        """Refuse a store of which a page is not what it should be, or is in use and free at once.

        A state that this process found sound is not looked at again: a study opens the same cache for every arm.
        """
        data = self.path / "data.mdb"
        state = state_of(env, data)
        try:
            wrong = self._following(env, lambda: unsound(env, data, trees=state != self._sound))
        except DamagedError:
            self._drop()
            raise
        if wrong is not None:
            self._drop()
            raise wrong
        self._sound = state

    def _refuse_shortened(self) -> None:
        """Refuse a file that was cut off since it was opened: LMDB never does that, and a read would end the process.

        Raises:
            DamagedError: it was.
        """
        if (size := os.fstat(self._handle).st_size) >= self._shortest:
            self._shortest = size
            return
        shortest = self._shortest
        self.close()
        raise DamagedError(
            f"{self.path / 'data.mdb'} was cut off while it was open: it had {shortest} bytes, and has {size}; "
            "`srcache repair` saves what is readable"
        )


class Reading:
    """Looks up values in one read transaction.

    LMDB lets other Python threads run at every look-up, and in return waits for them. So those who look up many at
    once take turns: one waits for the other once, not at every name.
    """

    def __init__(
        self, transaction: lmdb.Transaction, dbs: Mapping[bytes, Any], turn: threading.Lock, path: Path
    ) -> None:
        self._turn, self._path = turn, path
        self._get: Any = transaction.get
        self._images, self._records, self._aliases = (dbs[name] for name in DATABASES)

    def entries(self, keys: Iterable[bytes]) -> list[tuple[memoryview | None, memoryview | None]]:
        """The payload and the record of each key, which must not be empty."""
        get, images, records = self._get, self._images, self._records
        try:
            with self._turn:
                return [(get(key, db=images), get(key, db=records)) for key in keys]
        except lmdb.Error as error:
            raise translated(error, self._path) from error

    def alias(self, key: bytes) -> memoryview | None:
        """What an alias stands for."""
        try:
            found: memoryview | None = self._get(key, db=self._aliases) if key else None
            return found
        except lmdb.Error as error:
            raise translated(error, self._path) from error


def shared_environment(path: Path) -> Environment:
    """This process's one handle on a folder."""
    real = os.path.realpath(path)
    with _TABLE_LOCK:
        return _TABLE.setdefault(real, Environment(Path(real)))


_TABLE: dict[str, Environment] = {}
_TABLE_LOCK = threading.RLock()


def _before_fork() -> None:
    _TABLE_LOCK.acquire()
    for environment in _TABLE.values():
        environment.writing.acquire()
        environment.lock.acquire()


def _after_fork_in_parent() -> None:
    for environment in _TABLE.values():
        environment.lock.release()
        environment.writing.release()
    _TABLE_LOCK.release()


def _after_fork_in_child() -> None:
    global _TABLE_LOCK
    for environment in _TABLE.values():
        environment.forget()
    _TABLE_LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
