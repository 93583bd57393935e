"""What flows between the process that plans a fill and the actors that carry it out: small tables, never an image.

A block of work is a table with a row for each source image: its key, its name, its file, and the samples to make of it.
What became of a block comes back as a table with one row.
"""

import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.cache.failures import FailedEntry
from srcache.catalog.object_source import ObjectSource
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.sources import NO_LABEL
from srcache.fill.plan import Plan
from srcache.keys import ImageKey

if TYPE_CHECKING:
    from pyarrow import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some of a plan's work, done by one actor at once.

    Attributes:
        number: tells blocks of a run apart.
        first, last: the positions in `Plan.missing` that it begins with, and ends before.
        tried: whether an actor died on these images before.
    """

    number: int
    first: int
    last: int
    tried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a block.

    Attributes:
        block: its number.
        added, found: entries that this run stored, and those that others had stored by the time it was their turn.
        failures: of single images; they are in the writer's journal already.
        seconds, computed, padded: of the engine, as `EngineRunner` counts them.
        notes: of the images that were decoded, what each took to become RGB; see `srcache.images.NOTES`.
        device, mode: what its engine runs on, and how.
        error, kind: the message and the class of an error that is no image's fault; empty for none.
    """

    block: int
    added: int = 0
    found: int = 0
    failures: tuple[FailedEntry, ...] = ()
    seconds: float = 0.0
    computed: int = 0
    padded: int = 0
    notes: tuple[str, ...] = ()
    device: str = ""
    mode: str = ""
    error: str = ""
    kind: str = ""


def blocks_of(plan: Plan, rows: int, first_number: int = 0) -> list[Block]:
    """A plan's work in blocks of so many source images."""
    ends = list(itertools.accumulate(len(samples) for _, samples in plan.rows()))
    bounds = [0, *ends[rows - 1 :: rows]]
    if ends and bounds[-1] != ends[-1]:
        bounds.append(ends[-1])
    return [
        Block(number=first_number + number, first=first, last=last)
        for number, (first, last) in enumerate(itertools.pairwise(bounds))
    ]


def positions_of(plan: Plan, block: Block) -> Iterator[tuple[int, list[int]]]:
    """The catalog rows of a block, each with its samples."""
    return replace(plan, missing=plan.missing[block.first : block.last]).rows()


def work_table(catalog: Catalog, plan: Plan, block: Block) -> "Table":
    """A block of work as a table."""
    import pyarrow

    rows = [
        {
            "block": block.number,
            "tried": block.tried,
            "key": row.key,
            "name": row.name,
            "path": row.path and str(row.path),
        }
        | {"samples": samples}
        for row, samples in ((catalog.rows[index], samples) for index, samples in positions_of(plan, block))
    ]
    text, number = pyarrow.string(), pyarrow.int32()
    columns = {"block": number, "tried": pyarrow.bool_(), "key": text, "name": text, "path": text}
    return pyarrow.Table.from_pylist(rows, pyarrow.schema({**columns, "samples": pyarrow.list_(number)}))


def work_of(table: "Table", url: str | None = None) -> Iterator[tuple[int, bool, Catalog, Plan]]:
    """The blocks of work in a table: number, whether an actor died on it before, the images, and what to make of them.

    Ray Data may put several blocks into one table. `url` is where images without a file lie.
    """
    for (number, tried), group in itertools.groupby(table.to_pylist(), lambda row: (row["block"], row["tried"])):
        rows = list(group)
        yield int(number), bool(tried), _catalog(rows, url), _plan(rows)


def outcome_table(outcomes: Sequence[Outcome]) -> "Table":
    """Outcomes as a table."""
    import pyarrow

    number, text = pyarrow.int64(), pyarrow.string()
    failure = {"name": text, "source": text, "reason": text, "detail": text, "tries": number}
    columns = {
        **dict.fromkeys(("block", "added", "found", "computed", "padded"), number),
        **dict.fromkeys(("device", "mode", "error", "kind"), text),
        "seconds": pyarrow.float64(),
        "notes": pyarrow.list_(text),
        "failures": pyarrow.list_(pyarrow.struct(failure)),
    }
    return pyarrow.Table.from_pylist([asdict(outcome) for outcome in outcomes], pyarrow.schema(columns))


def outcomes_of(table: "Table") -> Iterator[Outcome]:
    """The outcomes in a table."""
    for row in table.to_pylist():
        failures = tuple(FailedEntry(**failure) for failure in row["failures"])
        yield Outcome(**{**row, "failures": failures, "notes": tuple(row["notes"])})


def _catalog(rows: Sequence[dict[str, Any]], url: str | None) -> Catalog:
    found = tuple(Row(ImageKey(row["key"]), row["name"], None, row["path"] and Path(row["path"])) for row in rows)
    source = ObjectSource(url, [row.name for row in found], [NO_LABEL] * len(found), None) if url else None
    return Catalog(rows=found, source=source)


def _plan(rows: Sequence[dict[str, Any]]) -> Plan:
    samples = 1 + max(max(row["samples"]) for row in rows)
    missing = array("q", (samples * index + sample for index, row in enumerate(rows) for sample in row["samples"]))
    return Plan(wanted=len(missing), stored=0, skipped=0, missing=missing, samples=samples)
