"""The comparison of classifiers as the report reads it: each classifier's figures, each pair's counts and tests.

Everything but the names may be missing; it is None then, or empty.
"""

from dataclasses import dataclass
from typing import Any

from srcache.report.study import inside
from srcache.report.words import real

ALPHA = 0.05

Interval = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """One classifier on the pictures that all of them saw. `confusion` has a row per true class."""

    name: str
    accuracy: float | None
    interval: Interval
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[dict[str, Any], ...]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two classifiers on the same pictures: `b` only the first has right, `c` only the second."""

    first: str
    second: str
    both_right: int | None
    b: int | None
    c: int | None
    both_wrong: int | None
    b_names: tuple[str, ...]
    c_names: tuple[str, ...]
    p: dict[str, float]
    holm: float | None
    difference: float | None
    newcombe: Interval
    bootstrap: Interval
    odds: float | None
    odds_interval: Interval
    needed: float | None

    @property
    def significant(self) -> bool | None:
        """Whether the difference stands at 5 % after correction; None where that was not tested."""
        return None if self.holm is None else self.holm < ALPHA


def classifiers(compare: dict[str, Any]) -> list[Classifier]:
    """Every classifier of a comparison, in its order."""
    classes = tuple(str(one) for one in inside(compare, list, "classes") or [])
    return [_classifier(name, row, classes) for name, row in _named(compare.get("classifiers"))]


def pairs(compare: dict[str, Any]) -> list[Pair]:
    """Every pair of a comparison, in its order."""
    rows = inside(compare, list, "pairs") or []
    return [_pair(row) for row in rows if isinstance(row, dict) and {"first", "second"} <= set(row)]


def interval(value: Any) -> Interval:
    """Two ends, however they are written: a list of two, or a mapping with `low` and `high`."""
    if isinstance(value, dict):
        return real(value.get("low")), real(value.get("high"))
    if isinstance(value, list) and len(value) == 2:
        return real(value[0]), real(value[1])
    return None, None


def _named(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Rows with their names, from a mapping or from a list of rows with a `name`."""
    if isinstance(value, dict):
        return [(str(name), row) for name, row in value.items() if isinstance(row, dict)]
    rows = value if isinstance(value, list) else []
    return [(str(row["name"]), row) for row in rows if isinstance(row, dict) and "name" in row]


def _classifier(name: str, row: dict[str, Any], classes: tuple[str, ...]) -> Classifier:
    own = tuple(str(one) for one in inside(row, list, "classes") or []) or classes
    matrix = [line for line in inside(row, list, "confusion") or [] if isinstance(line, list)]
    per_class = inside(row, list, "per_class") or []
    if isinstance(row.get("per_class"), dict):
        per_class = [{"class": key, **value} for key, value in row["per_class"].items() if isinstance(value, dict)]
    macro = inside(row, dict, "macro") or {}
    figures = {f"macro {key}": value for key, value in macro.items()} | {"ROC-AUC": row.get("roc_auc")}
    return Classifier(
        name=name,
        accuracy=real(row.get("accuracy")),
        interval=interval(row.get("interval")),
        classes=own,
        confusion=tuple(tuple(int(real(count) or 0) for count in line) for line in matrix),
        per_class=tuple(one for one in per_class if isinstance(one, dict)),
        figures={key: plain for key, value in figures.items() if (plain := real(value)) is not None},
    )


def _pair(row: dict[str, Any]) -> Pair:
    tests = {key: row.get(key) for key in ("exact", "mid_p", "chi2", "chi2_corrected")}
    return Pair(
        first=str(row["first"]),
        second=str(row["second"]),
        both_right=_count(row, "both_right"),
        b=_count(row, "b"),
        c=_count(row, "c"),
        both_wrong=_count(row, "both_wrong"),
        b_names=_names(row, "b_names"),
        c_names=_names(row, "c_names"),
        p={key: plain for key, value in tests.items() if (plain := real(value)) is not None},
        holm=real(row.get("holm")),
        difference=real(row.get("difference")),
        newcombe=interval(row.get("newcombe")),
        bootstrap=interval(row.get("bootstrap")),
        odds=real(row.get("odds_ratio")),
        odds_interval=interval(row.get("odds_interval")),
        needed=real(row.get("needed")),
    )


def _count(row: dict[str, Any], key: str) -> int | None:
    value = real(row.get(key))
    return None if value is None else int(value)


def _names(row: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in inside(row, list, key) or [])
