"""Data sets made from data sets: splits, LR copies, paired crops. All by name and seed, nothing by order.

Each writes into an empty folder, or completes an earlier run of the same command with the same parameters on the same
images (`claim` tells them apart): what is there is kept, so that twice is the same as once. Files get their names only
when they are whole.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from srcache.catalog.listing import Problem
from srcache.catalog.rows import Catalog
from srcache.errors import ImageError
from srcache.files import disk_errors
from srcache.progress import Progress, throttled
from srcache.study.prepare.claim import claim

_WORKERS = 2 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run did.

    Attributes:
        folders: where it wrote.
        written: files of this run.
        kept: files that an earlier run had finished.
        failures: images that could not be used, and why; those that could not be catalogued too.
        counts: for a split: files per split and class, as `train/cat`.
        doubles: for a split: names of files with the same bytes that lie in different classes.
    """

    folders: tuple[Path, ...]
    written: int
    kept: int
    failures: tuple[Problem, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    doubles: tuple[tuple[str, ...], ...] = ()

    @property
    def failed(self) -> dict[str, int]:
        """Failures by reason."""
        return dict(sorted(Counter(problem.reason for problem in self.failures).items()))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one image."""

    written: int = 0
    kept: int = 0
    problem: Problem | None = None


def _write(path: Path, data: bytes) -> None:
    """Give a file its name when it is whole. Nothing is synced; an empty file is therefore never taken for whole."""
    part = _part(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)


def _part(path: Path) -> Path:
    """A hidden name beside a file, the same each time, so that a later run overwrites what a crash left."""
    return path.with_name(f".{blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}.part")


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _claim(catalog: Catalog, folders: Sequence[Path], command: str, parameters: Mapping[str, object]) -> None:
    claim(folders, catalog.root, {"command": command, "parameters": dict(parameters), "source": catalog.digest})


def _run(
    catalog: Catalog,
    folders: tuple[Path, ...],
    work: Callable[[int], _Outcome],
    progress: Progress | None,
    counts: Mapping[str, int] | None = None,
    doubles: tuple[tuple[str, ...], ...] = (),
) -> Prepared:
    """Work on every row in threads; one image's failure is its own."""

    def guarded(index: int) -> _Outcome:
        name = catalog.rows[index].name
        try:
            return work(index)
        except ImageError as error:
            return _Outcome(problem=Problem(name, error.reason, str(error)))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return _Outcome(problem=Problem(name, "bad_name", "the name of its copy would be too long; shorten it"))

    pool, show = ThreadPoolExecutor(_WORKERS), throttled(progress)
    outcomes = []
    try:
        for outcome in pool.map(guarded, range(len(catalog))):
            outcomes.append(outcome)
            show(len(outcomes), len(catalog))
    finally:
        pool.shutdown(cancel_futures=True)
    return Prepared(
        folders=folders,
        written=sum(outcome.written for outcome in outcomes),
        kept=sum(outcome.kept for outcome in outcomes),
        failures=(*catalog.problems, *(outcome.problem for outcome in outcomes if outcome.problem)),
        counts=counts or {},
        doubles=doubles,
    )
