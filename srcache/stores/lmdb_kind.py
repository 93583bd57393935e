"""LMDB as a kind of store: where it must not be made, what can be wrong with its files, and how they are replaced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from srcache.errors import CacheError, DamagedError
from srcache.files import damaged_path, disk_errors, lock, sync_folder
from srcache.files.system_errors import STORING, number_of
from srcache.keys import is_key
from srcache.machine import NETWORK, file_system
from srcache.stores.interface import Problem, StoreKind, StoreOptions
from srcache.stores.lmdb import LmdbStore
from srcache.stores.lmdb_environment import shared_environment
from srcache.stores.lmdb_errors import translated
from srcache.stores.lmdb_open import DATABASES, refuse_heads, size_of, unsound
from srcache.stores.lmdb_salvage import LmdbSalvage
from srcache.stores.lmdb_stamp import stamp


def _open(path: Path, options: StoreOptions) -> LmdbStore:
    return LmdbStore(path, writable=options.writable, fingerprint=options.fingerprint, look=options.look)


def _refuse(path: Path) -> None:
    """LMDB's maps and locks do not hold on file systems that lie on another machine."""
    found = file_system(path)
    if found in NETWORK:
        raise CacheError(
            f"{path} would lie on a network file system ({found}), where LMDB can lose data; add --store shards, or "
            "make the cache on a local disk, and copy it when it is built"
        )


def _check(path: Path) -> Iterator[Problem]:
    """All pages are what they should be, in use once or free once; there are as many images as records; every alias is
    a key, and means one of which there is an entry.
    """
    with _tables(path) as (env, transaction, (images, records, aliases)):
        if (wrong := unsound(env, path / "data.mdb", deep=True)) is not None:
            raise wrong
        counts = transaction.stat(images)["entries"], transaction.stat(records)["entries"]
        if counts[0] != counts[1]:
            yield Problem("", "counts", f"there are {counts[0]} images, but {counts[1]} records")
        entries = transaction.cursor(db=records)
        for key, value in transaction.cursor(db=aliases):
            alias, meaning = bytes(key).decode("latin-1"), bytes(value)
            if not (is_key(alias) and is_key(meaning.decode("latin-1"))):
                yield Problem(alias, "bad_alias", f"it stands for {meaning!r}, which is no key")
            elif not (entries.set_range(meaning) and bytes(entries.key()).startswith(meaning)):
                yield Problem(alias, "bad_alias", f"there is no entry of {meaning.decode()}")


@contextmanager
def _tables(path: Path) -> Iterator[tuple[lmdb.Environment, lmdb.Transaction, list[Any]]]:
    """A store's tables as they are, for what the store's own methods do not show."""
    sealed = not os.access(path / "lock.mdb", os.W_OK)
    if not size_of(path / "data.mdb"):
        raise CacheError(f"expected an LMDB store in {path}, but it has no data.mdb; was anything built yet?")
    refuse_heads(path / "data.mdb")
    try:
        with lmdb.open(os.fsencode(path), readonly=True, lock=not sealed, max_dbs=len(DATABASES)) as env:
            env.set_mapsize(0)
            tables = [env.open_db(name, create=False) for name in DATABASES]
            with env.begin() as transaction:
                yield env, transaction, tables
    except lmdb.Error as error:
        if number_of(error) in STORING:
            raise translated(error, path) from error
        raise DamagedError(f"{path} does not read as an LMDB store ({error})") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """See `StoreKind.alone`; what this process has open is closed, and the next call opens it again."""
    shared_environment(path).close()
    if not path.is_dir():
        yield
        return
    with lock(path, "written to"):
        yield


def _replace(store: Path, new: Path) -> Path:
    """Put the new file into the old one's place, which keeps a second name; returns its folder.

    The lock file goes with the old one: it knows about that file's transactions.
    """
    away = damaged_path(store)
    with disk_errors(away):
        away.mkdir()
        os.link(store / "data.mdb", away / "data.mdb")
        if (store / "lock.mdb").exists():
            (store / "lock.mdb").rename(away / "lock.mdb")
        (new / "data.mdb").replace(store / "data.mdb")
        sync_folder(store)
    return away


KIND = StoreKind(
    name="lmdb",
    codec="qoi",
    misses=True,
    prompt=True,
    open=_open,
    refuse=_refuse,
    check=_check,
    salvage=LmdbSalvage,
    replace=_replace,
    alone=_alone,
    stamp=stamp,
)
