"""LMDB as a kind of store: refused where its locks do not hold, checked beyond its entries, replaced in one step."""

import os
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from srcache.errors import CacheError, DamagedError, DiskFullError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, Problem, StoreOptions, lmdb_kind
from srcache.stores.lmdb_kind import KIND
from srcache.stores.lmdb_open import DATABASES

KEY, ALIAS = image_key(b"image"), image_key(b"pixels")


def made(path: Path) -> Path:
    """A store with one entry and one alias."""
    with closing(KIND.open(path, StoreOptions(writable=True))) as store:
        store.put_many([Entry(entry_name(KEY, 0), b"payload", {"key": KEY}, (ALIAS,))])
    return path


def changed(path: Path, table: bytes, name: str, value: bytes | None) -> None:
    """Write or delete one value behind the store's back."""
    with lmdb.open(str(path), max_dbs=len(DATABASES), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        database = env.open_db(table, transaction)
        if value is None:
            assert transaction.delete(name.encode(), db=database)
        else:
            transaction.put(name.encode(), value, db=database)


@pytest.mark.parametrize("found", ["nfs4", "lustre", "fuse.sshfs"])
def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(lmdb_kind, "file_system", lambda path: found)
    with pytest.raises(CacheError, match=rf"network file system \({found}\), where LMDB can lose data"):
        KIND.refuse(tmp_path)


def test_a_missing_image_is_a_problem_of_the_counts(tmp_path: Path) -> None:
    path = made(tmp_path / "data.lmdb")
    changed(path, b"images", entry_name(KEY, 0), None)
    assert list(KIND.check(path)) == [Problem("", "counts", "there are 0 images, but 1 records")]


@pytest.mark.parametrize(
    ("alias", "meaning", "detail"),
    [
        ("word", KEY.encode(), f"it stands for {KEY.encode()!r}, which is no key"),
        (KEY, b"word", "it stands for b'word', which is no key"),
        (image_key(b"0"), image_key(b"nobody").encode(), f"there is no entry of {image_key(b'nobody')}"),
    ],
)
def test_an_alias_that_leads_nowhere_is_a_problem(tmp_path: Path, alias: str, meaning: bytes, detail: str) -> None:
    path = made(tmp_path / "data.lmdb")
    changed(path, b"aliases", alias, meaning)
    assert list(KIND.check(path)) == [Problem(alias, "bad_alias", detail)]


def test_a_file_of_another_kind_is_damage(tmp_path: Path) -> None:
    path = made(tmp_path / "data.lmdb")
    (path / "data.mdb").write_bytes(b"not a store " * 2000)
    with pytest.raises(DamagedError, match="does not read as an LMDB store"):
        list(KIND.check(path))


def test_nothing_is_replaced_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, new = made(tmp_path / "data.lmdb"), made(tmp_path / "new")
    before = (path / "data.mdb").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DiskFullError):
        KIND.replace(path, new)
    assert (path / "data.mdb").read_bytes() == before
