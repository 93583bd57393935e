"""Blocks of work and their outcomes as tables: what goes in comes out, and every entry is in one block."""

from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.cache.failures import FailedEntry
from srcache.catalog.rows import Catalog, Row
from srcache.fill.plan import Plan
from srcache.fill.ray_rows import Block, Outcome, blocks_of, outcome_table, outcomes_of, work_of, work_table
from srcache.keys import ImageKey, entry_name

pytest.importorskip("pyarrow")


def catalog_of(count):
    keys = (ImageKey(f"{number:032x}") for number in range(count))
    return Catalog(rows=tuple(Row(key, f"größe/{key}.png", None, Path(f"/photos/{key}")) for key in keys))


def plan_of(missing, samples):
    return Plan(wanted=len(missing), stored=0, skipped=0, missing=array("q", missing), samples=samples)


def names(catalog, plan):
    return [entry_name(catalog.rows[row].key, sample) for row, samples in plan.rows() for sample in samples]


@given(st.sets(st.integers(0, 59)), st.integers(1, 3), st.integers(1, 7))
def test_every_entry_is_in_one_block(missing, samples, rows):
    catalog, plan = catalog_of(60), plan_of(sorted(missing), samples)
    found = []
    for place, block in enumerate(blocks_of(plan, rows, 5)):
        ((number, tried, some, part),) = work_of(work_table(catalog, plan, block))
        assert (number, tried) == (5 + place, False)
        assert 1 <= len(some.rows) <= rows
        assert all(str(row.path).startswith("/photos/") for row in some.rows)
        found += names(some, part)
    assert found == names(catalog, plan)


def test_tables_that_were_put_together_are_told_apart():
    import pyarrow

    catalog, plan = catalog_of(3), plan_of([0, 1, 2], 1)
    blocks = [Block(number=7, first=0, last=2), Block(number=8, first=2, last=3, tried=True)]
    table = pyarrow.concat_tables([work_table(catalog, plan, block) for block in blocks])
    assert [(number, tried, len(some.rows)) for number, tried, some, _ in work_of(table)] == [
        (7, False, 2),
        (8, True, 1),
    ]


def test_outcomes_come_back_as_they_were():
    failed = FailedEntry("a" * 32 + "-000", "größe 1/leer.png", "empty", "the file has no bytes")
    outcomes = [
        Outcome(block=0),
        Outcome(
            block=1, added=3, found=2, failures=(failed,), seconds=0.5, computed=6, padded=1, device="cpu", mode="eager"
        ),
        Outcome(block=2, error="no room", kind="DiskFullError"),
    ]
    assert list(outcomes_of(outcome_table(outcomes))) == outcomes
    assert list(outcomes_of(outcome_table([]))) == []
