"""The comparison of classifiers (`srcache.compare/1`) as the report reads it. What is not there is None, or empty."""

from dataclasses import dataclass, replace
from typing import Any

from srcache.study.report.data.study import inside
from srcache.wording import percent, real

Ends = tuple[float | None, float | None]
"""Both ends of an interval; None where they are not defined."""

_CORRECTIONS = {"holm": "Holm’s correction", "bonferroni": "Bonferroni’s correction", "none": "no correction"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a comparison decides: the significance level, the correction over pairs, and which p it is about."""

    alpha: float
    correction: str
    test: str

    @property
    def level(self) -> str:
        """The confidence of intervals, as words: 95 %."""
        return percent(1 - self.alpha, 0 if (100 * self.alpha) % 1 < 1e-9 else 1)

    @property
    def corrected(self) -> str:
        """The correction's name: Holm’s correction."""
        return _CORRECTIONS.get(self.correction, f"correction {self.correction}")

    @property
    def how_corrected(self) -> str:
        """The correction behind a p-value: after Holm’s correction."""
        return "without correction" if self.correction == "none" else f"after {self.corrected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number with its interval, each None where it is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> Ends:
        """Both ends."""
        return self.low, self.high

    @property
    def turned(self) -> "Value":
        """The difference the other way round."""
        value, low, high = (None if one is None else -one for one in (self.value, self.high, self.low))
        return Value(value=value, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierView:
    """One classifier on the images that all of them saw. `confusion` has a row per true class."""

    name: str
    accuracy: Value
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[dict[str, Any], ...]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    """Two classifiers on the same images: `b` only the first has right, `c` only the second.

    `decisive` is the p of the test that decides, `adjusted` the same after correction.
    """

    first: str
    second: str
    both_right: int | None
    b: int | None
    c: int | None
    both_wrong: int | None
    b_names: tuple[str, ...]
    c_names: tuple[str, ...]
    p: dict[str, float]
    decisive: float | None
    adjusted: float | None
    significant: bool | None
    newcombe: Value
    bootstrap: Value
    odds: Value
    needed: float | None

    @property
    def difference(self) -> float | None:
        """Of the accuracies, the first minus the second."""
        return self.bootstrap.value if self.newcombe.value is None else self.newcombe.value

    @property
    def turned(self) -> "PairView":
        """The same pair with the second arm named first."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            b=self.c,
            c=self.b,
            b_names=self.c_names,
            c_names=self.b_names,
            newcombe=self.newcombe.turned,
            bootstrap=self.bootstrap.turned,
            odds=_turned_odds(self.odds),
        )


def rules(compare: dict[str, Any]) -> Rules:
    """How a comparison decides; as `srcache eval classifiers` does by default where it does not say."""
    settings = inside(compare, dict, "settings") or {}
    alpha = real(settings.get("alpha")) or 0.05
    return Rules(
        alpha=alpha if 0 < alpha < 1 else 0.05,
        correction=str(settings.get("correction", "holm")),
        test=str(settings.get("test", "mid-p")),
    )


def classifiers(compare: dict[str, Any]) -> list[ClassifierView]:
    """Every classifier of a comparison, in its order."""
    classes = tuple(str(one) for one in inside(compare, list, "classes") or [])
    rows = inside(compare, list, "classifiers") or []
    return [_classifier(row, classes) for row in rows if isinstance(row, dict) and "name" in row]


def pairs(compare: dict[str, Any]) -> list[PairView]:
    """Every pair of a comparison, in its order and as it is stored; `question.study_pairs` turns them for the page."""
    decide = rules(compare)
    rows = inside(compare, list, "pairs") or []
    return [_pair(row, decide) for row in rows if isinstance(row, dict) and {"first", "second"} <= set(row)]


def value_of(found: Any) -> Value:
    """A number with its interval from a mapping with `value`, `low` and `high`."""
    if not isinstance(found, dict):
        return Value(value=real(found))
    value, low, high = (real(found.get(key)) for key in ("value", "low", "high"))
    return Value(value=value, low=low, high=high)


def _classifier(row: dict[str, Any], classes: tuple[str, ...]) -> ClassifierView:
    matrix = [line for line in inside(row, list, "confusion") or [] if isinstance(line, list)]
    figures = {f"macro {key}": inside(row, dict, "macro") for key in ("precision", "recall", "f1")}
    found = {key: (value or {}).get(key.removeprefix("macro ")) for key, value in figures.items()}
    found["ROC-AUC"] = value_of(row.get("roc_auc")).value
    found["expected calibration error"] = (inside(row, dict, "calibration") or {}).get("ece")
    return ClassifierView(
        name=str(row["name"]),
        accuracy=value_of(row.get("accuracy")),
        classes=classes,
        confusion=tuple(tuple(int(real(count) or 0) for count in line) for line in matrix),
        per_class=tuple(one for one in inside(row, list, "per_class") or [] if isinstance(one, dict)),
        figures={key: plain for key, value in found.items() if (plain := real(value)) is not None},
    )


def _pair(row: dict[str, Any], decide: Rules) -> PairView:
    counts = inside(row, dict, "table") or {}
    tests = {key: row.get(key) for key in ("exact", "mid_p")}
    tests |= {key: (inside(row, dict, key) or {}).get("p") for key in ("chi2", "chi2_corrected")}
    chosen = "exact" if decide.test == "exact" else "mid_p"
    adjusted = real((inside(row, dict, "adjusted") or {}).get(chosen))
    difference = inside(row, dict, "difference") or {}
    return PairView(
        first=str(row["first"]),
        second=str(row["second"]),
        both_right=_count(counts, "both_right"),
        b=_count(counts, "first_only"),
        c=_count(counts, "second_only"),
        both_wrong=_count(counts, "both_wrong"),
        b_names=_names(row, "names_first_only"),
        c_names=_names(row, "names_second_only"),
        p={key: plain for key, value in tests.items() if (plain := real(value)) is not None},
        decisive=real(tests[chosen]),
        adjusted=adjusted,
        significant=None if adjusted is None else adjusted <= decide.alpha,
        newcombe=value_of(difference.get("newcombe")),
        bootstrap=value_of(difference.get("bootstrap")),
        odds=value_of(row.get("odds_ratio")),
        needed=real((inside(row, dict, "needed") or {}).get("discordants")),
    )


def _turned_odds(odds: Value) -> Value:
    """The ratio c / b with its interval; what was 0 has no end, and what had none is 0."""
    low, high = (None if not end else 1 / end for end in (odds.high, odds.low))
    value = 1 / odds.value if odds.value else (0.0 if odds.value is None and odds.low else None)
    return Value(value=value, low=0.0 if odds.high is None and odds.low is not None else low, high=high)


def _count(row: dict[str, Any], key: str) -> int | None:
    value = real(row.get(key))
    return None if value is None else int(value)


def _names(row: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in inside(row, list, key) or [])
