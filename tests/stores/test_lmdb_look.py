"""The look at a whole file: sound files pass, and every bit that leads to an entry, or lists a free page, counts."""

import random
from contextlib import closing
from pathlib import Path

import pytest

from srcache.conformance.store import some_entries
from srcache.errors import DamagedError
from srcache.stores import Entry, open_store
from srcache.stores.lmdb_look import problem
from srcache.stores.lmdb_open import DATABASES
from srcache.stores.lmdb_pages import BRANCH, LEAF, Pages

PAGE = 4096


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The file of a store with branch pages, big values, and free pages; do not change it."""
    folder = tmp_path_factory.mktemp("look") / "store"
    with closing(open_store("lmdb", folder, writable=True)) as store:
        entries = some_entries(150)
        for first in range(0, 150, 10):
            times = 60 if first == 50 else 1
            batch = entries[first : first + 10]
            store.put_many([Entry(one.name, one.payload * times, one.record, one.aliases) for one in batch])
    return folder / "data.mdb"


@pytest.fixture
def data(written, tmp_path) -> Path:
    """A copy of it."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/data.mdb").write_bytes(written.read_bytes())
    return tmp_path / "store/data.mdb"


def _look(data, *, deep=False):
    with Pages(data) as pages:
        return problem(pages, pages.head(), DATABASES, deep=deep)


def _flip(data, at, bit):
    with data.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def _in_use(data):
    """The pages of trees that are in use: number and where its offsets end."""
    content, found = data.read_bytes(), []
    free = set()
    with Pages(data) as pages:
        from srcache.stores.lmdb_look import _Look

        look = _Look(pages, pages.head(), False)
        list(look.tables())
        free.update(look.free().tolist())
        met = {int(number) for numbers in look._met for number in numbers} - {0, 1}
    for number in sorted(met):
        page = content[number * PAGE : (number + 1) * PAGE]
        assert page[10] in (BRANCH, LEAF)
        found.append((number, int.from_bytes(page[12:14], "little")))
    return found, sorted(free)


def test_what_was_written_is_sound(data):
    assert _look(data) is None
    assert _look(data, deep=True) is None
    pages, free = _in_use(data)
    assert len(pages) > 10
    assert free


def test_every_bit_of_a_page_that_says_what_lies_where_counts(data):
    rng, whole = random.Random(3), data.read_bytes()
    pages, _ = _in_use(data)
    for _ in range(250):
        number, lower = rng.choice(pages)
        place = rng.choice([*range(8), *range(10, lower)])
        _flip(data, number * PAGE + place, bit := rng.randrange(8))
        assert _look(data) is not None, (number, place, bit)
        data.write_bytes(whole)


def test_a_blank_page_is_told(data):
    pages, _ = _in_use(data)
    for number, _ in pages[:: len(pages) // 8]:
        whole = data.read_bytes()
        data.write_bytes(whole[: number * PAGE] + bytes(PAGE) + whole[(number + 1) * PAGE :])
        assert f"page {number} is not what was written" in _look(data)
        data.write_bytes(whole)


def test_every_bit_of_the_list_of_free_pages_counts_and_a_writer_stays_out(data):
    whole, (_, free) = data.read_bytes(), _in_use(data)
    with Pages(data) as pages:
        root = pages.head().free.root
    listed = [at for page in free for at in _places(whole[root * PAGE : (root + 1) * PAGE], page.to_bytes(8, "little"))]
    assert listed
    for at in listed[:20]:
        for bit in range(8):
            _flip(data, root * PAGE + at, bit)
            assert _look(data) is not None, (at, bit)
            if bit == at % 8:
                before = data.read_bytes()
                with pytest.raises(DamagedError, match=r"does not read as an LMDB store \(.*free"):
                    open_store("lmdb", data.parent, writable=True)
                assert data.read_bytes() == before
            data.write_bytes(whole)


def _places(page, value):
    at = page.find(value, 16)
    while at >= 0:
        if at % 2 == 0:
            yield at
        at = page.find(value, at + 1)


def test_the_head_of_a_big_value_counts_for_those_who_look_deeper(data):
    content = data.read_bytes()
    big = next(
        number
        for number in range(2, len(content) // PAGE)
        if content[number * PAGE + 10] == 4 and int.from_bytes(content[number * PAGE :][:8], "little") == number
    )
    _flip(data, big * PAGE + 12, 0)
    assert _look(data) is None
    assert f"page {big} does not begin the value that it should" in _look(data, deep=True)


def test_a_head_whose_number_was_changed_is_told(data):
    whole = data.read_bytes()
    for first in (0, PAGE):
        for bit in range(64):
            _flip(data, first + 144 + bit // 8, bit % 8)
            with pytest.raises(DamagedError, match=r"do not fit each other|list of free pages"):
                open_store("lmdb", data.parent, writable=True)
            data.write_bytes(whole)


def test_a_table_that_is_missing_is_told(data):
    content = data.read_bytes()
    data.write_bytes(content.replace(b"records", b"recorda"))
    assert _look(data) == "it has no table records"


def test_a_new_store_is_sound(tmp_path):
    open_store("lmdb", tmp_path, writable=True).close()
    assert _look(tmp_path / "data.mdb", deep=True) is None
