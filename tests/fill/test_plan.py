"""Plans: what is wanted, less what is there or known to fail."""

from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import create_cache
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import scan
from srcache.errors import CacheError
from srcache.fill.plan import Plan, make_plan, plan_only, scattered
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.keys import entry_name, image_key
from srcache.recipe.reading import load_recipe
from srcache.stores import Entry, open_store

CPU = FillSettings(device="cpu")


def catalog_of(numbers):
    keys = [image_key(f"{number}".encode()) for number in numbers]
    return Catalog(rows=tuple(Row(key, f"{n}.png", None, None) for n, key in enumerate(keys)))


def store_of(names):
    store = open_store("memory", Path("memory"), writable=True)
    store.put_many([Entry(name, b"x", {}) for name in names])
    return store


@given(
    st.lists(st.integers(0, 9), max_size=14),
    st.integers(1, 4),
    st.sets(st.tuples(st.integers(0, 9), st.integers(0, 3))),
)
def test_a_plan_is_what_is_wanted_less_what_is_stored(numbers, samples, stored):
    catalog = catalog_of(numbers)
    names = {entry_name(image_key(f"{number}".encode()), sample) for number, sample in stored}
    plan = make_plan(catalog, None, store_of(names), samples=samples)
    wanted = {entry_name(row.key, sample) for row in catalog.rows for sample in range(samples)}
    todo = [(index, entry_name(catalog.rows[index].key, sample)) for index, some in plan.rows() for sample in some]
    assert plan.wanted == len(wanted)
    assert plan.stored == len(wanted & names)
    assert sorted(name for _, name in todo) == sorted(wanted - names)
    assert len(plan.missing) == plan.wanted - plan.stored
    assert todo == sorted(todo, key=lambda one: (one[0], one[1]))
    assert len({index for index, _ in plan.rows()}) == len(list(plan.rows()))


@given(st.sets(st.integers(0, 5000), max_size=200), st.integers(1, 4), st.text(max_size=8))
def test_a_scattered_plan_is_the_same_work_and_keeps_the_samples_of_an_image_together(rows, samples, seed):
    missing = array("q", [row * samples + sample for row in sorted(rows) for sample in range(samples)])
    plan = Plan(wanted=len(missing), stored=0, skipped=0, missing=missing, samples=samples)
    other = scattered(plan, seed)
    assert sorted(other.missing) == list(missing)
    assert replace(other, missing=missing) == plan
    assert scattered(plan, seed) == other
    assert [some for _, some in other.rows()] == [list(range(samples))] * len(rows)
    assert len({row for row, _ in other.rows()}) == len(rows)


def test_different_writers_go_through_a_plan_in_different_orders():
    plan = make_plan(catalog_of(range(1000)), None, None)
    orders = [list(scattered(plan, f"{number:08x}").missing) for number in range(4)]
    assert len({tuple(order[:16]) for order in orders}) == 4
    assert all(order[:16] == list(range(order[0], order[0] + 16)) for order in orders)


def test_without_a_store_everything_is_missing():
    plan = make_plan(catalog_of([1, 2, 1]), None, None, samples=2)
    assert (plan.wanted, plan.stored, plan.skipped) == (4, 0, 0)
    assert list(plan.rows()) == [(0, [0, 1]), (1, [0, 1])]


@pytest.fixture
def failed_once(tmp_path):
    """A catalog of four images, the folder in which one is stored and two have failed, and its store."""
    catalog = catalog_of(range(4))
    folder = create_cache(tmp_path / "cache").add(load_recipe("bicubic"))
    for number in (0, 1):
        folder.note_failure(FailedEntry(entry_name(catalog.rows[number].key, 0), "x", "odd", "odd"))
    return catalog, folder, store_of([entry_name(catalog.rows[1].key, 0)])


def test_what_failed_is_skipped_unless_it_was_made_since(failed_once):
    plan = make_plan(*failed_once)
    assert (plan.wanted, plan.stored, plan.skipped, list(plan.missing)) == (4, 1, 1, [2, 3])


def test_what_failed_is_tried_again_on_demand(failed_once):
    plan = make_plan(*failed_once, retry_failed=True)
    assert (plan.wanted, plan.stored, plan.skipped, list(plan.missing)) == (4, 1, 0, [0, 2, 3])


def test_a_cache_that_is_not_there_yet_is_planned_and_not_made(tmp_path):
    plan = plan_only(catalog_of(range(3)), load_recipe("bicubic"), tmp_path / "cache")
    assert (plan.wanted, len(plan.missing)) == (3, 3)
    assert not (tmp_path / "cache").exists()


def test_a_cache_with_other_recipes_or_without_entries_yet_lacks_everything(photos, tmp_path):
    catalog, cache = scan(photos), tmp_path / "cache"
    folder = create_cache(cache).add(load_recipe("bicubic"))
    assert len(plan_only(catalog, load_recipe("bicubic"), cache).missing) == 12
    assert not folder.store_path.exists()
    assert len(plan_only(catalog, load_recipe("lanczos"), cache).missing) == 12


def test_a_filled_cache_is_planned_from_what_it_holds(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    fill(replace(catalog, rows=catalog.rows[:5]), recipe, tmp_path / "cache", CPU)
    plan = plan_only(catalog, recipe, tmp_path / "cache")
    assert (plan.wanted, plan.stored, list(plan.missing)) == (12, 5, list(range(5, 12)))


def test_a_cache_of_another_format_is_refused(tmp_path):
    create_cache(tmp_path / "cache")
    (tmp_path / "cache" / "srcache.json").write_text('{"format": 99, "store": "lmdb"}')
    with pytest.raises(CacheError, match="format 99"):
        plan_only(catalog_of([1]), load_recipe("bicubic"), tmp_path / "cache")
