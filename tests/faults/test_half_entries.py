"""Damage that leaves an entry's image without its record, or its record without the image: both are made anew, once."""

import re
from contextlib import closing
from pathlib import Path

import caches
import pytest

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.stores import Entry

HALVES = {"the record": rb"(?=\{\"xxh3)", "the image": rb"(?!\{\"xxh3)"}
"""What a damaged name is the name of, by what stands behind it in the file: a record, or something else."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with `photos`, of which one cannot be read, and a `cache` of five SR images of them."""
    caches.build(caches.make_photos(tmp_path / "photos"), tmp_path / "cache")
    return tmp_path


def rename(cache: Path, half: str) -> str:
    """Damage one name in the store's file, in every copy of that page; returns the name."""
    with caches.opened(cache) as store:
        name = sorted(store.names())[2]
    file = caches.only(cache).store_path / "data.mdb"
    wrong = f"{name[:-1]}{int(name[-1]) ^ 1}"
    data, count = re.subn(name.encode() + HALVES[half], wrong.encode(), file.read_bytes())
    assert count
    file.write_bytes(data)
    return name


@pytest.mark.parametrize("half", HALVES)
def test_a_build_adds_what_lost_its_name_once(home: Path, half: str) -> None:
    cache, whole = home / "cache", caches.contents(home / "cache")
    name = rename(cache, half)
    with caches.opened(cache) as store:
        assert not store.has(name)
    assert [caches.build(home / "photos", cache).added for _ in range(3)] == [1, 0, 0]
    assert caches.contents(cache)[name] == whole[name]


@pytest.mark.parametrize("half", HALVES)
def test_a_training_that_may_makes_it_once(home: Path, half: str) -> None:
    cache, photos = home / "cache", home / "photos"
    (photos / "wörter/leer.png").unlink()
    rename(cache, half)
    for computed in (1, 0):
        data = SRAugmentedDataset(photos, cache, "bicubic", policy="sr", on_miss="engine")
        assert len([data[index] for index in range(len(data))]) == 6
        assert data.counts["computed"] == computed


def test_what_is_whole_is_not_written_again(home: Path) -> None:
    with closing(caches.only(home / "cache").store(writable=True)) as store:
        name = next(store.names())
        before = store.get(name), store.record(name)
        assert store.put_many([Entry(name, b"other", {"key": name[:32]})]) == 0
        assert (store.get(name), store.record(name)) == before
