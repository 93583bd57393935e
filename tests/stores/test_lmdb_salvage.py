"""The reader of single pages: whatever was written over a file, only complete entries come out of it."""

import os
import random
from contextlib import closing
from pathlib import Path

import caches
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srcache.keys import entry_name, image_key
from srcache.stores import Entry, open_store
from srcache.stores.lmdb_salvage import LmdbSalvage

PAGE = os.sysconf("SC_PAGE_SIZE")
DAMAGE = st.tuples(st.floats(0, 1), st.integers(1, 9000), st.integers(0, 2**32))
"""Where in a file, how many bytes, and the seed of what is written over them."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A cache of small images in two recipes."""
    return caches.build_two(tmp_path_factory.mktemp("built")) / "cache"


@pytest.fixture
def data(cache) -> Path:
    """The file that holds the images of `bicubic`."""
    return caches.only(cache).store_path / "data.mdb"


def _overwrite(data, first, count, content=bytes):
    with data.open("r+b") as file:
        file.seek(first * PAGE)
        file.write(content(count * PAGE))


@pytest.mark.parametrize("content", [bytes, os.urandom], ids=["zeros", "noise"])
def test_every_single_page_may_be_overwritten(cache, data, content):
    before, whole = caches.contents(cache), data.read_bytes()
    fewest = len(before)
    for page in range(len(whole) // PAGE):
        _overwrite(data, page, 1, content)
        with LmdbSalvage(data.parent) as salvage:
            kept = {name: entry.payload for name in salvage.names() if (entry := salvage.entry(name))}
        assert kept.items() <= before.items()
        fewest = min(fewest, len(kept))
        if page < 2:
            assert kept == before, "neither head is needed"
        data.write_bytes(whole)
    assert fewest < len(before), "some page was needed"


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A hundred entries, of a few bytes to some pages, written in small batches: many pages, many old copies."""
    path, rng = tmp_path_factory.mktemp("many") / "data.lmdb", random.Random(5)
    with closing(open_store("lmdb", path, writable=True)) as store:
        for start in range(0, 100, 10):
            store.put_many([_entry(number, rng) for number in range(start, start + 10)])
    return path / "data.mdb"


def _entry(number, rng):
    key = image_key(f"{number}".encode())
    payload = b"qoif" + rng.randbytes(rng.choice([0, 30, 1000, 1900, 5000, 20000]))
    record = {"key": key, "sample": 0, "checksum": image_key(payload), "notes": "x" * rng.randrange(300)}
    return Entry(entry_name(key, 0), payload, record, (image_key(f"alias {number}".encode()),))


def _saved(path):
    with LmdbSalvage(path.parent) as salvage:
        return {name: entry for name in salvage.names() if (entry := salvage.entry(name)) is not None}


def test_all_of_a_whole_file_is_found(many):
    with closing(open_store("lmdb", many.parent)) as store:
        expected = {name: (store.get(name), store.record(name)) for name in store.names()}
    saved = _saved(many)
    assert {name: (entry.payload, entry.record) for name, entry in saved.items()} == expected
    assert all(len(entry.aliases) == 1 for entry in saved.values())


@pytest.mark.medium
@settings(max_examples=25)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9000), st.integers(0, 2**32)), min_size=1, max_size=12)
)
def test_whatever_is_written_over_it_only_whole_entries_come_out(many, damage, tmp_path_factory):
    whole = _saved(many)
    content = bytearray(many.read_bytes())
    for place, length, seed in damage:
        start, rng = int(place * len(content)), random.Random(seed)
        content[start : start + length] = rng.choice([bytes(length), rng.randbytes(length)])[: len(content) - start]
    path = tmp_path_factory.mktemp("damage") / "data.mdb"
    path.write_bytes(content)
    saved = _saved(path)
    assert all(whole[name].payload == entry.payload for name, entry in saved.items())
    assert all(whole[name].record["checksum"] == entry.record["checksum"] for name, entry in saved.items())
    touched = sum(-(-length // PAGE) + 1 for _, length, _ in damage)
    assert len(saved) >= len(whole) - 40 * touched
    path.unlink()


@given(junk=st.binary(min_size=1, max_size=3 * PAGE), heads=st.lists(st.sampled_from([2, 4, 1, 8, 0xFFFF]), max_size=3))
def test_pages_of_junk_are_survived(junk, heads, tmp_path_factory):
    pages = bytearray(junk.ljust(4 * PAGE, b"\x00"))
    for number, flags in enumerate(heads, start=1):
        pages[number * PAGE : number * PAGE + 8] = number.to_bytes(8, "little")
        pages[number * PAGE + 10 : number * PAGE + 12] = flags.to_bytes(2, "little")
    path = tmp_path_factory.mktemp("junk") / "data.mdb"
    path.write_bytes(pages)
    assert _saved(path) == {}


def test_a_spot_that_the_disk_refuses_costs_only_what_lies_there(many, monkeypatch):
    whole, size = _saved(many), many.stat().st_size
    read = os.pread

    def broken(file, amount, offset):
        if offset < size // 2 + 5 * PAGE and size // 2 - 5 * PAGE < offset + amount:
            raise OSError(5, "Input/output error")
        return read(file, amount, offset)

    monkeypatch.setattr(os, "pread", broken)
    assert len(whole) - 40 <= len(_saved(many)) < len(whole)
