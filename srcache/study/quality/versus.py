"""Two sets of images against each other, metric by metric: what a table must say for one SR to beat another.

Both are measured in one convention, paired by name, and compared image by image: the difference is the first minus the
second, with a percentile bootstrap interval of its mean over images. Where there are several metrics, the interval that
decides is wide enough for all of them together (Bonferroni).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcache.errors import CatalogError, ConfigError, listed
from srcache.files import csv_text, write_atomic
from srcache.files.claims import working
from srcache.progress import Progress
from srcache.study.quality.measure import QualitySettings, measure_folders
from srcache.study.quality.psnr_ssim import Convention
from srcache.study.quality.report import EVALUATION, LEVEL, QualityReport, Summary, require_absent

SCHEMA = "srcache.quality-compare/1"
RESAMPLES = 10_000
_RUN = {"name": "compare"}
"""What makes two runs the same, as `was_stopped` asks it."""
_BATCH = 500
"""Bootstrap samples drawn at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """One metric of two sets, image by image; differences are the first minus the second.

    Attributes:
        metric: its name.
        lower_better: whether lower is better.
        first, second: the means over the images compared; of a metric of sets, its two numbers.
        difference: of the means.
        low, high: its 95 % interval, of this metric alone; None where there is none, with the reason in `note`.
        wide_low, wide_high: the same for all metrics together, which decides.
        n, images: images compared, and all there are.
        first_better, second_better: images on which either is better; on the rest they are equal.
        text: how it was measured.
        note: what to know.
    """

    metric: str
    lower_better: bool
    first: float
    second: float
    difference: float
    images: int
    text: str
    low: float | None = None
    high: float | None = None
    wide_low: float | None = None
    wide_high: float | None = None
    n: int = 0
    first_better: int = 0
    second_better: int = 0
    note: str = ""

    @property
    def better(self) -> str | None:
        """`first` or `second`, if the interval for all metrics leaves 0 out; else None."""
        if self.wide_low is None or self.wide_high is None or self.wide_low <= 0 <= self.wide_high:
            return None
        return "first" if (self.difference > 0) != self.lower_better else "second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Two sets compared: their reports, a `Versus` for each metric, and the seed of the bootstrap."""

    first: QualityReport
    second: QualityReport
    metrics: tuple[Versus, ...]
    seed: int

    def plain(self) -> dict[str, Any]:
        """As JSON values, schema srcache.quality-compare/1."""
        return {
            "schema": SCHEMA,
            "reference": self.first.reference,
            "first": {"test": self.first.test, "recipe": self.first.recipe},
            "second": {"test": self.second.test, "recipe": self.second.recipe},
            "metrics": {one.metric: _plain(one) for one in self.metrics},
            "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "seed": self.seed},
            "skipped": [{"set": which, **asdict(one)} for which, report in self._sets for one in report.skipped],
            "failures": [{"set": which, **asdict(one)} for which, report in self._sets for one in report.failures],
        }

    def csv_text(self) -> str:
        """Per image: `name`, then for each metric both values and their difference; empty where there is none."""
        metrics = [one.metric for one in self.metrics if one.n and one.metric in _of_images(self.first)]
        heads = [f"{metric} {what}" for metric in metrics for what in ("first", "second", "difference")]
        rows: list[list[object]] = []
        for name in sorted(set(self.first.rows) | set(self.second.rows)):
            cells: list[object] = [name]
            for metric in metrics:
                one, other = (report.rows.get(name, {}).get(metric) for _, report in self._sets)
                cells += [one, other, None if one is None or other is None else _difference(one, other)]
            rows.append(cells)
        return csv_text([("name", *heads), *rows])

    def write(self, out: Path) -> tuple[Path, ...]:
        """Write compare.csv (per image) and compare.json (`plain`); returns the files.

        Raises:
            ConfigError: one of them exists.
            BusyError: another process writes one there.
            DiskFullError: no room.
        """
        table, summary = require_free_for(out)
        with working(out, EVALUATION, _RUN, "written"):
            write_atomic(table, self.csv_text())
            write_atomic(summary, json.dumps(self.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return table, summary

    @property
    def _sets(self) -> tuple[tuple[str, QualityReport], ...]:
        return ("first", self.first), ("second", self.second)


def compare_folders(
    reference: str | Path | None,
    tests: tuple[str | Path, str | Path],
    metrics: Sequence[str],
    convention: Convention,
    settings: tuple[QualitySettings, QualitySettings],
    progress: Progress | None = None,
) -> Versions:
    """Measure two sets against the same references (or none), and compare them image by image.

    Args:
        reference: a folder of images; None where no metric compares with references.
        tests: two folders or caches.
        metrics: as `measure_folders` takes them.
        convention: of both.
        settings: of each; they differ in which of a cache's images are meant.
        progress: called with (images done, all images) of each set.

    Raises:
        As `measure_folders`; CatalogError also where the sets have different images, ConfigError where their sizes ask
        for different mod-crops.
    """
    first = measure_folders(reference, tests[0], metrics, convention, settings[0], progress)
    second = measure_folders(reference, tests[1], metrics, convention, settings[1], progress)
    _require_same_images(first, second)
    shared = [(one, other) for one in first.summaries for other in second.summaries if one.metric == other.metric]
    for one, other in shared:
        if one.convention != other.convention:
            raise ConfigError(
                f"{one.metric} was measured in two ways, which cannot be compared: of {first.test} ({one.text}), of "
                f"{second.test} ({other.text}); --mod-crop FACTOR makes them one"
            )
    found = [_compare(one, other, (first, second)) for one, other in shared]
    intervals = _intervals([pairs for _, pairs in found], settings[0].seed)
    done = [_finish(one, limits) for (one, _), limits in zip(found, intervals, strict=True)]
    return Versions(first=first, second=second, metrics=tuple(done), seed=settings[0].seed)


def require_free_for(out: Path) -> tuple[Path, Path]:
    """The files that a comparison is written to: table, summary. What was stopped in writing them is no comparison.

    Raises:
        ConfigError: one of them exists.
    """
    paths = out / "compare.csv", out / "compare.json"
    require_absent(out, _RUN, paths)
    return paths


def paired_intervals(
    differences: Mapping[str, Sequence[float]], level: float, seed: int
) -> dict[str, tuple[float, float]]:
    """The percentile bootstrap interval of each mean; drawn over images, by the places of the values.

    Those with fewer than two values, or with an infinite one, have none.
    """
    found = {}
    for name, values in differences.items():
        array = np.asarray(values, np.float64)
        if len(array) > 1 and np.isfinite(array).all():
            means = _resampled_means(array, seed)
            low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
            found[name] = float(low), float(high)
    return found


def _resampled_means(array: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng, size = np.random.default_rng(seed), len(array)
    step = max(1, min(_BATCH, 4_000_000 // size))
    pieces = [
        array[rng.integers(0, size, (min(step, RESAMPLES - done), size))].mean(axis=1)
        for done in range(0, RESAMPLES, step)
    ]
    return np.concatenate(pieces)


def _require_same_images(first: QualityReport, second: QualityReport) -> None:
    """Without references nothing else makes sure that both have the same images; what failed in one may be missing."""
    names = [set(one.rows) | {failure.source for failure in one.failures} for one in (first, second)]
    alone = [sorted(names[0] - names[1]), sorted(names[1] - names[0])]
    if first.reference is None and any(alone):
        words = [
            f"{len(lacking)} only in {one.test}: {listed(lacking)}"
            for one, lacking in zip((first, second), alone, strict=True)
            if lacking
        ]
        raise CatalogError(f"two sets are compared by name (suffixes do not count), but {'; '.join(words)}")


def _of_images(report: QualityReport) -> set[str]:
    return {one.metric for one in report.summaries if one.median is not None}


def _compare(one: Summary, other: Summary, reports: tuple[QualityReport, QualityReport]) -> tuple[Versus, list[float]]:
    """A metric without its intervals, and the differences that these are made of."""
    metric, whole = one.metric, max(report.pairs for report in reports)
    blank = Versus(
        metric=metric,
        lower_better=one.lower_better,
        first=one.mean,
        second=other.mean,
        difference=_difference(one.mean, other.mean),
        images=whole,
        text=one.text,
    )
    if one.median is None or other.median is None:
        note = "one number of a whole set: no image by image, no interval"
        return replace(blank, n=min(one.n, other.n), note="; ".join(filter(None, (note, one.note)))), []
    values = [
        (rows[metric], reports[1].rows[name][metric])
        for name, rows in reports[0].rows.items()
        if metric in rows and metric in reports[1].rows.get(name, {})
    ]
    finite = [pair for pair in values if all(map(math.isfinite, pair))]
    higher = sum(left > right for left, right in values)
    lower = sum(left < right for left, right in values)
    notes = []
    if len(finite) < len(values):
        notes.append(f"without {len(values) - len(finite)} images of which one is its reference exactly (infinite)")
    if len(values) < whole:
        notes.append(f"{len(values)} of {whole} images could be measured in both")
    counts = (lower, higher) if one.lower_better else (higher, lower)
    counted = replace(blank, first_better=counts[0], second_better=counts[1])
    if not finite:
        return replace(counted, note="; ".join([*notes, "no image is left to compare"])), []
    means = [fmean(side) for side in zip(*finite, strict=True)]
    found = replace(
        counted,
        first=means[0],
        second=means[1],
        difference=fmean(left - right for left, right in finite),
        n=len(finite),
        note="; ".join(notes),
    )
    return found, [left - right for left, right in finite]


def _intervals(differences: Sequence[Sequence[float]], seed: int) -> list[tuple[tuple[float, float], ...] | None]:
    """Of each metric its interval alone and for all together; None where there is none."""
    named = {str(at): values for at, values in enumerate(differences) if values}
    alone = paired_intervals(named, LEVEL, seed)
    together = paired_intervals(named, 1 - (1 - LEVEL) / max(1, len(alone)), seed)
    return [(alone[key], together[key]) if (key := str(at)) in alone else None for at in range(len(differences))]


def _finish(one: Versus, limits: tuple[tuple[float, float], ...] | None) -> Versus:
    if limits is None:
        return one
    (low, high), (wide_low, wide_high) = limits
    return replace(one, low=low, high=high, wide_low=wide_low, wide_high=wide_high)


def _difference(one: float, other: float) -> float:
    """The first minus the second; 0 where both are infinite, being the reference."""
    return 0.0 if one == other else one - other


def _plain(one: Versus) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(one).items() if key not in ("metric", "lower_better", "text")}
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in plain.items()}
    better = {"better": "lower" if one.lower_better else "higher", "wins": one.better}
    return {**finite, **better, "convention": one.text}
