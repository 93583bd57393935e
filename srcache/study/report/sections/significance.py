"""Arms against each other: McNemar's counts and tests, of one seed and of all of them."""

from collections.abc import Sequence
from typing import Any

from srcache.html.markup import Child, Markup, concat, name, tag
from srcache.html.tables import Cell, data_table, folded, missing
from srcache.study.report.data.comparison import Ends, PairView, Rules, rules, value_of
from srcache.study.report.data.labels import arm_title
from srcache.study.report.data.question import seed_rows, study_pairs
from srcache.study.report.data.study import Study, inside
from srcache.study.report.sections.disputed import list_id
from srcache.wording import NOTHING, counted, number, p_value, points, points_range, real

_TESTS = {
    "exact": "McNemar, exact",
    "mid_p": "McNemar, mid-p",
    "chi2": "χ² without continuity",
    "chi2_corrected": "χ² with continuity",
}


def pairs_of_arms(study: Study) -> Markup:
    """The section's content: all seeds together and each by itself, then all about the first one."""
    return concat(seeds(study), tests(study))


def tests(study: Study) -> Markup:
    """The pairs: counts, p-values before and after correction, and the difference of accuracies."""
    compare = study.part("compare")
    found, decide = study_pairs(study), rules(compare)
    if not found:
        return missing(
            "the comparison of arms pair by pair",
            "It needs the predictions of two arms or more: `srcache eval classifiers` makes it.",
        )
    caption = concat(
        f"Arms pair by pair on the same images, {study.first_seed}. ",
        tag(
            "span",
            "b: images that only the first arm has right; c: only the second. McNemar’s test "
            f"asks whether b and c differ by more than chance; {decide.corrected} is for "
            f"{counted(len(found), 'test')}, and p of at "
            f"most {decide.alpha:g} after it counts as significant.",
        ),
    )
    headers = [
        "Pair",
        "Difference, points",
        f"{decide.level} interval",
        "b",
        "c",
        f"p ({decide.test})",
        "p corrected",
    ]
    rows = [_row(study, at, pair, decide.alpha) for at, pair in enumerate(found)]
    return concat(
        data_table(caption, headers, rows, label="Arms pair by pair"),
        _omnibus(study),
        folded("All tests and counts", _all_tests(study, found, decide)),
    )


def seeds(study: Study) -> Markup | None:
    """The tests of every seed, and the bootstrap over images and seeds together."""
    found = seed_rows(study)
    if not _many_seeds(study):
        return None
    if not found:
        return missing("the tests of the other seeds")
    decide = rules(study.part("compare"))
    count = max(len(inside(row, list, "tests") or []) for row in found)
    used = next((arm["seeds"] for arm in study.arms if len(inside(arm, list, "seeds") or []) == count), None)
    titles = [f"Seed {seed}" for seed in used] if used else [f"Seed no. {at + 1}" for at in range(count)]
    caption = concat(
        "Arms pair by pair, all seeds together and each on its own. ",
        tag(
            "span",
            "Difference of mean accuracies in points, with a bootstrap interval over images and seeds, wide enough for "
            "all pairs at once and for this pair alone. McNemar’s test of each seed: p "
            f"({decide.test}) after correction, and b : c, the images that only the first and only the second arm has "
            "right; counts of several seeds are never added up.",
        ),
    )
    headers = ["Pair", "Difference", f"{decide.level}, all pairs", f"{decide.level}, this pair", *titles]
    rows = [_seeds_row(row, count, decide) for row in found]
    return data_table(caption, headers, rows, label="Tests of every seed")


def finding(study: Study) -> str:
    """What the tests found, in one sentence of numbers beside the verdict."""
    compare = study.part("compare")
    found = [pair for pair in study_pairs(study) if pair.adjusted is not None]
    if not found:
        return ""
    decide = rules(compare)
    alpha = decide.alpha
    after = "without correction" if decide.correction == "none" else "after correction"
    after += f", {study.first_seed}" if _many_seeds(study) else ""
    least = min(found, key=lambda pair: pair.adjusted or 0)
    which = f"{arm_title(least.first)} against {arm_title(least.second)}"
    if least.significant:
        of = f"{sum(bool(pair.significant) for pair in found)} of {counted(len(found), 'pair')}"
        return f"Significant {after}: {of} (smallest p: {which}, {p_value(least.adjusted, alpha)})"
    before = f", {p_value(least.decisive, alpha)} before correction" if after.startswith("after") else ""
    return f"Not significant {after}: the smallest p is {p_value(least.adjusted, alpha)} ({which}{before})"


def pair_title(first: object, second: object) -> Markup:
    """SR − LR."""
    return concat(name(arm_title(str(first))), " − ", name(arm_title(str(second))))


def _many_seeds(study: Study) -> bool:
    return any(len(inside(arm, list, "seeds") or []) > 1 for arm in study.arms)


def _row(study: Study, at: int, pair: PairView, alpha: float) -> list[Child]:
    interval = pair.bootstrap.interval if None in pair.newcombe.interval else pair.newcombe.interval
    return [
        pair_title(pair.first, pair.second),
        points(pair.difference),
        points_range(*interval),
        _counted(list_id(study, at, "b"), pair.b, pair.b_names),
        _counted(list_id(study, at, "c"), pair.c, pair.c_names),
        p_value(pair.decisive, alpha),
        Cell(_corrected(pair, alpha), mark="strong" if pair.significant else ""),
    ]


def _counted(identity: str, count: int | None, names: Sequence[str]) -> Child:
    """A count that leads to its images, where they are known."""
    return tag("a", number(count), href=f"#{identity}") if names else number(count)


def _corrected(pair: PairView, alpha: float) -> str:
    if pair.adjusted is None:
        return NOTHING
    return p_value(pair.adjusted, alpha) + (" (significant)" if pair.significant else " (not significant)")


def _seeds_row(row: dict[str, Any], count: int, decide: Rules) -> list[Child]:
    tested = [_seed_cell(one, decide) for one in inside(row, list, "tests") or []]
    alone, together = value_of(row.get("difference")), value_of(row.get("simultaneous"))
    return [
        pair_title(row["first"], row["second"]),
        points(alone.value),
        points_range(*together.interval),
        points_range(*alone.interval),
        *tested,
        *[NOTHING] * (count - len(tested)),
    ]


def _seed_cell(found: Any, decide: Rules) -> Child:
    p = real(inside(found, float, "adjusted", "exact" if decide.test == "exact" else "mid_p"))
    if p is None:
        return NOTHING
    counts = f"{number(found.get('b'))} : {number(found.get('c'))}"
    return Cell(concat(p_value(p, decide.alpha), tag("small", counts)), mark="strong" if p <= decide.alpha else "")


def _all_tests(study: Study, found: Sequence[PairView], decide: Rules) -> Markup:
    rows: list[list[Child]] = []
    counts = {
        "Both right": "both_right",
        "b: only the first right": "b",
        "c: only the second right": "c",
        "Both wrong": "both_wrong",
    }
    rows += [[label, *(number(getattr(pair, key)) for pair in found)] for label, key in counts.items()]
    rows += [[label, *(p_value(pair.p.get(key), decide.alpha) for pair in found)] for key, label in _TESTS.items()]
    rows += [
        [f"{decide.test}, after {decide.corrected}", *(p_value(pair.adjusted, decide.alpha) for pair in found)],
        ["Difference of accuracies, points", *(points(pair.difference) for pair in found)],
        [f"… {decide.level} interval, Newcombe", *(points_range(*pair.newcombe.interval) for pair in found)],
        [f"… {decide.level} interval, bootstrap", *(points_range(*pair.bootstrap.interval) for pair in found)],
        ["Odds ratio b : c", *(number(pair.odds.value, 2) for pair in found)],
        [f"… {decide.level} interval, exact", *(_odds_range(pair.odds.interval) for pair in found)],
        ["b + c that would show this effect", *(number(_integer(pair.needed)) for pair in found)],
    ]
    kept = [row for row in rows if any(cell != NOTHING for cell in row[1:])]
    return data_table(
        f"Every count and test of every pair, {study.first_seed}",
        ["", *(pair_title(one.first, one.second) for one in found)],
        kept,
    )


def _integer(value: float | None) -> int | None:
    return None if value is None else int(value)


def _odds_range(ends: Ends) -> str:
    low, high = ends
    if low is None:
        return NOTHING
    return f"{number(low, 2)} to {'∞' if high is None else number(high, 2)}"


def _omnibus(study: Study) -> Markup | None:
    found = study.part("compare", "cochran_q")
    q, p = (real(found.get(key)) for key in ("statistic", "p"))
    if q is None or p is None:
        return None
    shown = p_value(p, rules(study.part("compare")).alpha)
    shown = shown if shown.startswith("<") else f"= {shown}"
    words = f"All arms at once: Cochran’s Q = {number(q, 2)}, df = {number(found.get('df'), 0)}, p {shown}."
    return tag("p", words)
