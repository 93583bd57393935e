"""What a fill has to do: the entries that are wanted, less those that are stored or known to fail."""

import itertools
import random
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srcache.cache.manifest import RecipeFolder, is_cache, open_cache
from srcache.catalog.rows import Catalog
from srcache.errors import CacheError
from srcache.keys import entry_name
from srcache.recipe.recipe import Recipe
from srcache.stores import Store

_TOGETHER = 16
"""Catalog rows that stay together where a plan is scattered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fill has to do, and what need not be done.

    Attributes:
        wanted: different entries asked for: each different image, times samples.
        stored, skipped: those that are there, and those that failed in earlier runs and are not tried again.
        missing: the rest, as row × samples + sample; packed, because there may be millions.
    """

    wanted: int
    stored: int
    skipped: int
    missing: "array[int]"
    samples: int

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """Catalog rows to decode, each with the samples to make of it."""
        for row, positions in itertools.groupby(self.missing, lambda position: position // self.samples):
            yield row, [position % self.samples for position in positions]


def scattered(plan: Plan, seed: str) -> Plan:
    """The same work in another order, a few rows at a time: processes with different seeds rarely do the same."""
    missing = np.frombuffer(plan.missing, np.int64)
    blocks, block = np.unique(missing // plan.samples // _TOGETHER, return_inverse=True)
    ranks = list(range(len(blocks)))
    random.Random(seed).shuffle(ranks)
    ordered = missing[np.argsort(np.array(ranks, np.int64)[block], kind="stable")]
    return replace(plan, missing=array("q", ordered.tobytes()))


def make_plan(
    catalog: Catalog,
    folder: RecipeFolder | None,
    store: Store | None,
    *,
    samples: int = 1,
    retry_failed: bool = False,
) -> Plan:
    """Compare what a catalog wants with what a store (None for an empty one) holds.

    Images that are there twice are wanted once.
    """
    known = {} if retry_failed or folder is None else folder.failures()
    missing, seen, stored, skipped = array("q"), set[str](), 0, 0
    for index, row in enumerate(catalog.rows):
        if row.key in seen:
            continue
        seen.add(row.key)
        for sample in range(samples):
            name = entry_name(row.key, sample)
            if store is not None and store.has(name):
                stored += 1
            elif name in known:
                skipped += 1
            else:
                missing.append(index * samples + sample)
    return Plan(wanted=len(seen) * samples, stored=stored, skipped=skipped, missing=missing, samples=samples)


def plan_only(
    catalog: Catalog, recipe: Recipe, cache: str | Path, *, samples: int = 1, retry_failed: bool = False
) -> Plan:
    """The plan for a cache that may not be there yet; makes nothing."""
    folder, store = None, None
    if is_cache(cache):
        opened = open_cache(cache)
        with suppress(CacheError):  # the recipe is new to the cache, or its first run stopped before its first entry
            folder = opened.find(recipe)
            store = folder.store()
    return make_plan(catalog, folder, store, samples=samples, retry_failed=retry_failed)
