"""How an LMDB file is opened: never by heads that ask for what is not there, and with a lock file that has its room."""

import os
from contextlib import closing

import lmdb
import pytest

from srcache.conformance.store import some_entries
from srcache.errors import DamagedError
from srcache.stores import open_store
from srcache.stores.lmdb_open import open_file, refuse_heads, size_of, unsound


@pytest.fixture
def folder(tmp_path):
    with closing(open_store("lmdb", tmp_path / "store", writable=True)) as store:
        store.put_many(some_entries(5))
    return tmp_path / "store"


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("bit", [13, 40, 62])
def test_a_head_that_asks_for_more_pages_than_there_are_is_damage_and_no_limit_of_the_machine(folder, writable, bit):
    data = folder / "data.mdb"
    content = bytearray(data.read_bytes())
    for head in (0, 4096):
        content[head + 136 + bit // 8] ^= 1 << bit % 8
    data.write_bytes(content)
    with pytest.raises(DamagedError, match="cut off: expected at least"):
        open_store("lmdb", folder, writable=writable)
    with pytest.raises(DamagedError, match="cut off"):
        refuse_heads(data)


def test_the_lock_file_has_its_room(folder):
    (folder / "lock.mdb").unlink()
    with open_file(folder, writable=True):
        assert os.stat(folder / "lock.mdb").st_blocks * 512 >= 64 * 1024


def test_a_state_that_another_writer_leaves_behind_is_looked_at_all_the_same(folder):
    with closing(open_store("lmdb", folder, writable=True)) as store, lmdb.open(str(folder / "x"), max_dbs=4) as other:
        store.put_many(some_entries(3, 50))
        assert unsound(store._environment._opened(), folder / "data.mdb", deep=True) is None
        assert other.info()["last_txnid"] == 0


def test_the_size_of_what_is_not_there_is_none(tmp_path):
    assert size_of(tmp_path / "nothing") == 0
