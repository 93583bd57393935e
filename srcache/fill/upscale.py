"""Upscale a few image files into a folder, without a cache: the same pixels that `fill` would store."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.cache.failures import FailedEntry, in_order
from srcache.catalog.names import stem_of
from srcache.catalog.rows import Catalog, Row
from srcache.errors import CatalogError, listed
from srcache.files import disk_errors, real_path
from srcache.files.claims import was_stopped, working
from srcache.files.regular import regular_status
from srcache.fill.feeding import FillCounts, FillJob, load_engine, start_service, submit_all
from srcache.fill.plan import make_plan
from srcache.fill.settings import FillSettings, require_possible
from srcache.images import as_file
from srcache.keys import ImageKey, entry_name, file_key, split_name
from srcache.progress import Progress
from srcache.recipe.recipe import Recipe, suffix_for
from srcache.stores import Entry, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleReport:
    """What was written, in the order of the inputs, and what could not be done."""

    out: Path
    recipe: str
    files: tuple[Path, ...]
    failures: tuple[FailedEntry, ...]
    seconds: float
    device: str


def upscale(
    images: Sequence[str | Path],
    recipe: Recipe,
    out: str | Path,
    settings: FillSettings | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> UpscaleReport:
    """Upscale image files into a folder, as `<stem>.png` (`.jpg`, `.webp` where the recipe's codec is lossy).

    With several samples, files are `<stem>-000.png`, `<stem>-001.png`, … What was stopped is completed by the same
    call.

    Raises:
        CatalogError: two inputs would be written to one file; or a file is there already and `force` is not set.
        RecipeError: the recipe does not fit the engine, or asks for samples that would all be the same.
        BusyError: another process does the same.
        DiskFullError: no room.
    """
    settings, out, started = settings or FillSettings(), Path(out), time.perf_counter()
    require_possible(recipe, settings)
    paths = [Path(image) for image in images]
    targets = [_targets(path, out, recipe, settings.samples) for path in paths]
    keys, failures = _keys(paths)
    run = {"recipe": recipe.folder, "keys": keys, "files": [str(file) for files in targets for file in files]}
    stopped = was_stopped(out, "upscale", run)
    _require_free(paths, targets, force or stopped)
    rows = [Row(key, str(path), None, path) for path, key in zip(paths, keys, strict=True) if key]
    catalog = Catalog(rows=tuple(rows))
    store = _FileStore(keys, targets, keep=stopped and not force)
    plan = make_plan(catalog, None, store, samples=settings.samples)
    job = FillJob(catalog=catalog, recipe=recipe, plan=plan, settings=settings)
    counts, engine = FillCounts(None, len(plan.missing), progress), load_engine(recipe, settings)
    with working(out, "upscale", run, "upscaled into") as store.home:
        with start_service(engine, recipe, store, settings) as service:
            submit_all(job, service, counts)
        counts.check()
    return UpscaleReport(
        out=out,
        recipe=recipe.folder,
        files=tuple(file for files in targets for file in files if file in store.written),
        failures=(*failures, *_by_file(counts.failures, rows)),
        seconds=time.perf_counter() - started,
        device=service.settings.device,
    )


class _FileStore:
    """A `Store` that writes each image to the files of the inputs that have its bytes, and can give nothing back.

    Args:
        keys: of each input its key, or None if it cannot be read.
        targets: of each input the files that its samples become.
        keep: whether files that are there already are this run's own, so that they need not be made again.

    Attributes:
        written: the files that were written, now or before.
        home: where files are made, before each gets its place.
    """

    def __init__(self, keys: Sequence[ImageKey | None], targets: Sequence[Sequence[Path]], keep: bool) -> None:
        self.written, self.home = set[Path](), Path()
        self._targets: dict[str, list[Path]] = {}
        for key, files in zip(keys, targets, strict=True):
            for sample, file in enumerate(files if key else ()):
                self._targets.setdefault(entry_name(ImageKey(str(key)), sample), []).append(file)
        done = [files for files in self._targets.values() if keep and all(file.is_file() for file in files)]
        self.written |= {file for files in done for file in files}

    def put_many(self, entries: Iterable[Entry]) -> int:
        entries = list(entries)
        for entry in entries:
            _, data = as_file(entry.payload)
            for file in self._targets[entry.name]:
                with disk_errors(file):
                    part = self.home / entry.name
                    with part.open("wb") as made:
                        made.write(data)
                        made.flush()
                        os.fsync(made.fileno())
                    os.replace(part, file)
                self.written.add(file)
        return len(entries)

    def get(self, name: str) -> bytes | None:
        return None

    def record(self, name: str) -> Record | None:
        return None

    def has(self, name: str) -> bool:
        return self.written.issuperset(self._targets[name])

    def names(self, prefix: str = "") -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def resolve(self, alias: str) -> str | None:
        return None

    def get_many(self, names: Sequence[str], trusted: Sequence[int] = ()) -> list[bytes | memoryview | None]:
        return [None for _ in names]

    def view(self) -> AbstractContextManager["_FileStore"]:
        return nullcontext(self)

    def close(self) -> None:
        return


def _targets(path: Path, out: Path, recipe: Recipe, samples: int) -> list[Path]:
    """The files that an input's samples become."""
    stem, suffix = stem_of(path.name), suffix_for(recipe)
    if samples == 1:
        return [out / f"{stem}{suffix}"]
    return [out / f"{stem}-{sample:03d}{suffix}" for sample in range(samples)]


def _require_free(paths: Sequence[Path], targets: Sequence[Sequence[Path]], force: bool) -> None:
    """Refuse to write two inputs to one file, an input over itself, or (unless forced) over what is there."""
    files = [file for one in targets for file in one]
    twice = [file.name for file, count in Counter(files).items() if count > 1]
    if twice:
        raise CatalogError(f"several images would be written to {listed(twice)}; upscale them into different folders")
    sources = {real_path(path) for path in paths}
    own = [str(file) for file in files if real_path(file) in sources]
    if own:
        raise CatalogError(f"images would be written over themselves: {listed(own)}; choose another folder")
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        raise CatalogError(f"files are there already: {listed(there)}; choose another folder, or overwrite by --force")


def _keys(paths: Sequence[Path]) -> tuple[list[ImageKey | None], list[FailedEntry]]:
    """Each file's key, or None with a failure."""
    keys: list[ImageKey | None] = []
    failures = []
    for path in paths:
        try:
            regular_status(path)
            keys.append(file_key(path))
        except OSError as error:
            keys.append(None)
            failures.append(FailedEntry("", str(path), "unreadable", error.strerror or str(error)))
    return keys, failures


def _by_file(failures: Iterable[FailedEntry], rows: Sequence[Row]) -> Iterator[FailedEntry]:
    """The failures of each file, in the order of the inputs; what has the same bytes fails together."""
    of_key = dict[ImageKey, list[FailedEntry]]()
    for failed in in_order(failures):
        of_key.setdefault(split_name(failed.name)[0], []).append(failed)
    for row in rows:
        yield from (replace(failed, source=row.name) for failed in of_key.get(row.key, ()))
