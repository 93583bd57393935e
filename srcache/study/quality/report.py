"""The result of a measurement: every image's numbers, a summary of each metric, and how it was measured."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srcache.errors import ConfigError
from srcache.files import csv_text, write_atomic
from srcache.files.claims import was_stopped, working
from srcache.images import Pixels, encode
from srcache.study.quality.contact_sheet import Sheet, SheetRow, draw_sheet
from srcache.wording import of_all

SCHEMA = "srcache.quality/1"
RESAMPLES = 2000
LEVEL = 0.95
EXTREMES = 3
"""How many of the worst and of the best images are named and shown."""

_AMPLIFIED = 4
_LONGEST = 30
EVALUATION = "eval-images"
"""The command, as it marks the folders that it writes into."""

LoadPair = Callable[[str], tuple[Pixels, Pixels]]
"""Called with a name; gives the image and its reference, as they were compared."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric over the set.

    Attributes:
        metric: its name.
        mean: over the images, or the set's one number; infinite as soon as one pair is identical in PSNR.
        n: images that went into it.
        lower_better: whether less is better.
        convention, text: how it was measured, as JSON values and in a line.
        median: over the images; None for a set's number.
        interval: of the mean, by bootstrap (percentile, 95 %); None for a set's number, a single image or an
            infinite mean.
        worst, best: names and values, the most extreme first; empty for a set's number.
        note: what to know before believing it.
    """

    metric: str
    mean: float
    n: int
    lower_better: bool
    convention: Mapping[str, Any]
    text: str
    median: float | None = field(default=None, kw_only=True)
    interval: tuple[float, float] | None = field(default=None, kw_only=True)
    worst: tuple[tuple[str, float], ...] = field(default=(), kw_only=True)
    best: tuple[tuple[str, float], ...] = field(default=(), kw_only=True)
    note: str = field(default="", kw_only=True)

    def plain(self) -> dict[str, Any]:
        """As JSON values; an infinite number is null beside a reason."""
        plain = {
            **_finite("mean", self.mean),
            **(_finite("median", self.median) if self.median is not None else {"median": None}),
            "interval": list(self.interval) if self.interval else None,
            "n": self.n,
            "better": "lower" if self.lower_better else "higher",
            "worst": [{"name": name, **_finite("value", value)} for name, value in self.worst],
            "best": [{"name": name, **_finite("value", value)} for name, value in self.best],
            "convention": dict(self.convention),
        }
        return {**plain, "note": self.note} if self.note else plain


@dataclass(frozen=True, slots=True)
class QualityFailure:
    """An image that could not be measured; `metric` is empty if none could."""

    source: str
    metric: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A metric that was left out, and why."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Everything about a set of images.

    Attributes:
        reference, test: the folders, or the cache, as they were given; no reference where none was needed.
        recipe: the cache's recipe folder, or None.
        pairs: how many there are; not each of them need have been measured.
        rows: name → metric → value, in the order of names; a metric that failed for an image is absent.
        summaries: per metric, in the order asked for.
        skipped, failures: what was left out.
        seed: of the bootstrap.
        seconds: how long it took.
        load_pair: reads an image and its reference again, for the contact sheet; None if there is to be none.
    """

    reference: str | None
    test: str
    recipe: str | None
    pairs: int
    rows: Mapping[str, Mapping[str, float]]
    summaries: tuple[Summary, ...]
    skipped: tuple[Skipped, ...] = ()
    failures: tuple[QualityFailure, ...] = ()
    seed: int = 0
    seconds: float = 0.0
    load_pair: LoadPair | None = field(default=None, repr=False, compare=False)

    def plain(self) -> dict[str, Any]:
        """As JSON values: schema, sources, per metric its summary and convention, what was skipped and what failed."""
        return {
            "schema": SCHEMA,
            "reference": self.reference,
            "test": self.test,
            "recipe": self.recipe,
            "pairs": self.pairs,
            "images": len(self.rows),
            "metrics": {one.metric: one.plain() for one in self.summaries},
            "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "seed": self.seed},
            "skipped": [{"metric": one.metric, "reason": one.reason} for one in self.skipped],
            "failures": [
                {"source": one.source, "metric": one.metric, "reason": one.reason, "detail": one.detail}
                for one in self.failures
            ],
            "seconds": round(self.seconds, 3),
        }

    def csv_text(self) -> str:
        """Per image: `name`, then a column per metric; an empty cell where there is no number."""
        metrics = [one.metric for one in self.summaries if one.median is not None]
        rows = ((name, *(values.get(metric) for metric in metrics)) for name, values in self.rows.items())
        return csv_text([("name", *metrics), *rows])

    def write(self, out: Path, name: str = "quality", *, replace: bool = False) -> tuple[Path, ...]:
        """Write `{name}.csv` (per image), `{name}.json` (`plain`) and `{name}.png` (worst and best); returns the files.

        Raises:
            ConfigError: one of them exists, and is not to be replaced.
            DiskFullError: no room.
        """
        table, summary, sheet = require_free(out, name, replace=replace)
        drawn = self.sheet()
        with working(out, EVALUATION, {"name": name}, "written"):
            write_atomic(table, self.csv_text())
            write_atomic(summary, json.dumps(self.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
            if drawn is not None:
                write_atomic(sheet, encode(drawn, "png"))
        return (table, summary) if drawn is None else (table, summary, sheet)

    def sheet(self) -> Pixels | None:
        """The worst and the best images by the first metric of single images, as one picture; None without one."""
        lead = next((one for one in self.summaries if one.worst), None)
        if lead is None or self.load_pair is None:
            return None
        worst = [(f"worst {place}", name) for place, (name, _) in enumerate(lead.worst, 1)]
        taken = {name for _, name in worst}
        best = [(f"best {place}", name) for place, (name, _) in enumerate(lead.best, 1) if name not in taken]
        rows = [self._row(title, name, *self.load_pair(name)) for title, name in worst + best]
        return draw_sheet(
            Sheet(
                columns=("reference", "picture", f"difference x{_AMPLIFIED}") if self.reference else ("picture",),
                rows=rows,
                heading=f"{lead.metric}: worst and best (n {of_all(lead.n, self.pairs)})",
                footing=lead.text,
            )
        )

    def _row(self, title: str, name: str, image: Pixels, reference: Pixels) -> SheetRow:
        difference = np.zeros_like(reference)
        found = self.rows[name]
        values = [f"{one.metric} {found[one.metric]:.4g}" for one in self.summaries if one.metric in found][:2]
        caption = f"{title}\n{_short(name)}"
        if self.reference is None:
            return SheetRow(caption=caption, images=(image,), notes=("  ".join(values),))
        if image.shape == reference.shape:
            apart = np.abs(image.astype(np.int16) - reference.astype(np.int16))
            difference = (apart * _AMPLIFIED).clip(0, 255).astype(np.uint8)
        return SheetRow(
            caption=caption,
            images=(reference, image, difference),
            notes=("", "  ".join(values), ""),
        )


def require_free(out: Path, name: str, *, replace: bool = False) -> tuple[Path, Path, Path]:
    """The files that a report is written to: table, summary, sheet. What was stopped in writing them is no report.

    Raises:
        ConfigError: one of them exists, and is not to be replaced.
    """
    table, summary, sheet = (out / f"{name}.{suffix}" for suffix in ("csv", "json", "png"))
    if not replace:
        require_absent(out, {"name": name}, (table, summary, sheet))
    return table, summary, sheet


def require_absent(out: Path, run: Mapping[str, object], files: Sequence[Path]) -> None:
    """Refuse to write over files, unless they are what the same run of the command left that was stopped.

    Raises:
        ConfigError: one of them exists.
    """
    there = [path.name for path in files if path.exists()]
    if there and not was_stopped(out, EVALUATION, run):
        raise ConfigError(f"{out} already has {', '.join(there)}; choose another folder, or remove them")


def interval(values: Sequence[float], seed: int) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of the mean; None for fewer than two values or an infinite one."""
    array = np.asarray(values, np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        return None
    rng = np.random.default_rng(seed)
    means = [array[rng.integers(0, len(array), len(array))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_text(plain: Mapping[str, Any], pairs: int) -> str:
    """A summary's mean in a few digits, never without its n, from its JSON values: 25.34 (n 33), 23.27 (n 7 of 33).

    One pair of equal images makes a mean of PSNR infinite, which says nothing of the others; the median then does.
    """
    mean, median = plain["mean"], plain.get("median")
    if mean is None:
        words = "identical" if median is None else f"infinite, median {median:.4g}"
        return f"{words} (n {of_all(plain['n'], pairs)})"
    return f"{mean:.4g} (n {of_all(plain['n'], pairs)})"


def part_note(count: int, pairs: int) -> str:
    """What is to be said of a number over `count` of all pairs; empty if it is over all."""
    return f"over {count} of {pairs} pairs; the others could not be measured" if count < pairs else ""


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def _finite(name: str, value: float) -> dict[str, Any]:
    if math.isfinite(value):
        return {name: value}
    return {name: None, f"{name}_reason": "identical pictures: infinite"}
