"""Heads and pages of an LMDB file: what LMDB wrote is read as it was meant, and whatever else stands there is told."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from srcache.conformance.store import some_entries
from srcache.errors import DamagedError
from srcache.stores import open_store
from srcache.stores.lmdb_pages import NOTHING, Pages


@pytest.fixture
def data(tmp_path) -> Path:
    """The file of a store that was written to three times."""
    with closing(open_store("lmdb", tmp_path / "store", writable=True)) as store:
        entries = some_entries(9)
        for first in range(0, 9, 3):
            store.put_many(entries[first : first + 3])
    return tmp_path / "store/data.mdb"


def test_the_newest_head_counts(data):
    with Pages(data) as pages:
        head = pages.head()
        assert head.size <= data.stat().st_size
        assert (head.page, head.main.entries, head.free.root == NOTHING) == (4096, 3, False)
        assert pages.head(head.commit) == head
        assert pages.head(head.commit - 1).commit == head.commit - 1
        assert pages.head(head.commit - 2) is None, "it was written over"
        pages.require_whole(head)


def test_a_file_that_is_cut_off_is_told(data):
    with Pages(data) as pages:
        head = pages.head()
        os.truncate(data, head.size - 1)
        with pytest.raises(DamagedError, match=f"cut off: expected at least {head.size} bytes, but it has"):
            pages.require_whole(head)
        os.truncate(data, 100)
        with pytest.raises(DamagedError, match="it ends within its heads"):
            pages.head()


PLACES = {"flags": 10, "magic": 16, "version": 20, "page size": 40, "free flags": 44, "main flags": 92, "commit": 145}
"""Where in a head something stands that LMDB would believe."""


@pytest.mark.parametrize("first", [0, 4096])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_bit_that_makes_another_head_of_it_is_told(data, first, place):
    whole = data.read_bytes()
    for bit in range(8):
        at = first + place
        data.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        with Pages(data) as pages, pytest.raises(DamagedError, match=r"no head of|not fit each other|settings"):
            pages.head()


def test_pages_are_rows_and_what_is_not_there_is_zeros(data):
    with Pages(data) as pages:
        last = pages.head().last
        rows = pages.rows([1, last, last + 1000], 4096)
        assert rows[0].tobytes() == data.read_bytes()[4096:8192]
        assert not rows[2].any()
