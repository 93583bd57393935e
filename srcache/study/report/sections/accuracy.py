"""What the arms reached: accuracy by seed, training curves, confusion, and each arm on every kind of image."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from srcache.html.charts import Line, Span, legend, lines, spans
from srcache.html.markup import Child, Markup, concat, name, tag
from srcache.html.tables import Cell, data_table, folded, missing, shaded
from srcache.study.report.data.comparison import ClassifierView, Ends, classifiers
from srcache.study.report.data.labels import arm_title
from srcache.study.report.data.study import Study, inside
from srcache.study.statistics.intervals import wilson_limits
from srcache.wording import NOTHING, counted, number, percent, percent_range, points, real

_CURVES = {
    "val_accuracy": ("Validation accuracy", True),
    "train_accuracy": ("Training accuracy", True),
    "val_loss": ("Validation loss", False),
    "loss": ("Training loss", False),
}
_DRAWN = ("val_accuracy", "val_loss", "loss")
_MADE = "`srcache experiment` writes it after training; run the same command again to go on."


def by_arm(study: Study) -> Markup:
    """Accuracy of every arm on its own test images, per seed, with an interval."""
    arms = [arm for arm in study.arms if _shares(arm)]
    if not arms:
        return missing("the accuracy of the arms", _MADE)
    tested = _tested(study)
    seeds = max(len(_shares(arm)) for arm in arms)
    headers = ["Arm", "Mean", "Spread", *(_seed_header(arms, at) for at in range(seeds))]
    rows = [_accuracy_row(arm, seeds, tested) for arm in arms]
    note = (
        f"Each network on the {tested} test images of its own kind. The range under a figure is its 95 % "
        "interval (Wilson): how much another draw of test images may change it. Mean: over n, seeds × "
        "images. Spread: the lowest to the highest seed."
        if tested
        else "Each network on test images of its own kind. How many there were is not known, so no interval is given."
    )
    return concat(
        data_table(concat("Accuracy by arm and seed. ", tag("span", note)), headers, rows, label="Accuracy by arm"),
        _dots(study, arms, tested),
    )


def curves(study: Study) -> Markup:
    """Training curves of every arm, a line per seed, with the numbers behind them."""
    ends = _ends(study)
    drawn = [_curves_of(study, at, arm, ends) for at, arm in enumerate(study.arms)]
    shown = [piece for piece in drawn if piece]
    return concat(shown) if shown else missing("training curves", _MADE)


def confusion(study: Study) -> Markup:
    """A matrix per classifier, and precision, recall and F1 per class."""
    known = [one for one in classifiers(study.part("compare")) if one.confusion]
    if not known:
        return missing("confusion matrices", "`srcache eval classifiers` writes them from prediction files.")
    return tag("div", [_matrix(study, one) for one in known], class_="columns")


def grid(study: Study) -> Markup:
    """Every arm on every kind of test image, as a heat map."""
    values = [line for line in study.rows("grid", "accuracy") if isinstance(line, list)]
    arms, domains = ([str(one) for one in study.rows("grid", key)] for key in ("arms", "domains"))
    plain = [share for line in values for value in line if (share := real(value)) is not None]
    if not plain or len(values) != len(arms) or any(len(line) != len(domains) for line in values):
        return missing("the grid of arms and kinds of image", _MADE)
    spread = study.rows("grid", "spread")
    own = {str(arm["name"]): arm.get("domain") for arm in study.arms}
    rows: list[list[Child]] = []
    for at, (arm, line) in enumerate(zip(arms, values, strict=True)):
        ranges = spread[at] if at < len(spread) and isinstance(spread[at], list) else []
        cells = [_grid_cell(line, ranges, column, (min(plain), max(plain))) for column in range(len(domains))]
        marked = [
            Cell(cell.content, cell.heat, "own" if own.get(arm) == domain else "")
            for cell, domain in zip(cells, domains, strict=True)
        ]
        rows.append([concat("trained on ", name(arm_title(arm))), *marked])
    caption = concat(
        f"Accuracy of each arm on each kind of test image, mean over {study.all_seeds}. ",
        tag(
            "span",
            f"{_n_words(study)}The stronger the shade, the better. A frame marks the kind that the arm was trained on; "
            "± is the sample standard deviation over seeds.",
        ),
    )
    headers = ["Arm", *(f"tested on {arm_title(domain)}" for domain in domains)]
    return data_table(caption, headers, rows, label="Accuracy of each arm on each kind of test image")


def _n_words(study: Study) -> str:
    tested = _tested(study)
    return f"n {tested} in each cell and seed. " if tested else ""


def _interval(share: float, tested: int) -> Ends:
    """Wilson's 95 % interval; none where the results hold what cannot be."""
    return wilson_limits(share, tested) if tested >= 1 and 0 <= share <= 1 else (None, None)


def _shares(arm: dict[str, Any]) -> list[float]:
    return [share for value in inside(arm, list, "accuracy") or [] if (share := real(value)) is not None]


def _tested(study: Study) -> int:
    """Test images: those that all arms answered, where they were compared."""
    compared = real(study.part("compare").get("images"))
    if compared is not None:
        return int(compared)
    counts = study.part("data", "counts", "test")
    return int(sum(real(count) or 0 for count in counts.values()))


def _seed_header(arms: Sequence[dict[str, Any]], at: int) -> str:
    """The seed of a column, if the arms agree on it."""
    seeds = {str(arm["seeds"][at]) for arm in arms if at < len(inside(arm, list, "seeds") or [])}
    return f"Seed {seeds.pop()}" if len(seeds) == 1 else f"Seed no. {at + 1}"


def _accuracy_row(arm: dict[str, Any], seeds: int, tested: int) -> list[Child]:
    shares = _shares(arm)
    cells = [_with_range(share, tested) for share in shares] + [NOTHING] * (seeds - len(shares))
    over = f"n {len(shares)} × {tested}" if tested else counted(len(shares), "seed")
    mean = concat(tag("strong", percent(fmean(shares))), tag("small", over))
    spread = percent_range(min(shares), max(shares)) if len(shares) > 1 else "one seed"
    about = [str(arm["network"])] if arm.get("network") else []
    about += [f"on {arm_title(str(arm['domain']))} images"] if arm.get("domain") else []
    return [
        concat(name(arm_title(arm["name"])), tag("small", ", ".join(about)) if about else None),
        mean,
        spread,
        *cells,
    ]


def _with_range(share: float, tested: int) -> Child:
    if not tested:
        return percent(share)
    return concat(percent(share), tag("small", percent_range(*_interval(share, tested))))


def _dots(study: Study, arms: Sequence[dict[str, Any]], tested: int) -> Markup:
    rows = []
    for arm in arms:
        shares = _shares(arm)
        low, high = _interval(fmean(shares), tested)
        rows.append(Span(name=arm_title(arm["name"]), value=fmean(shares), low=low, high=high, dots=shares))
    words = "; ".join(f"{row.name}: mean {percent(row.value)}, {percent_range(row.low, row.high)}" for row in rows)
    drawing = spans(study.id("accuracy-chart"), "Accuracy by arm", words, rows)
    legend = (
        f"Upright stroke: mean over {study.all_seeds}. Bar: 95 % interval for one set of test images. "
        "Circles: single seeds."
    )
    return tag("figure", drawing, tag("figcaption", legend), class_="narrow")


def _curves_of(study: Study, at: int, arm: dict[str, Any], ends: Mapping[str, tuple[float, float]]) -> Markup | None:
    histories = _histories(arm)
    seeds = [str(seed) for seed in inside(arm, list, "seeds") or []]
    seeds += [f"no. {number + 1}" for number in range(len(seeds), len(histories))]
    charts = [
        chart
        for key in ends
        if (chart := _chart(study.id(f"curve-{at}-{key}"), key, _lines(histories, seeds, key), ends[key]))
    ]
    if not charts:
        return None
    best = [str(epoch) for epoch in inside(arm, list, "best_epoch") or []]
    note = f"Best epoch by seed: {', '.join(best)}." if best else None
    shown = [Line(name=f"seed {seed}", points=[], style=style) for style, seed in enumerate(seeds[: len(histories)])]
    return tag(
        "div",
        study.heading(2, concat("Arm ", name(arm_title(arm["name"])))),
        tag("p", note) if note else None,
        legend(shown) if len(shown) > 1 else None,
        tag("div", charts, class_="charts"),
        folded(f"The numbers of arm {arm_title(arm['name'])}", _history_table(histories, seeds)),
    )


def _histories(arm: dict[str, Any]) -> list[list[Any]]:
    return [rows for rows in inside(arm, list, "history") or [] if isinstance(rows, list)]


def _ends(study: Study) -> dict[str, tuple[float, float]]:
    """The lowest and highest value of every curve over all arms, so that arms can be compared by eye."""
    found = {}
    for key in _DRAWN:
        values = [y for arm in study.arms for rows in _histories(arm) for _, y in _points(rows, key)]
        if values:
            found[key] = min(values), max(values)
    return found


def _lines(histories: Sequence[list[Any]], seeds: Sequence[str], key: str) -> list[Line]:
    return [
        Line(name=f"seed {seed}", points=points, style=style)
        for style, (rows, seed) in enumerate(zip(histories, seeds, strict=False))
        if (points := _points(rows, key))
    ]


def _chart(identity: str, key: str, drawn: Sequence[Line], ends: tuple[float, float]) -> Markup | None:
    if not drawn:
        return None
    title, shares = _CURVES[key]
    last = [(line.name, *line.points[-1]) for line in drawn]
    ends_of = [f"{seed} ends at {_value(value, shares)} in epoch {epoch:g}" for seed, epoch, value in last]
    drawing = lines(identity, (title, f"{title} by epoch: {'; '.join(ends_of)}."), drawn, ends, shares)
    return tag("figure", tag("figcaption", title), drawing)


def _points(rows: Sequence[Any], key: str) -> list[tuple[float, float]]:
    found = [
        (epoch, value)
        for number, row in enumerate(rows)
        if isinstance(row, dict) and (value := real(row.get(key))) is not None
        if (epoch := real(row.get("epoch", number + 1))) is not None
    ]
    return sorted(found)


def _value(value: Any, share: bool) -> str:
    return percent(value) if share else number(value)


def _history_table(histories: Sequence[list[Any]], seeds: Sequence[str]) -> Markup:
    rows: list[list[Child]] = []
    for history, seed in zip(histories, seeds, strict=False):
        for at, row in enumerate(history):
            if isinstance(row, dict):
                values = [_value(row.get(key), share) for key, (_, share) in _CURVES.items()]
                rows.append([str(row.get("epoch", at + 1)), seed, *values])
    headers = ["Epoch", "Seed", *(title for title, _ in _CURVES.values())]
    return data_table("Training by epoch and seed", headers, rows, left=2)


def _matrix(study: Study, one: ClassifierView) -> Markup:
    classes = one.classes or tuple(f"class {at + 1}" for at in range(len(one.confusion)))
    rows: list[list[Child]] = []
    for at, (truth, line) in enumerate(zip(classes, one.confusion, strict=False)):
        total = sum(line)
        cells = [shaded(_share(count, total), count, 0, total) for count in line]
        marked = [Cell(cell.content, cell.heat, "own" if at == column else "") for column, cell in enumerate(cells)]
        rows.append([concat(name(truth), tag("small", f"n {total}")), *marked])
    caption = concat(
        name(arm_title(one.name)),
        f", {study.first_seed}: true class by row, answer by column. ",
        tag("span", "Images, and their share of the row: the stronger the shade, the larger. Framed: right."),
    )
    headers = ["True class", *(tag("span", name(column), class_="turned") for column in classes)]
    matrix = data_table(caption, headers, rows, label=f"Confusion matrix of {one.name}, {study.first_seed}")
    return tag("div", matrix, _per_class(study, one) if one.per_class else None, class_="confusion")


def _share(count: int, total: int) -> Markup:
    return concat(str(count), tag("small", percent(count / total, 0) if total else None))


def _per_class(study: Study, one: ClassifierView) -> Markup:
    metrics = ["precision", "recall", "f1"]
    rows = [
        [name(row.get("name", at + 1)), *(number(row.get(metric)) for metric in metrics), number(row.get("images"))]
        for at, row in enumerate(one.per_class)
    ]
    more = ", ".join(f"{key} {number(value)}" for key, value in one.figures.items())
    headers = ["Class", "Precision", "Recall", "F1", "Images"]
    inner = data_table(f"{arm_title(one.name)} by class, {study.first_seed}", headers, rows)
    summary = f"Precision, recall and F1 of {arm_title(one.name)}, {study.first_seed}"
    return folded(summary, tag("p", more[:1].upper() + more[1:] + ".") if more else None, inner)


def _grid_cell(line: Sequence[Any], ranges: Sequence[Any], column: int, ends: tuple[float, float]) -> Cell:
    spread = real(ranges[column]) if column < len(ranges) else None
    extra = tag("small", f"± {points(spread).lstrip('+')}") if spread is not None else None
    return shaded(concat(percent(line[column]), extra), line[column], *ends)
