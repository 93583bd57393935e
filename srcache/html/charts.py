"""Charts as SVG inside the page: lines, ranges and bars, each with a title and a description in words.

Colours are classes (`line0` … `line5` in the page's style), so that they follow the page into the dark and onto paper;
lines differ in their dashes too, and, with bands, in their markers. A width of 280 units is about that of three charts
side by side, or of one on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from srcache.html.markup import Markup, concat, tag
from srcache.wording import percent, points, points_range

WIDTH, HEIGHT = 280, 170
WIDE, TALL = 330, 250
"""Of a chart with bands, which stands alone."""
LINES = 6
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 34
_ROW = 30
"""Height of a difference: its name and numbers, and its interval below them."""
_LETTERS = 43
"""So many fit beside each other in a chart's width."""
COLUMN = 8
"""Differences in one chart, at most; see `forest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve: what it is called, its points in the order of x, and which of the styles it has."""

    name: str
    points: Sequence[tuple[float, float]]
    style: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A curve whose points have intervals: (x, value, low, high) each; ends are None where there is no interval."""

    name: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    style: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A value with its interval; `dots` are the single measurements that it sums up."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    dots: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference of two shares with its interval; `shown` tells whether it counts as one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    shown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values that lie on a chart from `low` to `high`, and where they are drawn."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 1)


def lines(
    identity: str, words: tuple[str, str], curves: Sequence[Line], ends: tuple[float, float], shares: bool
) -> Markup:
    """Curves over epochs, with `words`: title and description.

    `ends` are the lowest and the highest value, so that several charts can share a scale; `shares` are written in per
    cent.
    """
    points = [point for curve in curves for point in curve.points]
    low, high = _bounds(ends)
    across = Axis(low=min(x for x, _ in points), high=max(x for x, _ in points), start=_LEFT, end=WIDTH - _RIGHT)
    up = Axis(low=low, high=high, start=HEIGHT - _BOTTOM, end=_TOP)
    marks = [*_level_marks(up, shares), *_epoch_marks(across)]
    drawn = [_curve(curve, across, up) for curve in curves if curve.points]
    return _svg(identity, (WIDTH, HEIGHT), words, [*marks, *drawn])


def bands(
    identity: str, words: tuple[str, str], curves: Sequence[Band], ticks: Sequence[tuple[float, str]], unit: str
) -> Markup:
    """Shares over a quantity, each point marked and with its interval as a band; `ticks` are labels of the axis."""
    ends = [end for curve in curves for _, *rest in curve.points for end in rest if end is not None]
    low, high = _bounds(ends)
    up = Axis(low=max(0.0, low), high=min(1.0, high), start=TALL - _BOTTOM, end=_TOP)
    places = [x for x, _ in ticks]
    across = Axis(low=min(places), high=max(places), start=_LEFT + 12, end=WIDE - _RIGHT - 10)
    marks = _level_marks(up, True, WIDE)
    marks += [_text(across.at(x), TALL - 18, label, "middle") for x, label in ticks]
    marks.append(_text((across.start + across.end) / 2, TALL - 4, unit, "middle"))
    shades = [piece for curve in curves if (piece := _shade(curve, across, up))]
    drawn = [_marked(curve, across, up) for curve in curves]
    return _svg(identity, (WIDE, TALL), words, [*marks, *shades, *drawn])


def spans(identity: str, title: str, description: str, rows: Sequence[Span]) -> Markup:
    """Shares with their intervals, one below the other, on one scale."""
    height = _TOP + 46 * len(rows) + _BOTTOM
    ends = [end for row in rows for end in (row.value, row.low, row.high, *row.dots) if end is not None]
    low, high = _bounds(ends)
    across = Axis(low=max(0.0, low), high=min(1.0, high), start=16, end=WIDTH - 16)
    ticks = ticks_between(across.low, across.high, 4)
    marks = [_vertical(across.at(tick), height, percent(tick, _places(ticks))) for tick in ticks]
    drawn = [_span(row, across, _TOP + 46 * at + 30, at) for at, row in enumerate(rows)]
    return _svg(identity, (WIDTH, height), (title, description), [*marks, *drawn])


def forest(identity: str, title: str, description: str, rows: Sequence[Difference]) -> Markup:
    """Differences in points with their intervals, one below the other, and a line at 0; shown ones are filled.

    More than `COLUMN` of them stand in two charts on one scale, beside each other where there is room.
    """
    ends = [100 * end for row in rows for end in (row.value, row.low, row.high) if end is not None] + [-1.0, 1.0]
    low, high = _bounds(ends)
    across = Axis(low=low, high=high, start=10, end=WIDTH - 10)
    if len(rows) <= COLUMN:
        return _forest(identity, (title, description), rows, across)
    half = (len(rows) + 1) // 2
    parts = [
        _forest(f"{identity}-{number}", (f"{title}, part {number} of 2", description), part, across)
        for number, part in enumerate((rows[:half], rows[half:]), 1)
    ]
    return tag("div", *parts, class_="charts")


def _forest(identity: str, words: tuple[str, str], rows: Sequence[Difference], across: Axis) -> Markup:
    tops = list(accumulate((_row_height(row) for row in rows), initial=_TOP))
    bottom, ticks = tops[-1], ticks_between(across.low, across.high, 5)
    marks = [_vertical(across.at(tick), bottom + _BOTTOM, _signed(tick)) for tick in ticks]
    zero = tag("line", x1=across.at(0), y1=_TOP - 4, x2=across.at(0), y2=bottom + 4, class_="zero")
    drawn = [_difference(row, across, top, top + _row_height(row)) for row, top in zip(rows, tops, strict=False)]
    return _svg(identity, (WIDTH, bottom + _BOTTOM), words, [*marks, zero, *drawn])


def bars(identity: str, title: str, description: str, counts: Sequence[int]) -> Markup:
    """How many values lie in each of equal steps from 0 to 1."""
    up = Axis(low=0, high=max([*counts, 1]), start=HEIGHT - _BOTTOM, end=_TOP)
    across = Axis(low=0, high=1, start=_LEFT, end=WIDTH - _RIGHT)
    step = (across.end - across.start) / max(1, len(counts))
    integers = [tick for tick in ticks_between(0, up.high, 4) if tick == int(tick)]
    marks = [_horizontal(up.at(tick), str(int(tick))) for tick in integers]
    marks += [_text(across.at(at / 4), HEIGHT - 14, f"{at / 4:g}", "middle") for at in range(5)]
    drawn = [
        tag("rect", x=across.start + at * step + 1, y=up.at(count), width=step - 2, height=up.start - up.at(count))
        for at, count in enumerate(counts)
        if count
    ]
    return _svg(identity, (WIDTH, HEIGHT), (title, description), [*marks, tag("g", drawn, class_="bars")])


def legend(curves: Sequence[Line | Band]) -> Markup:
    """What the lines mean, each with a piece of itself."""
    items = []
    for curve in curves:
        piece = tag("line", x1=0, y1=5, x2=28, y2=5, class_=_style(curve.style))
        if isinstance(curve, Band):
            piece = concat(piece, _marker(14, 5, curve.style))
        items.append(tag("li", tag("svg", piece, viewBox="0 0 28 10", aria_hidden="true"), " ", curve.name))
    return tag("ul", items, class_="legend")


def ticks_between(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, about so many of them."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    size = 10 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(at * step, 12) for at in range(first, math.floor(high / step + 1e-9) + 1)]


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and highest value, with a margin."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1)
    return low - margin, high + margin


def _svg(identity: str, size: tuple[float, float], words: tuple[str, str], content: Sequence[Markup]) -> Markup:
    title, description = (
        tag(kind, text, id=f"{identity}-{kind}") for kind, text in zip(("title", "desc"), words, strict=True)
    )
    names = f"{identity}-title {identity}-desc"
    box = f"0 0 {size[0]} {size[1]}"
    return tag("svg", title, description, *content, viewBox=box, role="img", aria_labelledby=names, class_="chart")


def _curve(curve: Line, across: Axis, up: Axis) -> Markup:
    places = [(across.at(x), up.at(y)) for x, y in curve.points]
    if len(places) == 1:
        return tag("circle", cx=places[0][0], cy=places[0][1], r=3, class_=f"dot {_style(curve.style)}")
    return tag("polyline", points=" ".join(f"{x},{y}" for x, y in places), class_=_style(curve.style))


def _shade(curve: Band, across: Axis, up: Axis) -> Markup | None:
    """The band of a curve where its points have intervals; a single one is drawn as a stroke."""
    found = [
        (across.at(x), up.at(low), up.at(high))
        for x, _, low, high in curve.points
        if low is not None and high is not None
    ]
    if not found:
        return None
    if len(found) == 1:
        ((x, low, high),) = found
        return tag("line", x1=x, y1=low, x2=x, y2=high, class_=f"range {_style(curve.style, False)}")
    edge = [f"{x},{high}" for x, _, high in found] + [f"{x},{low}" for x, low, _ in reversed(found)]
    return tag("polygon", points=" ".join(edge), class_=f"band fill{curve.style % LINES} {_style(curve.style)}")


def _marked(curve: Band, across: Axis, up: Axis) -> Markup:
    places = [(across.at(x), up.at(y)) for x, y, *_ in curve.points]
    line = tag("polyline", points=" ".join(f"{x},{y}" for x, y in places), class_=_style(curve.style))
    return tag("g", line, [_marker(x, y, curve.style) for x, y in places])


_MARKERS = (
    "M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z",
    "M-3.2,-3.2h6.4v6.4h-6.4z",
    "M0,-4.2l4,7h-8z",
    "M0,-4.5l4,4.5l-4,4.5l-4,-4.5z",
    "M0,4.2l4,-7h-8z",
    "M-3.6,-3.6l7.2,7.2m0,-7.2l-7.2,7.2",
)
"""Circle, square, triangle, diamond, triangle upside down, cross: one for each style."""


def _marker(x: float, y: float, style: int) -> Markup:
    """Filled for every other style, so that markers differ in grey."""
    kind = f"marker {_style(style, False)}" + (f" fill{style % LINES}" if style % 2 == 0 else "")
    return tag("path", d=_MARKERS[style % LINES], transform=f"translate({x},{y})", class_=kind)


def _span(row: Span, across: Axis, middle: float, at: int) -> Markup:
    pieces = [_text(16, middle - 12, row.name, "start")]
    if row.low is not None and row.high is not None:
        ends = across.at(row.low), across.at(row.high)
        pieces.append(tag("line", x1=ends[0], y1=middle, x2=ends[1], y2=middle, class_=f"range {_style(at, False)}"))
    pieces += [tag("circle", cx=across.at(dot), cy=middle, r=3.2, class_="seed") for dot in row.dots]
    point = across.at(row.value)
    pieces.append(tag("line", x1=point, y1=middle - 8, x2=point, y2=middle + 8, class_=f"middle {_style(at, False)}"))
    return tag("g", pieces)


def _difference(row: Difference, across: Axis, top: float, bottom: float) -> Markup:
    middle, point = bottom - 9, across.at(100 * row.value)
    pieces = [_text(10, top + 11 + 13 * at, line, "start") for at, line in enumerate(_name_lines(row))]
    pieces.append(_text(WIDTH - 10, bottom - 19, _in_points(row), "end"))
    if row.low is not None and row.high is not None:
        ends = across.at(100 * row.low), across.at(100 * row.high)
        pieces.append(tag("line", x1=ends[0], y1=middle, x2=ends[1], y2=middle, class_="whisker"))
    kind = "effect shown" if row.shown else "effect"
    return tag("g", pieces, tag("rect", x=round(point - 3.5, 1), y=middle - 3.5, width=7, height=7, class_=kind))


def _in_points(row: Difference) -> str:
    known = row.low is not None and row.high is not None
    return points(row.value) + (f" ({points_range(row.low, row.high)})" if known else "")


def _row_height(row: Difference) -> float:
    """A line more where name and numbers do not fit beside each other, and where the name needs two."""
    *more, last = _name_lines(row)
    return _ROW + 13 * len(more) + (13 if len(last) + len(_in_points(row)) > _LETTERS else 0)


def _name_lines(row: Difference) -> list[str]:
    """The name; in two lines, broken at its minus, where it is too long for one."""
    first, minus, second = row.name.partition(" − ")
    return [row.name] if len(row.name) <= _LETTERS or not minus else [f"{first} −", second]


def _signed(tick: float) -> str:
    return f"{tick:+g}".replace("-", "−") if tick else "0"


def _level_marks(up: Axis, shares: bool, width: float = WIDTH) -> list[Markup]:
    ticks = ticks_between(up.low, up.high, 4)
    places = _places(ticks)
    return [_horizontal(up.at(tick), percent(tick, places) if shares else f"{tick:g}", width) for tick in ticks]


def _epoch_marks(across: Axis) -> list[Markup]:
    ticks = [tick for tick in ticks_between(across.low, across.high, 5) if tick == int(tick)]
    marks = [_text(across.at(tick), HEIGHT - 18, str(int(tick)), "middle") for tick in ticks]
    return [*marks, _text((across.start + across.end) / 2, HEIGHT - 4, "epoch", "middle")]


def _places(ticks: Sequence[float]) -> int:
    """Digits with which neighbouring ticks differ in per cent."""
    steps = [second - first for first, second in pairwise(ticks)]
    return 1 if steps and min(steps) < 0.0099 else 0


def _horizontal(y: float, words: str, width: float = WIDTH) -> Markup:
    rule = tag("line", x1=_LEFT, y1=y, x2=width - _RIGHT, y2=y, class_="rule")
    return concat(rule, _text(_LEFT - 6, y + 4, words, "end"))


def _vertical(x: float, height: float, words: str) -> Markup:
    rule = tag("line", x1=x, y1=_TOP, x2=x, y2=height - _BOTTOM + 4, class_="rule")
    return concat(rule, _text(x, height - 12, words, "middle"))


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return tag("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _style(number: int, dashed: bool = True) -> str:
    return f"line{number % LINES}" + (f" dash{number % LINES}" if dashed else "")
