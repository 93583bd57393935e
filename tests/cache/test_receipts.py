"""Catalogs and receipts that a cache keeps are read back, and checked against their names."""

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import caches
import pytest

from srcache.cache.manifest import create_cache, open_cache
from srcache.cache.receipts import (
    asked_for,
    read_kept,
    readable_catalogs,
    readable_receipts,
    store_of,
    wanted_names,
)
from srcache.catalog.scanning import scan
from srcache.errors import DamagedError


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with photos and a cache of them in two recipes."""
    return caches.build_two(tmp_path_factory.mktemp("built"))


@pytest.fixture
def cache(built, tmp_path) -> Path:
    """A cache of its own for each test."""
    return Path(shutil.copytree(built / "cache", tmp_path / "cache"))


def test_kept_catalogs_are_checked_against_their_digest(cache, tmp_path):
    [path] = (cache / "catalogs").iterdir()
    kept = read_kept(path)
    assert [row.name for row in kept.rows] == sorted(row.name for row in kept.rows)
    assert {row.label for row in kept.rows} == {"Möwen & Co", "wörter"}
    assert len(kept.keys) == len(kept.rows) - 1
    assert (
        path.stem
        == subprocess.run(["b2sum", "-l", "128", str(path)], capture_output=True, text=True, check=True).stdout.split()[
            0
        ]
    )


def test_the_catalog_asked_for_last_comes_last(cache):
    folder = caches.only(cache)
    fields = {"added": 0, "failed": {}, "seconds": 0, "device": None, "interrupted": False}
    for digest, samples in (("b", 1), ("a", 3), ("b", 2), ("a", 1), ("b", 1)):
        folder.write_receipt({"catalog": digest, "samples": samples, **fields})
    assert list(asked_for(folder.path).items())[1:] == [("a", 3), ("b", 2)]


def test_a_kept_catalog_that_is_not_what_its_name_says_is_damage(cache):
    [path] = (cache / "catalogs").iterdir()
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(DamagedError, match=path.stem):
        read_kept(path)
    whole, damaged = readable_catalogs(open_cache(cache))
    assert list(whole) == []
    assert list(damaged) == [path]


def test_receipts_that_cannot_be_read_hide_no_others(cache):
    folder = caches.only(cache)
    [receipt] = (folder.path / "receipts").iterdir()
    broken = receipt.with_name("20000101T000000Z-x.json")
    broken.write_text("[]", encoding="utf-8")
    whole, damaged = readable_receipts(folder.path)
    assert (list(whole), list(damaged)) == ([receipt.name], [broken])


def test_what_was_asked_for_is_wanted_once_for_each_sample(cache):
    folder = caches.only(cache, "noisy")
    names = list(wanted_names(folder.path, readable_catalogs(open_cache(cache))[0]))
    with caches.opened(cache, "noisy") as store:
        assert set(store.names()) < set(names), "the file that failed is wanted too"
    assert {name.rpartition("-")[2] for name in names} == {"000", "001"}


def test_a_recipe_without_a_store_has_none(cache):
    folder = caches.only(cache)
    with closing(store_of(folder)) as store:
        assert len(store) == 5
    shutil.rmtree(folder.store_path)
    assert store_of(folder) is None


def test_a_catalog_with_a_carriage_return_in_a_name_is_whole(tmp_path):
    name = "a\rb/c\r.png"
    (tmp_path / "photos" / name).parent.mkdir(parents=True)
    (tmp_path / "photos" / name).write_bytes(b"an image")
    catalog, cache = scan(tmp_path / "photos"), create_cache(tmp_path / "cache")
    (cache.path / "catalogs").mkdir()
    (cache.path / f"catalogs/{catalog.digest}.csv").write_text(catalog.to_csv(), newline="")
    kept, troubles = readable_catalogs(cache)
    assert not troubles
    assert [(row.name, row.label) for row in kept[0].rows] == [(name, "a\rb")]
