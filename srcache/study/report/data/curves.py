"""The curves of an experiment's sweeps as the report reads them, and what they show, in a sentence.

One sign serves all: a difference is the first-named curve, or point, minus the second, in percentage points.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srcache.study.report.data.comparison import Ends
from srcache.study.report.data.labels import arm_word
from srcache.study.report.data.study import Study, inside
from srcache.wording import counted, enumeration, percent, points, points_range, real

SHARE = "share"
_NAMED = 3
"""Pairs of curves that do not part are named up to so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The accuracy at a value: of each seed, their mean, and its interval.

    Attributes:
        value: what was asked for; `all` is a text.
        x: where it is drawn.
        arm: which arm was trained for it.
        accuracy: of each seed.
        mean: of them; None where it is not known.
        ends: of its interval.
        late: trainings of it whose best epoch is the last.
    """

    value: Any
    x: float
    arm: str
    accuracy: tuple[float, ...]
    mean: float | None
    ends: Ends
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveView:
    """One curve: its title, and its points in the order of values."""

    name: str
    of: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveDifference:
    """Two curves at a value, or, with the same names, a curve at two values; the first minus the second."""

    first: str
    second: str
    at: Any
    against: Any
    difference: float
    ends: Ends
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesView:
    """One sweep."""

    name: str
    over: str
    images: int
    seeds: int
    level: str
    together: bool
    curves: tuple[CurveView, ...]
    differences: tuple[CurveDifference, ...]

    @property
    def unit(self) -> str:
        """What the values are."""
        if self.over != SHARE:
            return "images per class"
        kinds = {curve.of for curve in self.curves if curve.of}
        of = arm_word(kinds.pop()) if len(kinds) == 1 else ""
        return f"% of {of} in the mixture" if of else "% of the second kind in the mixture"

    def value(self, value: Any) -> str:
        """A value in a sentence: 25 %; 16 images per class; all images."""
        if self.over == SHARE:
            return f"{short_value(value)} %"
        if value == "all":
            return "all images"
        return f"{short_value(value)} {'image' if real(value) == 1 else 'images'} per class"


def study_curves(study: Study) -> list[CurvesView]:
    """Every sweep that has curves."""
    found = [read_curves(plain) for plain in study.mappings("sweeps")]
    return [one for one in found if any(point.mean is not None for curve in one.curves for point in curve.points)]


def read_curves(plain: dict[str, Any]) -> CurvesView:
    """A sweep from its JSON values; what is not there is empty."""
    over = str(plain.get("over") or "")
    rows = [row for row in inside(plain, list, "curves") or [] if isinstance(row, dict)]
    level = real(plain.get("level")) or 0.95
    return CurvesView(
        name=str(plain.get("name") or ""),
        over=over,
        images=int(real(plain.get("images")) or 0),
        seeds=len(inside(plain, list, "seeds") or []),
        level=percent(level, 0 if abs(100 * level - round(100 * level)) < 1e-9 else 1),
        together=plain.get("together") is not False,
        curves=tuple(_curve(row, over) for row in rows),
        differences=tuple(
            found for row in inside(plain, list, "differences") or [] if (found := _difference(row)) is not None
        ),
    )


def answer(sweep: CurvesView) -> str:
    """Where the curves part, in a sentence or two; empty without differences."""
    found = [one for one in sweep.differences if None not in one.ends]
    if not found and any(one.difference for one in sweep.differences):
        return "Where curves part, one is right on every image and the other on none: that has no interval."
    if not found:
        return (
            "At no point is there a difference to test: all are right on the same images." if sweep.differences else ""
        )
    groups = {(one.first, one.second): one for one in found}
    shown = {group: [one for one in found if (one.first, one.second) == group and one.shown] for group in groups}
    over = f"over {counted(sweep.images, 'image')} and {counted(sweep.seeds, 'seed')}"
    several = f" that hold for all {len(found)} differences together" if sweep.together and len(found) > 1 else ""
    how = f"{sweep.level} intervals {over}{several}"
    if not any(shown.values()):
        nearest = max(found, key=_nearness)
        numbers = f"{points(nearest.difference)} points ({points_range(*nearest.ends)})"
        return (
            f"The curves are not shown to part anywhere: {how} hold 0. The nearest is {pair_words(sweep, nearest)}, "
            f"at {sweep.value(nearest.at)}, {numbers}."
        )
    parts = "; ".join(_part(sweep, ones) for ones in shown.values() if ones)
    none = [pair_words(sweep, one) for group, one in groups.items() if not shown[group]]
    rest = enumeration(none) if len(none) <= _NAMED else f"{len(none)} other pairs of curves"
    return f"Shown to part, by {how}: {parts}." + (f" Not shown to part anywhere: {rest}." if none else "")


def pair_words(sweep: CurvesView, one: CurveDifference) -> str:
    """SR − bicubic; of one curve against its first point, mix − its point at 0 %."""
    if one.first != one.second:
        return f"{curve_word(one.first)} − {curve_word(one.second)}"
    return f"{curve_word(one.first)} − its point at {sweep.value(one.against)}"


def curve_word(name: str) -> str:
    """A curve's title within a sentence: mix on SR."""
    arm, on, domain = name.partition(" on ")
    return f"{arm_word(arm)} on {arm_word(domain)}" if on else arm_word(name)


def short_value(value: Any) -> str:
    """A value at an axis."""
    plain = real(value)
    return str(value) if plain is None else f"{plain:g}"


def _part(sweep: CurvesView, shown: Sequence[CurveDifference]) -> str:
    """One pair, and the values at which it parts."""
    numbers = enumeration([f"at {sweep.value(one.at)} ({points(one.difference)} points)" for one in shown])
    return f"{pair_words(sweep, shown[0])}, {numbers}"


def _nearness(one: CurveDifference) -> float:
    low, high = one.ends
    return 0.0 if low is None or high is None or high <= low else abs(one.difference) / (high - low)


def _curve(row: dict[str, Any], over: str) -> CurveView:
    rows = [one for one in inside(row, list, "points") or [] if isinstance(one, dict)]
    found = []
    for at, one in enumerate(rows):
        held = inside(one, list, "images_per_class") or []
        x = real(one.get("value"))
        x = x if x is not None else next((most for value in held[1:2] if (most := real(value)) is not None), None)
        found.append(_point(one, float(at) if x is None else x if over == SHARE else math.log2(max(x, 1))))
    return CurveView(name=str(row.get("name") or ""), of=str(row.get("of") or ""), points=tuple(found))


def _point(row: dict[str, Any], x: float) -> CurvePoint:
    shares = [share for value in inside(row, list, "accuracy") or [] if (share := real(value)) is not None]
    mean, low, high = (real(row.get(key)) for key in ("mean", "low", "high"))
    best, lengths = (inside(row, list, key) or [] for key in ("best_epoch", "epochs"))
    late = sum(real(one) == real(last) and (real(last) or 0) > 1 for one, last in zip(best, lengths, strict=False))
    known = mean is not None and 0 <= mean <= 1
    sane = known and low is not None and high is not None and 0 <= low <= high <= 1
    return CurvePoint(
        value=row.get("value"),
        x=x,
        arm=str(row.get("arm") or ""),
        accuracy=tuple(shares),
        mean=mean if known else None,
        ends=(low, high) if sane else (None, None),
        late=late if row.get("monitor") != "last" else 0,
    )


def _difference(row: Any) -> CurveDifference | None:
    if not isinstance(row, dict) or not {"first", "second", "at"} <= set(row):
        return None
    value, low, high = (real(row.get(key)) for key in ("difference", "low", "high"))
    if value is None or not -1 <= value <= 1:
        return None
    sane = low is not None and high is not None and -1 <= low <= high <= 1
    return CurveDifference(
        first=str(row["first"]),
        second=str(row["second"]),
        at=row["at"],
        against=row.get("against"),
        difference=value,
        ends=(low, high) if sane else (None, None),
        shown=sane and row.get("shown") is True,
    )
