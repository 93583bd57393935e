"""How an LMDB file is opened: after its heads were looked at, with a lock file that has its room, and a map to grow in.

* LMDB believes every word of a file's heads, and a file shorter than its last page in use kills its reader with SIGBUS;
  so both are looked at first.
* The lock file is mapped and written to, so a hole in it kills the process with SIGBUS once the disk is full. It gets
  its disk space when it is made.
* The map starts a little larger than the file, which may grow while it is being opened. (A huge sparse map from the
  start would do too, but fails under the address-space limits that clusters set.)
"""

import os
import time
from pathlib import Path

import lmdb

from srcache.errors import DamagedError
from srcache.files.system_errors import LOCKING, number_of
from srcache.stores.lmdb_errors import READERS
from srcache.stores.lmdb_look import problem, wrong_number
from srcache.stores.lmdb_pages import Pages

DATABASES = (b"images", b"records", b"aliases")
State = tuple[int, int, int, int, int]
_TRIES, _PAUSE = 10, 0.02
_FIRST_MAP = 1 << 28
_HEADROOM = 1 << 26
_LOCK_BYTES = 128 + 64 * READERS  # what LMDB makes of so many readers: two cache lines, and one for each


def state_of(env: lmdb.Environment, data: Path) -> State:
    """What differs between any two states of a store: the file, when it was written, its size, its newest commit."""
    status = os.stat(data)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, env.info()["last_txnid"]


def unsound(env: lmdb.Environment, data: Path, *, trees: bool = True, deep: bool = False) -> DamagedError | None:
    """What is wrong with the state of a store that is open, whatever others write meanwhile; None if it is sound.

    Args:
        env: opened for reading or writing; a read transaction keeps the state.
        data: its file.
        trees: look at the pages that lead to entries; a writer compares both heads in any case.
        deep: look at what is beside every image, too; see `lmdb_look.problem`.

    Raises:
        DamagedError: the file's heads are damaged.
    """
    writable = not env.flags()["readonly"]
    with Pages(data) as pages:
        head = None
        while head is None:
            with env.begin(write=writable) as transaction:  # one that writes keeps others from writing meanwhile
                head = pages.head(transaction.id() - writable)
                if head is not None and trees and (found := problem(pages, head, DATABASES, deep=deep)) is not None:
                    return pages.damaged(found)
                if head is not None and writable and (found := wrong_number(pages, pages.heads()[1])) is not None:
                    return pages.damaged(found)
        return None if writable or not deep else _other_head_is_wrong(pages)


def _other_head_is_wrong(pages: Pages) -> DamagedError | None:
    """What is wrong with the head that is not in force, where nothing keeps others from writing over its pages."""
    for _ in range(_TRIES):
        other = pages.heads()[1]
        if (found := wrong_number(pages, other)) is None:
            return None
        time.sleep(_PAUSE)
    return pages.damaged(found or "") if pages.heads()[1] == other else None


def refuse_heads(data: Path) -> None:
    """Refuse a file whose heads are damaged, or that is shorter than they say: LMDB would map what is not there.

    Raises:
        DamagedError: it is such a file.
    """
    with Pages(data) as pages:
        if (head := pages.head()) is not None:
            pages.require_whole(head)


def open_file(path: Path, writable: bool) -> lmdb.Environment:
    """Open the file in a folder; one that may be read but not written to is read without locks.

    Raises:
        lmdb.Error, OSError: it cannot be opened.
    """
    data = path / "data.mdb"
    size = size_of(data)

    def attempt(lock: bool) -> lmdb.Environment:
        if lock:
            _reserve(path / "lock.mdb")
        return lmdb.open(
            os.fsencode(path),
            map_size=size + (_FIRST_MAP if writable else _HEADROOM),
            mode=0o777,  # less what the user's umask takes off; LMDB itself takes off the right to execute
            readonly=not writable,
            lock=lock,
            max_dbs=len(DATABASES) + 1,
            max_readers=READERS,
            readahead=False,
        )

    try:
        env = attempt(lock=True)
    except (lmdb.Error, OSError) as error:
        if writable and not size:
            data.unlink(missing_ok=True)  # half a header, which nobody could open
        if writable or number_of(error) not in LOCKING:
            raise
        return attempt(lock=False)  # a sealed cache that we may read but not even lock
    if writable:
        env.reader_check()
    return env


def _reserve(path: Path) -> None:
    """Make the lock file, with its disk space; one that is there is left alone."""
    if size_of(path) < _LOCK_BYTES:
        with path.open("ab") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, _LOCK_BYTES)


def size_of(path: Path) -> int:
    """Its bytes; 0 where it is not there."""
    return path.stat().st_size if path.exists() else 0
