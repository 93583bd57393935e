"""Rows of a gallery: stored, failed and not made yet, in the catalog's order; damaged notes hide no others."""

import caches
import pytest

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.server.gallery.rows import ABSENT, GalleryRow, gallery_rows


def rows_of(home, recipe="bicubic", stored=True):
    cache = open_cache(home / "cache")
    with caches.opened(home / "cache", recipe) as store:
        return gallery_rows(cache, cache.find(recipe), store if stored else None)


def test_rows_are_in_the_catalogs_order_with_the_reason_of_a_failure(home):
    found = rows_of(home)
    rows = scan(home / "photos").rows
    names = list({row.key: row.name for row in reversed(rows)}.values())[::-1]
    assert [row.name for row in found.rows] == [row.name for row in rows if row.name in names]
    assert {row.label for row in found.rows} == {"Möwen & Co", "wörter"}
    (failed,) = [row for row in found.rows if row.state]
    assert (failed.name, failed.state, failed.detail) == ("wörter/leer.png", "empty", "the file has no bytes")
    assert found.warnings == ()


def test_every_sample_has_a_row_and_its_number(home):
    titles = [row.title for row in rows_of(home, "noisy").rows if not row.state]
    assert titles[:2] == ["Möwen & Co/erste möwe.png", "Möwen & Co/erste möwe.png#1"]
    assert len(titles) == 10


def test_what_was_asked_for_and_is_not_stored_is_not_made_yet(home):
    found = rows_of(home, stored=False)
    assert {row.state for row in found.rows} == {"empty", ABSENT}


@pytest.mark.parametrize("line", ["garbage", '{"name": "../../x", "source": "a", "reason": "r", "detail": "d"}'])
def test_damaged_and_hostile_notes_are_said_or_left_out(home, line):
    journal = caches.home(home / "cache") / "failures.jsonl"
    journal.write_text(f"{journal.read_text()}{line}\n")
    found = rows_of(home)
    assert [row.state for row in found.rows].count("empty") == 1
    assert len(found.warnings) == (line == "garbage")
    assert not any(".." in row.entry for row in found.rows)


def test_without_a_readable_catalog_images_are_named_by_key(home):
    for path in (home / "cache/catalogs").iterdir():
        path.write_text("x")
    found = rows_of(home)
    assert len(found.rows) == 6
    assert found.rows[0].title in (found.rows[0].key, "wörter/leer.png")
    assert "repair" in found.warnings[0]


def test_a_row_without_a_name_is_called_by_its_key():
    assert GalleryRow("0" * 32 + "-002", "", "").title == "0" * 32 + "#2"
