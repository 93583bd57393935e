"""What the commands of `srcache prepare` have in common: images worked on in threads, files written once, a report.

Each command writes into an empty folder, or completes an earlier run of the same command with the same parameters on
the same images (`claim` distinguishes the two): files that are there are kept, so that twice is the same as once. Files
get their names only when they are complete. Everything depends on names and seeds, nothing on the order of images.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from srcache.catalog.listing import Problem
from srcache.catalog.rows import Catalog
from srcache.errors import ImageError
from srcache.files import atomic_path, disk_errors
from srcache.images import AS_EVER, Colors, count_notes, one_image
from srcache.progress import Progress, throttled

_WORKERS = 2 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run of `srcache prepare` did.

    Attributes:
        folders: where it wrote.
        written: files of this run.
        kept: files that an earlier run had finished.
        failures: images that could not be used, and why; those that could not be catalogued too.
        counts: for a split: files per split and class, as `train/cat`.
        lacking: for a split: splits and classes, as `validation/dog`, that got no file though they have a share.
        doubles: for a split: names of files with the same bytes that lie in different classes.
        notes: of the images of this run, how many took what to become RGB; see `srcache.images.NOTES`.
    """

    folders: tuple[Path, ...]
    written: int
    kept: int
    failures: tuple[Problem, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    doubles: tuple[tuple[str, ...], ...] = ()
    lacking: tuple[str, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, int]:
        """Failures by reason."""
        return dict(sorted(Counter(problem.reason for problem in self.failures).items()))


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image: how many files were written and kept, or why it could not be used.

    `notes` is what it took to become RGB; see `srcache.images.NOTES`.
    """

    written: int = 0
    kept: int = 0
    problem: Problem | None = None
    notes: frozenset[str] = frozenset()


def process_images(
    catalog: Catalog, folders: tuple[Path, ...], work: Callable[[int], ImageOutcome], progress: Progress | None
) -> Prepared:
    """Call `work` with the number of every row, in threads; an image that fails does not stop the others.

    Args:
        catalog: the images.
        folders: where `work` writes, for the report.
        work: may raise an ImageError, which is reported.
        progress: called with (done, total) images.
    """

    def guarded(index: int) -> ImageOutcome:
        name = catalog.rows[index].name
        try:
            with one_image():
                return work(index)
        except ImageError as error:
            return ImageOutcome(problem=Problem(name, error.reason, str(error)))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            problem = Problem(name, "bad_name", "the name of its copy would be too long; shorten it")
            return ImageOutcome(problem=problem)

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
        notes=count_notes(outcome.notes for outcome in outcomes),
    )


def color_parameters(colors: Colors) -> dict[str, str]:
    """What of its colours makes a run another one, as JSON values: nothing, where they are as ever."""
    given = {"color_profile": (colors.profile, AS_EVER.profile), "background": (colors.background, AS_EVER.background)}
    return {name: value for name, (value, usual) in given.items() if value != usual}


def write_file(path: Path, data: bytes) -> None:
    """Write a file that gets its name when it is complete.

    Nothing is synced: after a power failure a file may be empty, which `is_written` knows.

    Raises:
        DiskFullError: no room, or no permission.
    """
    with disk_errors(path), atomic_path(path) as part:
        part.write_bytes(data)


def is_written(path: Path) -> bool:
    """Whether an earlier run wrote this file, to its end."""
    return path.is_file() and path.stat().st_size > 0
