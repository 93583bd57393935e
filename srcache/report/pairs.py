"""Arms against each other: McNemar's counts and tests, and the pictures behind the counts."""

from collections.abc import Sequence
from typing import Any

from srcache.report.compared import ALPHA, Interval, Pair, pairs
from srcache.report.gallery import Gallery, answer, figures
from srcache.report.markup import Child, Markup, join, name, tag
from srcache.report.study import Study, inside
from srcache.report.tables import Cell, folded, missing, table
from srcache.report.words import (
    NOTHING,
    arm_title,
    counted,
    metric_name,
    number,
    p_value,
    points,
    real,
    score,
)

_TESTS = {
    "exact": "McNemar, exact",
    "mid_p": "McNemar, mid-p",
    "chi2": "χ² without continuity",
    "chi2_corrected": "χ² with continuity",
}


def tests(study: Study) -> Markup:
    """The pairs: counts, p-values before and after correction, and the difference of accuracies."""
    found = pairs(study.part("compare"))
    if not found:
        return missing(
            "the comparison of arms pair by pair",
            "It needs the predictions of two arms or more: `srcache eval classifiers` makes it.",
        )
    caption = join(
        "Arms pair by pair, on the same pictures. ",
        tag(
            "span",
            "b: pictures that only the first arm has right; c: only the second. McNemar's test asks whether b and c "
            f"differ by more than chance. Holm's correction accounts for {counted(len(found), 'test')}; after it, p "
            f"below {ALPHA:g} counts as significant.",
        ),
    )
    headers = ["Pair", "b", "c", "p (mid-p)", "p after Holm", "Accuracy difference, points", "95 % interval"]
    return join(
        table(caption, headers, [_row(pair) for pair in found], label="Arms pair by pair"),
        _omnibus(study),
        folded("All tests and counts", _all_tests(found)),
    )


def seeds(study: Study) -> Markup | None:
    """The tests of every seed, and the bootstrap over pictures and seeds together."""
    per_seed = _per_seed(study)
    joint = _joint(study)
    if not per_seed and not joint:
        return None
    by_pair: dict[tuple[str, str], dict[str, Pair]] = {}
    for seed, found in per_seed:
        for pair in found:
            by_pair.setdefault((pair.first, pair.second), {})[seed] = pair
    names = list(dict.fromkeys(seed for seed, _ in per_seed))
    rows = [
        [_title(next(iter(tested.values()))), *(_seed_cell(tested.get(seed)) for seed in names)]
        for tested in by_pair.values()
    ]
    caption = join(
        "The same tests for every seed, each on its own. ",
        tag(
            "span",
            "The p-value (mid-p) after Holm’s correction, and b : c. Counts of several seeds are never added up.",
        ),
    )
    headers = ["Pair", *(f"Seed {seed}" for seed in names)]
    return join(table(caption, headers, rows, label="Tests of every seed") if rows else None, joint)


def drill_down(study: Study, shown: Gallery) -> Markup:
    """For every pair the pictures that only one of both has right, with what is known of them."""
    found = [pair for pair in pairs(study.part("compare")) if pair.b_names or pair.c_names]
    if not found:
        return missing("the pictures on which two arms differ")
    return join([_pair_lists(study, shown, at, pair) for at, pair in enumerate(found)])


def disputed(study: Study, shown: Gallery) -> list[tuple[str, list[int]]]:
    """Sets of pictures for the viewer's choice: "only LR right, not SR" and their places on the page."""
    sets = []
    for pair in pairs(study.part("compare")):
        for words, names in _sides(pair):
            places = [shown.places[one] for one in names if one in shown.places]
            if places:
                sets.append((words, places))
    return sets


def finding(study: Study) -> str:
    """What the tests found, in one sentence of numbers beside the verdict."""
    found = [pair for pair in pairs(study.part("compare")) if pair.holm is not None]
    if not found:
        return ""
    least = min(found, key=lambda pair: pair.holm or 0)
    which = f"{arm_title(least.first)} against {arm_title(least.second)}"
    if least.significant:
        count = sum(bool(pair.significant) for pair in found)
        of = f"{count} of {counted(len(found), 'pair')}"
        return f"Significant after correction: {of} (smallest p: {which}, {p_value(least.holm)})"
    raw = least.p.get("mid_p")
    before = f", {p_value(raw)} before correction" if raw is not None else ""
    return f"Not significant after correction: the smallest p is {p_value(least.holm)} ({which}{before})"


def _row(pair: Pair) -> list[Child]:
    interval = pair.newcombe if pair.newcombe[0] is not None else pair.bootstrap
    return [
        _title(pair),
        number(pair.b),
        number(pair.c),
        p_value(pair.p.get("mid_p")),
        Cell(_holm(pair), mark="strong" if pair.significant else ""),
        points(pair.difference),
        _points_range(interval),
    ]


def _holm(pair: Pair) -> str:
    if pair.holm is None:
        return NOTHING
    return p_value(pair.holm) + (" (significant)" if pair.significant else " (not significant)")


def _seed_cell(pair: Pair | None) -> Child:
    if pair is None:
        return NOTHING
    p = p_value(pair.holm) if pair.holm is not None else p_value(pair.p.get("mid_p"))
    counts = tag("small", f"{number(pair.b)} : {number(pair.c)}")
    return Cell(join(p, counts), mark="strong" if pair.significant else "")


def _points_range(ends: Interval) -> str:
    return NOTHING if None in ends else f"{points(ends[0])} to {points(ends[1])}"


def _title(pair: Pair) -> Markup:
    return join(name(arm_title(pair.first)), " – ", name(arm_title(pair.second)))


def _all_tests(found: Sequence[Pair]) -> Markup:
    rows: list[list[Child]] = []
    for label in ("Both right", "b: only the first right", "c: only the second right", "Both wrong"):
        key = {"Both right": "both_right", "Both wrong": "both_wrong"}.get(label, label[0])
        rows.append([label, *(number(getattr(pair, key)) for pair in found)])
    rows += [[label, *(p_value(pair.p.get(key)) for pair in found)] for key, label in _TESTS.items()]
    rows += [
        ["After Holm", *(p_value(pair.holm) for pair in found)],
        ["Difference of accuracies, points", *(points(pair.difference) for pair in found)],
        ["… 95 % interval, Newcombe", *(_points_range(pair.newcombe) for pair in found)],
        ["… 95 % interval, bootstrap", *(_points_range(pair.bootstrap) for pair in found)],
        ["Odds ratio b : c", *(number(pair.odds, 2) for pair in found)],
        ["… 95 % interval, exact", *(_odds_range(pair.odds_interval) for pair in found)],
        ["Pictures of b and c needed for 80 % power", *(number(_whole(pair.needed)) for pair in found)],
    ]
    kept = [row for row in rows if any(cell != NOTHING for cell in row[1:])]
    return table("Every count and test of every pair", ["", *map(_title, found)], kept)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _odds_range(ends: Interval) -> str:
    low, high = ends
    if low is None:
        return NOTHING
    return f"{number(low, 2)} to {'∞' if high is None else number(high, 2)}"


def _omnibus(study: Study) -> Markup | None:
    cochran = study.part("compare", "cochran")
    q, p = (real(cochran.get(key)) for key in ("q", "p"))
    if q is None or p is None:
        return None
    words = f"All arms at once: Cochran’s Q = {number(q, 2)}, df = {number(cochran.get('df'), 0)}, p = {p_value(p)}."
    return tag("p", words)


def _per_seed(study: Study) -> list[tuple[str, list[Pair]]]:
    tested = inside(study.results, list, "seeds", "tests") or []
    return [(str(row.get("seed", NOTHING)), pairs(row)) for row in tested if isinstance(row, dict)]


def _joint(study: Study) -> Markup | None:
    rows = [
        [
            join(name(arm_title(str(row.get("first", "")))), " – ", name(arm_title(str(row.get("second", ""))))),
            points(row.get("difference")),
            _points_range((real(row.get("low")), real(row.get("high")))),
        ]
        for row in study.mappings("seeds", "joint")
    ]
    headers = ["Pair", "Accuracy difference, points", "95 % interval"]
    return table("Bootstrap over pictures and seeds together", headers, rows) if rows else None


def _sides(pair: Pair) -> tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]]:
    first, second = arm_title(pair.first), arm_title(pair.second)
    return (f"Only {first} right, not {second}", pair.b_names), (f"Only {second} right, not {first}", pair.c_names)


def _pair_lists(study: Study, shown: Gallery, at: int, pair: Pair) -> Markup:
    lists = []
    for side, (words, names) in zip("bc", _sides(pair), strict=True):
        if names:
            rows = [_picture_row(study, shown, one, pair) for one in names]
            headers = ["Picture", "True class", *_answer_headers(pair), "SR quality", "Safe"]
            summary = f"{side} = {len(names)}: {words[0].lower()}{words[1:]}"
            inner = table(words, headers, rows, left=4)
            lists.append(folded(summary, inner, class_="drill", id=study.id(f"pair-{at}-{side}")))
        else:
            lists.append(tag("p", f"{side} = 0: no picture that {words[0].lower()}{words[1:]}."))
    return tag("div", study.heading(2, _title(pair)), lists)


def _answer_headers(pair: Pair) -> list[Markup]:
    return [join(name(arm_title(one)), " says") for one in (pair.first, pair.second)]


def _picture_row(study: Study, shown: Gallery, one: str, pair: Pair) -> list[Child]:
    row: dict[str, Any] = shown.every.get(one, {})
    place = shown.places.get(one)
    link = name(one)
    if place is not None:
        link = tag("a", link, href=f"#{study.id('viewer')}", data_picture=place)
    answers = [_answer(row, arm) for arm in (pair.first, pair.second)]
    scores = [f"{metric_name(metric)} {score(metric, value)}" for kind, metric, value in figures(row) if kind == "sr"]
    safe = real(row.get("safe"))
    return [link, name(row.get("label", NOTHING)), *answers, ", ".join(scores) or NOTHING, number(safe, 2)]


def _answer(row: dict[str, Any], arm: str) -> Child:
    said = answer(row, arm)
    if said is None:
        return NOTHING
    return join(name(said[0]), tag("span", " ✓ right" if said[1] else " ✗ wrong", class_="yes" if said[1] else "no"))
