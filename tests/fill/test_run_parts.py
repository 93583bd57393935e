"""Fills of parts: together they make everything once, and keep the books of the whole catalog."""

import shutil
from dataclasses import replace

import pytest
from fills import CPU, contents, folder_of
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.catalog.parts import Part
from srcache.catalog.scanned import write_scanned
from srcache.catalog.scanning import from_dataset, scan
from srcache.errors import CacheError
from srcache.fill.run import fill
from srcache.keys import entry_name
from srcache.recipe.reading import load_recipe


def test_parts_make_everything_once_and_each_says_which_it_is(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    (photos / "moss/copy.png").write_bytes((photos / "moss/moss0.png").read_bytes())
    catalog = scan(photos)
    parts = [Part(index, 3) for index in range(3)]
    reports = [fill(catalog, recipe, tmp_path / "cache", replace(CPU, part=part)) for part in parts]
    assert [report.part for report in reports] == parts
    assert all(report.added == report.wanted < 12 for report in reports)
    assert sum(report.added for report in reports) == 12
    cache = open_cache(tmp_path / "cache")
    assert cache.kind == "shards"
    assert list(cache.catalogs()) == [catalog.digest], "what is kept is the whole catalog, whatever the part"
    assert cache.catalogs()[catalog.digest].read_text() == catalog.to_csv()
    receipts = cache.find(recipe).receipts()
    assert [(receipt["catalog"], receipt["part"]) for receipt in receipts] == [(catalog.digest, str(p)) for p in parts]
    whole = fill(catalog, recipe, tmp_path / "whole", replace(CPU, store="shards"))
    assert contents(reports[0]) == contents(whole)
    assert whole.part is None
    assert [receipt["part"] for receipt in folder_of(tmp_path / "whole", recipe).receipts()] == [None]
    again = fill(catalog, recipe, tmp_path / "cache", replace(CPU, part=parts[1]))
    assert (again.stored, again.added, again.part) == (again.wanted, 0, parts[1])
    assert len(cache.find(recipe).receipts()) == 3
    rest = fill(catalog, recipe, tmp_path / "cache", CPU)
    assert (rest.wanted, rest.stored, rest.part) == (12, 12, None)
    assert len(cache.find(recipe).receipts()) == 4, "it was asked for all of them now"


def test_a_part_may_be_empty(photos, tmp_path):
    reports = [
        fill(scan(photos / "moss"), load_recipe("bicubic"), tmp_path / "cache", replace(CPU, part=Part(index, 50)))
        for index in range(50)
    ]
    assert sum(report.added for report in reports) == 4
    assert all(report.left == 0 for report in reports)
    assert sum(report.wanted == 0 for report in reports) >= 46


def test_a_part_of_a_data_set_in_memory(make_image, tmp_path):
    images = [(Image.fromarray(make_image(8, 10, number)), 0) for number in range(12)]
    catalog, recipe = from_dataset(images), load_recipe("bicubic")
    reports = [fill(catalog, recipe, tmp_path / "cache", replace(CPU, part=Part(index, 2))) for index in range(2)]
    assert [report.failed for report in reports] == [{}, {}]
    whole = fill(catalog, recipe, tmp_path / "whole", replace(CPU, store="shards"))
    assert contents(reports[0]) == contents(whole)


def test_a_cache_of_lmdb_takes_no_parts(photos, tmp_path):
    catalog, recipe, settings = scan(photos), load_recipe("bicubic"), replace(CPU, part=Part(0, 2))
    with pytest.raises(CacheError, match="use a cache with --store shards"):
        fill(catalog, recipe, tmp_path / "cache", replace(settings, store="lmdb"))
    assert not (tmp_path / "cache").exists()
    fill(catalog, recipe, tmp_path / "cache", CPU)
    with pytest.raises(CacheError, match=r"export .* NEW --format shards"):
        fill(catalog, recipe, tmp_path / "cache", settings)


def test_an_image_that_changed_since_it_was_scanned_is_never_stored(photos, tmp_path):
    write_scanned(scan(photos), photos.parent / "catalog.csv")
    catalog, recipe = scan(photos.parent / "catalog.csv"), load_recipe("bicubic")
    shutil.copy(photos / "moss/moss0.png", photos / "bark/bark0.png")
    (photos / "bark/bark1.png").write_bytes(b"no image")
    (photos / "bark/bark2.png").unlink()
    report = fill(catalog, recipe, tmp_path / "cache", CPU)
    assert (report.added, report.left) == (9, 3)
    assert report.failed == {"changed": 2, "unreadable": 1}
    assert {failed.source for failed in report.failures} == {f"bark/bark{number}.png" for number in range(3)}
    changed = {entry_name(catalog.rows[number].key, 0) for number in range(3)}
    assert not changed & set(contents(report))
