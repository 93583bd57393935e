"""The images behind McNemar's b and c: which they are, what both arms say of them, and how good they are."""

from typing import Any

from srcache.html.markup import Child, Markup, concat, name, tag
from srcache.html.tables import data_table, folded, missing
from srcache.study.report.data.comparison import PairView
from srcache.study.report.data.gallery import Gallery, answer, figures
from srcache.study.report.data.labels import arm_title, metric_name, score
from srcache.study.report.data.question import study_pairs
from srcache.study.report.data.study import Study
from srcache.wording import NOTHING, counted, number, real

MOST_IN_ALL, MOST = 3000, 250
"""Rows of all lists together, and of one; where more are left out, the page says which file has them."""


def drill_down(study: Study, shown: Gallery) -> Markup:
    """For every pair the images that only one of both has right, with what is known of them."""
    found = study_pairs(study)
    if found and all(pair.b == pair.c == 0 for pair in found):
        same = "Whatever one arm has right, the others have right too: there are no such images."
        return tag("p", f"{same} ({study.first_seed})")
    if not any(pair.b_names or pair.c_names for pair in found):
        return missing("the images on which two arms differ")
    most = min(MOST, max(10, MOST_IN_ALL // (2 * len(found))))
    return concat([_pair_lists(study, shown, (at, most), pair) for at, pair in enumerate(found)])


def list_id(study: Study, at: int, side: str) -> str:
    """The id of the list behind a count: `side` is b or c, `at` the pair's place."""
    return study.id(f"pair-{at}-{side}")


def disputed_sets(study: Study, shown: Gallery) -> list[tuple[str, list[int]]]:
    """Sets of images for the viewer's choice: "only LR right, not SR" and their places on the page."""
    sets = []
    for pair in study_pairs(study):
        for words, names in _sides(pair):
            places = [shown.places[one] for one in names if one in shown.places]
            if places:
                sets.append((words, places))
    return sets


def _sides(pair: PairView) -> tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]]:
    first, second = arm_title(pair.first), arm_title(pair.second)
    return (f"Only {first} right, not {second}", pair.b_names), (f"Only {second} right, not {first}", pair.c_names)


def _pair_lists(study: Study, shown: Gallery, place: tuple[int, int], pair: PairView) -> Markup:
    """`place`: the pair's, and how many rows a list may have."""
    (at, most), lists = place, []
    for side, (words, names) in zip("bc", _sides(pair), strict=True):
        if names:
            rows = [_image_row(study, shown, one, pair) for one in names[:most]]
            headers = ["Image", "True class", *_answer_headers(pair), "SR quality", "Safe"]
            summary = f"{side} = {len(names)}: {words[0].lower()}{words[1:]}"
            inner = data_table(f"{words} ({study.first_seed})", headers, rows, left=4)
            rest = len(names) - most
            more = tag("p", f"… and {counted(rest, 'image')} more; compare.json has all.") if rest > 0 else None
            lists.append(folded(summary, inner, more, class_="drill", id=list_id(study, at, side)))
        else:
            lists.append(tag("p", f"{side} = 0: no image that {words[0].lower()}{words[1:]}."))
    return tag("div", study.heading(2, concat(name(arm_title(pair.first)), " − ", name(arm_title(pair.second)))), lists)


def _answer_headers(pair: PairView) -> list[Markup]:
    return [concat(name(arm_title(one)), " says") for one in (pair.first, pair.second)]


def _image_row(study: Study, shown: Gallery, one: str, pair: PairView) -> list[Child]:
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
    given = answer(row, arm)
    if given is None:
        return NOTHING
    label, right = given
    return concat(name(label), tag("span", " ✓ right" if right else " ✗ wrong", class_="yes" if right else "no"))
