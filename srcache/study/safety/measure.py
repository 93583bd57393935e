"""Label safety: how far super-resolution may have changed what an image shows, measured for each stored SR image.

`metrics` defines the numbers, `dataset.scores` keeps them in a side table; the images are only read. A run measures
what has no row yet, so that it goes on where it stopped. The classifier sees each SR image with its own references and
nothing else, so that a number never depends on which other images were measured with it.
"""

import math
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from srcache.cache.failures import FailedEntry, failed_image, failures_by_reason, not_catalogued
from srcache.cache.manifest import RecipeFolder
from srcache.catalog.names import stem_of
from srcache.catalog.scanning import scan
from srcache.dataset.items import Items, open_items
from srcache.dataset.scores import TABLE, LabelScore, begin_scores, read_scores, write_scores
from srcache.errors import CacheError, CatalogError, ChecksumError, ConfigError, ImageError, PolicyError
from srcache.files import lock
from srcache.images import Pixels, decode, divisible_part, one_image, resize
from srcache.keys import ImageKey, split_name
from srcache.machine import versions
from srcache.progress import Progress
from srcache.stores import Store, source_of
from srcache.study.quality.mod_crop import fitting_factor
from srcache.study.safety.metrics import (
    MEANING,
    VERSION,
    Classifier,
    Observation,
    back_projection,
    compare_labels,
    safe,
)

_Loaded = tuple[Observation | None, float, float]
THRESHOLDS = (0.5, 0.8, 0.9, 0.95)
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_DIGITS = 6
_AHEAD, _WORKERS = 8, 2
_WRITE_EVERY = 30.0
"""Seconds of measuring that a killed process loses at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyReport:
    """What `measure_safety` measured of the images that it was given, now and earlier.

    Attributes:
        table: the CSV file; it may hold rows of other images too.
        convention: by which definitions and which classifier; see `dataset.scores`.
        measured, known: SR images measured now, and those that had a row already.
        absent: source images of which the cache has no SR image.
        failures: SR images that could not be measured, and why; the next run tries again.
        rows: of all given images that are measured.
    """

    table: Path
    convention: Mapping[str, Any]
    measured: int
    known: int
    absent: int
    failures: tuple[FailedEntry, ...]
    rows: tuple[LabelScore, ...] = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """All but the rows, as JSON values."""
        return {
            "table": str(self.table),
            "convention": dict(self.convention),
            "measured": self.measured,
            "known": self.known,
            "absent": self.absent,
            "failed": failures_by_reason(self.failures),
            **summary(self.rows),
        }


def source_images(folder: RecipeFolder, lr: Any = None, hr: Any = None) -> Items:
    """The source images of a recipe's SR images: LR, and HR if there are any, paired by name.

    Args:
        folder: the recipe's.
        lr: a folder, CSV file, Catalog or data set of LR images; None where the recipe makes LR from HR.
        hr: the HR images; needed where the recipe makes LR from them, else only to compare with.

    Raises:
        CatalogError: the images are not what the recipe was made from.
    """
    degradation, colors = folder.recipe.degradation, folder.recipe.colors
    if degradation is not None:
        if hr is None or lr is not None:
            raise CatalogError(f"recipe {folder.path.name} makes LR from HR ({degradation}); give HR images, and no LR")
        return open_items(_listed(hr), None, degradation, colors=colors)
    if lr is None:
        raise CatalogError(f"recipe {folder.path.name} was made from LR images; give them, and HR beside them if any")
    return open_items(_listed(lr), hr, None, colors=colors)


def _listed(images: Any) -> Any:
    """A folder or a CSV file as a catalog, which may lack files that cannot be read; they are told with the others."""
    return scan(images) if isinstance(images, str | Path) else images


def measure_safety(
    folder: RecipeFolder,
    items: Items,
    classifier: Classifier | None = None,
    *,
    again: bool = False,
    progress: Progress | None = None,
) -> SafetyReport:
    """Measure the stored SR images of `items` that have no row yet, and write the rows into the recipe's folder.

    Args:
        folder: the recipe's, by `Cache.find`.
        items: the source images, by `source_images`.
        classifier: the reference classifier; None measures back-projection alone.
        again: forget all rows first; so do another classifier and another convention. For references that changed:
            rows go by the SR image's name, which knows nothing of an HR image that stands beside LR.
        progress: called with (done, all).

    Raises:
        ConfigError: nothing is stored, none of it is of these images, or a table that has a classifier's numbers would
            be replaced by one without.
        BusyError: the recipe is being filled or measured.
        DamagedError: the table is not what was written.
        DiskFullError: no room, or no permission.
    """
    convention, failures = _convention(folder, items, classifier), list[FailedEntry]()
    with lock(folder.path, "measured"):
        store = folder.store()
        wanted, absent = _wanted(items, store)
        if not wanted:
            raise CacheError(
                f"{folder.path} has no SR image of these {len(items)} images; give those that it was built from"
            )
        rows = _known(folder.path, convention, again)
        if rows is None:
            begin_scores(folder.path, convention, _notes(classifier))
            rows = {}
        renamed = _update_names(rows, wanted, items)
        todo = [one for one in wanted.items() if one[0] not in rows]
        if todo or renamed:
            failures = _Measurement(folder, items, store, classifier).run(todo, rows, progress)
    folder.push()
    return SafetyReport(
        table=folder.path / TABLE,
        convention=convention,
        measured=len(todo) - len(failures),
        known=len(wanted) - len(todo),
        absent=absent,
        failures=(*not_catalogued(items.left_out), *failures),
        rows=tuple(rows[name] for name in wanted if name in rows),
    )


def summary(rows: Sequence[LabelScore]) -> dict[str, Any]:
    """How many rows, the quantiles of each number (of the values themselves, none between), and how many are safe.

    Plain JSON: an infinite quantile is None.
    """
    quantiles = {}
    for column in MEANING:
        values = np.array([getattr(row, column) for row in rows], np.float64)
        if len(values) and not np.isnan(values).any():
            found = np.quantile(values, QUANTILES, method="inverted_cdf")
            quantiles[column] = {
                f"{share:g}": float(value) if math.isfinite(value) else None
                for share, value in zip(QUANTILES, found, strict=True)
            }
    passing = {f"{bound:g}": sum(row.safe > bound for row in rows) for bound in THRESHOLDS}
    return {"rows": len(rows), "quantiles": quantiles, "safe_above": passing}


class _Measurement:
    """One run of `measure_safety` over a recipe's folder: images are read ahead in threads, classified in this one."""

    def __init__(self, folder: RecipeFolder, items: Items, store: Store, classifier: Classifier | None) -> None:
        self._home, self._items, self._store, self._classifier = folder.path, items, store, classifier
        self._filter, self._hr = _filter(folder), _has_hr(items)
        self._may_be_cropped = folder.recipe.degradation is None

    def run(
        self, todo: Sequence[tuple[str, int]], rows: dict[str, LabelScore], progress: Progress | None
    ) -> list[FailedEntry]:
        """Measure entries, each (name, place among the items), into `rows`, which is written however this ends."""
        failures: list[FailedEntry] = []
        written = time.monotonic()
        try:
            with closing(self._loaded(todo)) as ahead:
                for done, (name, place, loaded) in enumerate(ahead, 1):
                    try:
                        rows[name] = self._score(name, place, loaded.result())
                    except (ImageError, MemoryError) as error:
                        failures.append(failed_image(name, self._items.name(place), error))
                    if progress is not None:
                        progress(done, len(todo))
                    if time.monotonic() - written > _WRITE_EVERY:
                        write_scores(self._home, rows.values())
                        written = time.monotonic()
        finally:
            write_scores(self._home, rows.values())
        return failures

    def _loaded(self, todo: Sequence[tuple[str, int]]) -> Generator[tuple[str, int, Future[_Loaded]], None, None]:
        """Entries in order with their images, a few of which are read ahead."""
        waiting: deque[tuple[str, int, Future[_Loaded]]] = deque()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="srcache-safety") as pool:
            for name, place in todo:
                waiting.append((name, place, pool.submit(self._load, name, place)))
                if len(waiting) == _AHEAD:
                    yield waiting.popleft()
            yield from waiting

    def _load(self, name: str, place: int) -> _Loaded:
        """The images for the classifier (None without one), and the back-projection: dB and levels."""
        with one_image():
            sr, lr = self._decoded(name), self._items.lr(place)
            back = back_projection(sr, lr, self._filter)
            if self._classifier is None:
                return None, *back
            size = (sr.shape[0], sr.shape[1])
            hr = resize(self._shown(place, lr), size, "bicubic") if self._hr else None
            return Observation(sr, resize(lr, size, "bicubic"), hr), *back

    def _shown(self, place: int, lr: Pixels) -> Pixels:
        """The part of the HR image that LR (and so SR) shows: without what mod-crop cut away, where sizes tell that.

        A recipe that makes LR itself shrinks all of HR.
        """
        hr = self._items.hr(place)
        if not self._may_be_cropped:
            return hr
        sides = (lr.shape[0], lr.shape[1]), (hr.shape[0], hr.shape[1])
        return divisible_part(hr, fitting_factor([sides], any_scale=False))

    def _decoded(self, name: str) -> Pixels:
        try:
            return decode(self._store.get(name) or b"")
        except ChecksumError as error:
            raise ImageError("checksum", f"the SR image {name} is damaged: {error}") from error
        except ImageError as error:
            raise ImageError(error.reason, f"the SR image {name} cannot be decoded: {error}") from error

    def _score(self, name: str, place: int, loaded: _Loaded) -> LabelScore:
        seen, back, error = loaded
        key, sample = split_name(name)
        labels = compare_labels(self._classifier, seen) if self._classifier is not None and seen is not None else None
        agree, distance = (labels.agree, labels.feature_distance) if labels else (None, None)
        return LabelScore(
            image=_image_name(self._items, place),
            key=key,
            sample=sample,
            safe=round(safe(back, agree, distance), _DIGITS),
            back_projection=round(back, _DIGITS),
            back_projection_error=round(error, _DIGITS),
            agree=math.nan if agree is None else round(agree, _DIGITS),
            feature_distance=math.nan if distance is None else round(distance, _DIGITS),
            lr_label=labels.lr_label if labels else None,
            sr_label=labels.sr_label if labels else None,
            hr_label=labels.hr_label if labels else None,
        )


def _wanted(items: Items, store: Store) -> tuple[dict[str, int], int]:
    """The stored SR images of these items, each with the first place of its source; and how many images have none.

    Pixels in memory are looked for under the key of the file that they are of, too.
    """
    found: dict[str, int] = {}
    absent: set[ImageKey] = set()
    for place in range(len(items)):
        key = items.key(place)
        names = list(store.names(f"{key}-"))
        if not names and (file := source_of(store, key, items.alias(place))) is not None:
            names = list(store.names(f"{file}-"))
        if not names:
            absent.add(key)
        for name in names:
            found.setdefault(name, place)
    return found, len(absent)


def _image_name(items: Items, place: int) -> str:
    """The name of a source image in the table and in prediction files."""
    return stem_of(items.name(place))


def _update_names(rows: dict[str, LabelScore], wanted: Mapping[str, int], items: Items) -> bool:
    """Give rows the names that their source images have now; whether any had another."""
    before = dict(rows)
    rows.update({name: replace(rows[name], image=_image_name(items, wanted[name])) for name in wanted if name in rows})
    return any(rows[name].image != before[name].image for name in rows)


def _convention(folder: RecipeFolder, items: Items, classifier: Classifier | None) -> dict[str, Any]:
    about = None if classifier is None else {"digest": classifier.digest, "classes": list(classifier.classes)}
    reference = None if classifier is None else "hr" if _has_hr(items) else "lr"
    found = {"version": VERSION, "filter": _filter(folder), "reference": reference, "classifier": about}
    cropped = reference == "hr" and folder.recipe.degradation is None
    return {**found, **({"hr": "without what mod-crop cuts away"} if cropped else {})}


def _notes(classifier: Classifier | None) -> dict[str, Any]:
    """What else the table says about itself: definitions, the classifier's name, versions."""
    return {"meaning": MEANING, "classifier": classifier.name if classifier else None, "versions": versions()}


def _known(home: Path, convention: Mapping[str, Any], again: bool) -> dict[str, LabelScore] | None:
    """The rows that hold under a convention; None if there are none to keep."""
    table = None if again else read_scores(home)
    if table is None:
        return None
    if convention["classifier"] is None and table.convention.get("classifier") is not None:
        raise ConfigError(
            f"{table.path} has a classifier's numbers, which measuring without one would delete; "
            "give the classifier (--classifier), or --again if that is meant"
        )
    return {row.name: row for row in table.rows} if dict(table.convention) == dict(convention) else None


def _filter(folder: RecipeFolder) -> str:
    degradation = folder.recipe.degradation
    return degradation.filter if degradation else "bicubic"


def _has_hr(items: Items) -> bool:
    with suppress(PolicyError):
        items.require_hr()
        return True
    return False
