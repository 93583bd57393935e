"""Image quality and label safety: what the SR images are like, and whether they still show what their label says."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srcache.html.charts import bars
from srcache.html.markup import Child, Markup, concat, name, tag
from srcache.html.tables import data_table, folded, missing
from srcache.study.report.data.gallery import KINDS, Gallery
from srcache.study.report.data.labels import metric_name, score
from srcache.study.report.data.study import Study, inside
from srcache.wording import NOTHING, counted, number, of_all, percent, real

STEPS = 20
MOST = 500
"""Names of a list."""


def by_metric(study: Study, shown: Gallery) -> Markup:
    """Every metric of every kind of image against HR: mean, interval, worst and best image."""
    kinds = [kind for kind in KINDS if _metrics(study, kind)]
    if not kinds:
        return missing("image quality", "`srcache eval images` measures it.")
    rows: list[list[Child]] = []
    metrics = dict.fromkeys(metric for kind in kinds for metric in _metrics(study, kind))
    for metric in metrics:
        for kind in kinds:
            found = _metrics(study, kind).get(metric)
            if found is not None:
                rows.append(_quality_row(study, shown, (kind, metric), found))
    caption = concat(
        "Image quality against HR. ",
        tag(
            "span",
            "No classifier takes part, hence no seed. Mean over n test images with its bootstrap interval, and the "
            "extreme images.",
        ),
    )
    headers = ["Metric", "Image", "Mean", "n", "95 % interval", "Worst", "Best"]
    problems = left_out(study)
    lines = folded(f"{counted(len(problems), 'thing')} not measured", tag("ul", [tag("li", one) for one in problems]))
    return concat(
        data_table(caption, headers, rows, left=2, label="Image quality against HR"), lines if problems else None
    )


def safety(study: Study, shown: Gallery) -> Markup:
    """The distribution of the safety number, and what filters by it would remove."""
    values = _safe_values(study)
    filters = study.mappings("safety", "filters")
    if not values and not filters:
        return missing("label safety", "`srcache safety` measures it for a cache.")
    intro = (
        "How safe it is to give an SR image the label of its source, from 0 to 1. It is the least of three: how far "
        "a reference classifier gives both the same answer, how alike it finds them within, and how nearly the SR "
        "image, made small again, is its LR image."
    )
    return concat(
        tag("p", intro, f" The reference classifier is the first arm trained on HR, {study.first_seed}."),
        _distribution(study, values) if values else missing("the distribution; the side table is not in the folder"),
        _filters(study, shown, filters) if filters else missing("what a filter would remove"),
    )


def conventions(study: Study) -> list[tuple[Child, Child]]:
    """How each metric was measured, as terms and sentences; once where all kinds of image were measured alike."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind in KINDS:
        for metric, summary in _metrics(study, kind).items():
            words = _in_one_line(summary.get("convention"))
            if words:
                found.setdefault((metric, words), []).append(KINDS[kind])
    return [(f"{metric_name(metric)} of {' and '.join(of)}", words) for (metric, words), of in found.items()]


def left_out(study: Study) -> list[str]:
    """Metrics that were skipped and images that could not be measured, with the reason."""
    lines = []
    for kind in KINDS:
        for row in study.mappings("quality", kind, "skipped"):
            lines.append(f"{KINDS[kind]}: {metric_name(str(row.get('metric')))} was skipped: {row.get('reason')}")
        for row in study.mappings("quality", kind, "failures"):
            lines.append(f"{KINDS[kind]}: {row.get('source')} failed: {row.get('detail') or row.get('reason')}")
    return lines


def histogram(values: Sequence[float], steps: int = STEPS) -> list[int]:
    """How many values lie in each of `steps` equal steps of [0, 1]; 1 belongs to the last."""
    counts = [0] * steps
    for value in values:
        counts[min(steps - 1, max(0, int(value * steps)))] += 1
    return counts


def _metrics(study: Study, kind: str) -> dict[str, dict[str, Any]]:
    found = study.part("quality", kind, "metrics")
    return {key: value for key, value in found.items() if isinstance(value, dict)}


def _quality_row(study: Study, shown: Gallery, of: tuple[str, str], found: dict[str, Any]) -> list[Child]:
    kind, metric = of
    low, high = _ends(found.get("interval"))
    between = f"{score(metric, low)} to {score(metric, high)}" if None not in (low, high) else NOTHING
    lower = found.get("better") == "lower"
    note = found.get("note")
    title = concat(
        metric_name(metric),
        tag("small", "lower is better") if lower else None,
        tag("small", note) if isinstance(note, str) and note else None,
    )
    ends = [_first(study, shown, inside(found, list, end)) for end in ("worst", "best")]
    return [title, KINDS[kind], score(metric, found.get("mean")), _n(study, kind, found), between, *ends]


def _n(study: Study, kind: str, found: dict[str, Any]) -> str:
    """How many images a mean is over, and of how many."""
    count, pairs = real(found.get("n")), real(study.part("quality", kind).get("pairs"))
    return NOTHING if count is None else of_all(int(count), int(pairs or count))


def _ends(found: Any) -> tuple[float | None, float | None]:
    if not isinstance(found, list) or len(found) != 2:
        return None, None
    return real(found[0]), real(found[1])


def _in_one_line(convention: Any, most: int = 400) -> str:
    """A convention as one line."""
    if isinstance(convention, dict):
        convention = "; ".join(
            f"{str(key).replace('_', ' ')}: {_in_one_line(value) if isinstance(value, dict) else value}"
            for key, value in convention.items()
            if value not in (None, "", [], {})
        )
    return convention[:most] if isinstance(convention, str) else ""


def _first(study: Study, shown: Gallery, names: list[Any] | None) -> Child:
    """The most extreme image, with a link if it is on the page."""
    if not names:
        return NOTHING
    one = str(names[0]["name"]) if isinstance(names[0], dict) and "name" in names[0] else str(names[0])
    if one not in shown.places:
        return name(one)
    return tag("a", name(one), href=f"#{study.id('viewer')}", data_picture=shown.places[one])


def _safe_values(study: Study) -> list[float]:
    """Of every row of the side table; where that is not there, of the images listed in the results."""
    path = study.file(study.part("safety").get("csv"))
    rows = _column(path, "safe") if path else []
    return rows or [safe for row in study.mappings("images") if (safe := real(row.get("safe"))) is not None]


def _column(path: Path, column: str) -> list[float]:
    """The finite numbers of a CSV's column; none where the file is no CSV."""
    found = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        try:
            cells = [row.get(column) for row in csv.DictReader(file)]
        except csv.Error:
            return []
    for cell in cells:
        try:
            value = real(float(cell or "nan"))
        except ValueError:
            continue
        if value is not None:
            found.append(value)
    return found


def _distribution(study: Study, values: Sequence[float]) -> Markup:
    ordered = sorted(values)
    median = ordered[len(ordered) // 2]
    below = sum(value <= 0.5 for value in values)
    words = (
        f"{counted(len(values), 'SR image')}; from {number(ordered[0], 2)} to {number(ordered[-1], 2)}, median "
        f"{number(median, 2)}; {below} at or below 0.5."
    )
    drawing = bars(study.id("safety-chart"), "How safe the SR images are", words, histogram(values))
    caption = tag("figcaption", f"Number of SR images by safety. {words}")
    counts = histogram(values)
    steps: list[list[Child]] = [
        [f"{at / STEPS:.2f} to {(at + 1) / STEPS:.2f}", str(count)] for at, count in enumerate(counts)
    ]
    table = data_table("SR images by safety", ["Safety", "SR images"], steps)
    return concat(tag("figure", drawing, caption, class_="narrow"), folded("The numbers of this plot", table))


def _filters(study: Study, shown: Gallery, filters: Sequence[dict[str, Any]]) -> Markup:
    rows: list[list[Child]] = []
    lists = []
    for row in filters:
        policy = str(row.get("policy") or row.get("filter") or "")
        kept, removed = (int(real(row.get(key)) or 0) for key in ("kept", "removed"))
        gone = percent(removed / (kept + removed)) if kept + removed else NOTHING
        rows.append([tag("code", policy), str(kept), str(removed), gone])
        names = [str(one) for one in inside(row, list, "removed_names") or inside(row, list, "names") or []]
        if names:
            items = [tag("li", _first(study, shown, [one])) for one in names[:MOST]]
            items += [tag("li", f"… and {len(names) - MOST} more")] if len(names) > MOST else []
            lists.append(folded(concat("Removed by ", tag("code", policy)), tag("ul", items, class_="names")))
    caption = "What a filter of the policy would remove"
    return concat(data_table(caption, ["Filter", "Kept", "Removed", "Share removed"], rows), lists)
