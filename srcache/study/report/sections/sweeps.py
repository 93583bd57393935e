"""Curves of accuracy over one quantity: a plot with bands, where they part, and the numbers behind both."""

from srcache.html.charts import Band, bands, legend
from srcache.html.markup import Child, Markup, concat, name, tag
from srcache.html.tables import Cell, data_table, folded
from srcache.study.report.data.curves import (
    SHARE,
    CurvePoint,
    CurvesView,
    CurveView,
    answer,
    curve_word,
    pair_words,
    short_value,
    study_curves,
)
from srcache.study.report.data.study import Study
from srcache.wording import NOTHING, counted, percent, percent_range, points, points_range


def sentences(study: Study) -> Markup | None:
    """Where the curves part, for the head of the page."""
    found = [(one.name, words) for one in study_curves(study) if (words := answer(one))]
    if not found:
        return None
    link = tag("a", "Curves", href=f"#{study.id('sweeps')}")
    return concat(
        [
            tag("p", tag("strong", name(sweep)), ": ", words, " ", link, class_="finding", dir="auto")
            for sweep, words in found
        ]
    )


def plots(study: Study) -> Markup | None:
    """The section's content: every sweep; None without one."""
    found = study_curves(study)
    return concat([_sweep(study, at, one) for at, one in enumerate(found)]) if found else None


def _sweep(study: Study, at: int, sweep: CurvesView) -> Markup:
    drawn = _bands(sweep)
    where = dict.fromkeys((point.x, short_value(point.value)) for curve in sweep.curves for point in curve.points)
    title = f"Accuracy by {_quantity(sweep)}"
    described = "; ".join(f"{curve_word(curve.name)}: {_described(sweep, curve)}" for curve in sweep.curves)
    over = "images and seeds" if sweep.seeds > 1 else "images"
    caption = (
        f"{title}, mean over {counted(sweep.seeds, 'seed')} × {counted(sweep.images, 'test image')}. Band: "
        f"{sweep.level} interval of each point by itself (bootstrap over {over}). Curves are compared on the "
        "same images, so that they may part although their bands overlap."
    )
    words = answer(sweep)
    return tag(
        "div",
        study.heading(2, name(sweep.name)),
        tag("p", words) if words else None,
        _late(sweep),
        tag(
            "figure",
            legend(drawn),
            bands(study.id(f"sweep-{at}"), (title, f"{described}."), drawn, list(where), sweep.unit),
            tag("figcaption", caption),
            class_="curves",
        ),
        folded("The numbers of this plot", _points_table(sweep, title), _differences_table(sweep)),
    )


def _bands(sweep: CurvesView) -> list[Band]:
    """The curves as they are drawn; points that stand alone lie a little apart, so that each is seen."""
    places = [one.x for curve in sweep.curves for one in curve.points]
    step = 0.022 * (max(places) - min(places))
    alone = [curve.name for curve in sweep.curves if len(curve.points) == 1]
    found = []
    for style, curve in enumerate(sweep.curves):
        by = step * (1.5 + alone.index(curve.name)) if curve.name in alone and len(alone) < len(sweep.curves) else 0.0
        points = [(one.x + by, one.mean, *one.ends) for one in curve.points if one.mean is not None]
        if points:
            found.append(Band(name=curve_word(curve.name), points=points, style=style))
    return found


def _quantity(sweep: CurvesView) -> str:
    return "share of the mixture" if sweep.over == SHARE else "images per class"


def _described(sweep: CurvesView, curve: CurveView) -> str:
    return ", ".join(f"{_cell(one)} at {sweep.value(one.value)}" for one in curve.points)


def _cell(point: CurvePoint) -> str:
    return percent(point.mean) if point.mean is not None else NOTHING


def _late(sweep: CurvesView) -> Markup | None:
    """How many trainings ended with their best epoch; each is counted once, however many curves it is a point of."""
    known = {one.arm: one for curve in sweep.curves for one in curve.points}
    late = sum(one.late for one in known.values())
    if not late:
        return None
    count = sum(len(one.accuracy) for one in known.values())
    words = f"In {late} of {counted(count, 'training')} the best epoch is the last: with more epochs the accuracies"
    return tag("p", f"{words} may change.", class_="finding")


def _points_table(sweep: CurvesView, title: str) -> Markup:
    headers = [sweep.unit, *(curve_word(curve.name) for curve in sweep.curves)]
    rows: list[list[Child]] = []
    for value in dict.fromkeys(short_value(one.value) for curve in sweep.curves for one in curve.points):
        held = [next((one for one in curve.points if short_value(one.value) == value), None) for curve in sweep.curves]
        rows.append([value, *(_with_range(one) for one in held)])
    return data_table(f"{title}: mean, {sweep.level} interval, single seeds", headers, rows, label=title)


def _with_range(point: CurvePoint | None) -> Child:
    if point is None or point.mean is None:
        return NOTHING
    seeds = ", ".join(percent(one) for one in point.accuracy)
    return concat(percent(point.mean), tag("small", percent_range(*point.ends)), tag("small", seeds, class_="seeds"))


def _differences_table(sweep: CurvesView) -> Markup | None:
    if not sweep.differences:
        return None
    rows: list[list[Child]] = []
    for one in sweep.differences:
        rows.append(
            [
                pair_words(sweep, one),
                short_value(one.at),
                points(one.difference),
                points_range(*one.ends) if None not in one.ends else NOTHING,
                Cell("shown to differ" if one.shown else "not shown to differ", mark="strong" if one.shown else ""),
            ]
        )
    several = sweep.together and len(rows) > 1
    together = f", for all {len(rows)} differences together (max-t)" if several else ""
    caption = f"Differences in points, with {sweep.level} intervals{together}"
    headers = ["Curves", sweep.unit, "Difference, points", "Interval", "Outcome"]
    return data_table(caption, headers, rows, left=2, label="Differences between curves")
