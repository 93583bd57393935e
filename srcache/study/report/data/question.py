"""The question that an experiment asks: which pair of arms it is about, and what was found of it, in one sentence.

The experiment may name the pair (`pair`); else it is SR against what it is hoped to be better than: bicubic, or LR.
One sign serves the page: every difference is the first-named arm minus the second, in percentage points, and the arm
that the experiment lists later is named first, but for the pair in question, which is named as it is asked. What
decides is what the comparison says: with several seeds the interval that is wide enough for all pairs together, with
one the test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from srcache.errors import ConfigError
from srcache.study.report.data.comparison import PairView, Rules, Value, pairs, rules, value_of
from srcache.study.report.data.labels import arm_word
from srcache.study.report.data.study import Study, inside
from srcache.study.statistics.paired import Table, newcombe_limits
from srcache.wording import counted, p_value, points, points_range, real

_BASELINES = ("bicubic", "lr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A pair of arms over all that was measured of it.

    Attributes:
        first, second: their names.
        difference: of their accuracies, the first minus the second.
        low, high: its interval, at a level that holds for all pairs together; None where it is undefined.
        differs: whether the comparison shows a difference; None where it does not say.
        seeds: how many trainings of each arm it is over.
        p: after correction, of the test that decides where there is one seed.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    differs: bool | None
    seeds: int
    p: float | None = None


def asked_pair(study: Study) -> tuple[str, str] | None:
    """The arms that the question is about, the one that is hoped to be better first; None for fewer than two."""
    names = [str(arm["name"]) for arm in study.arms]
    named = inside(study.part("config"), list, "pair") or []
    if len(named) == 2 and set(map(str, named)) <= set(names) and named[0] != named[1]:
        return str(named[0]), str(named[1])
    return usual_pair([(str(arm["name"]), str(arm.get("arm") or arm["name"])) for arm in study.arms])


def usual_pair(arms: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The pair of an experiment that names none, from its arms' names and kinds: SR, or HR, against bicubic or LR."""
    names, kinds = [name for name, _ in arms], {kind: name for name, kind in reversed(arms)}
    best = kinds.get("sr") or kinds.get("hr") or (names[-1] if names else "")
    others = [kinds[one] for one in _BASELINES if one in kinds] + names
    return next(((best, one) for one in others if one != best), None)


def study_pairs(study: Study) -> list[PairView]:
    """Every pair of the comparison (of the first seed) in its order, as the page names it."""
    asked = asked_pair(study)
    found = pairs(study.part("compare"))
    return [one if (one.first, one.second) == asked else one.turned for one in found]


def seed_rows(study: Study) -> list[dict[str, Any]]:
    """Every pair of the comparison over all seeds in its order, as the page names it; tests have b and c turned too."""
    asked = asked_pair(study)
    rows = [row for row in study.mappings("seeds", "pairs") if {"first", "second"} <= set(row)]
    return [row if (row["first"], row["second"]) == asked else _turned(row) for row in rows]


def effects(study: Study) -> list[Effect]:
    """Every pair with an interval for all of them together; the one that the question is about comes first."""
    found = _over_seeds(study) or _of_one_seed(study)
    asked = asked_pair(study)
    return sorted(found, key=lambda one: (one.first, one.second) != asked)


def answer(study: Study) -> str:
    """What was found of the pair that the question is about, in one sentence; empty without a comparison."""
    asked = asked_pair(study)
    found = next((one for one in effects(study) if (one.first, one.second) == asked), None)
    return "" if found is None else _sentence(found, _images(study), rules(study.part("compare")))


def _sentence(found: Effect, images: int, decide: Rules) -> str:
    first, second = arm_word(found.first), arm_word(found.second)
    seeds = "one seed" if found.seeds == 1 else counted(found.seeds, "seed")
    over = f"over {counted(images, 'image')} and {seeds}" if images else f"over {seeds}"
    if found.low is None and not found.difference:
        return f"{first} and {second} are right on the same images, {over}: there is no difference to test."
    interval = "no interval" if found.low is None else points_range(found.low, found.high)
    test = "" if found.p is None else f" (p {_equal(p_value(found.p, decide.alpha))} {decide.how_corrected})"
    numbers = f"{points(found.difference)} points, {interval} {over}{test}."
    if found.differs is None:
        return f"{first} against {second}: {numbers}"
    if not found.differs:
        return f"{first} and {second} are not shown to differ: {numbers}"
    return f"{first} is right {'more' if found.difference > 0 else 'less'} often than {second}: {numbers}"


def _equal(shown: str) -> str:
    return shown if shown.startswith("<") else f"= {shown}"


def _images(study: Study) -> int:
    return int(real(study.part("compare").get("images")) or 0)


def _over_seeds(study: Study) -> list[Effect]:
    found = []
    for row in seed_rows(study):
        seeds, value = len(inside(row, list, "tests") or []), value_of(row.get("simultaneous"))
        if seeds < 2 or not _is_difference(value.value):
            continue
        known = _is_difference(value.low) and _is_difference(value.high)
        differs = known and ((value.low or 0) > 0 or (value.high or 0) < 0)
        if not known and value.value:  # right on every image and on none: then the tests decide
            tests = inside(row, list, "tests") or []
            differs = all(isinstance(one, dict) and one.get("significant") is True for one in tests)
        low, high = value.interval if known else (None, None)
        first, second, mean = str(row["first"]), str(row["second"]), value.value or 0.0
        found.append(
            Effect(first=first, second=second, difference=mean, low=low, high=high, differs=differs, seeds=seeds)
        )
    return found


def _of_one_seed(study: Study) -> list[Effect]:
    found, decide = study_pairs(study), rules(study.part("compare"))
    together = len(found) if decide.correction != "none" else 1
    z = NormalDist().inv_cdf(1 - decide.alpha / (2 * max(1, together)))
    shown = []
    for pair in found:
        if _is_difference(pair.difference):
            low, high = _limits(pair, z)
            shown.append(
                Effect(
                    first=pair.first,
                    second=pair.second,
                    difference=pair.difference or 0.0,
                    low=low,
                    high=high,
                    differs=pair.significant,
                    seeds=1,
                    p=pair.adjusted,
                )
            )
    return shown


def _is_difference(value: float | None) -> bool:
    """Whether it can be one of two shares."""
    return value is not None and -1 <= value <= 1


def _limits(pair: PairView, z: float) -> tuple[float | None, float | None]:
    """Newcombe's interval at a level for all pairs; none without the counts, or where no image tells both apart."""
    counts = (pair.both_right, pair.b, pair.c, pair.both_wrong)
    if None in counts or not (pair.b or pair.c):
        return None, None
    right, b, c, wrong = (int(count or 0) for count in counts)
    try:
        return newcombe_limits(Table(both_right=right, first_only=b, second_only=c, both_wrong=wrong), z)
    except (ConfigError, OverflowError):  # counts that cannot be
        return None, None


def _turned(row: dict[str, Any]) -> dict[str, Any]:
    tests = [
        {**one, "b": one.get("c"), "c": one.get("b")} if isinstance(one, dict) else one
        for one in inside(row, list, "tests") or []
    ]
    return {**row, "first": row["second"], "second": row["first"], "tests": tests} | {
        key: _plain(value_of(row.get(key)).turned) for key in ("difference", "simultaneous")
    }


def _plain(value: Value) -> dict[str, float | None]:
    return {"value": value.value, "low": value.low, "high": value.high}
