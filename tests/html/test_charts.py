"""Charts: round ticks, words beside every drawing, and lines that differ by more than their colour."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import Page

from srcache.html.charts import (
    LINES,
    Band,
    Difference,
    Line,
    Span,
    bands,
    bars,
    forest,
    legend,
    lines,
    spans,
    ticks_between,
)


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e6), st.integers(2, 8))
def test_ticks_are_round_few_and_inside(low, span, about):
    high = low + span
    ticks = ticks_between(low, high, about)
    assert len(ticks) <= 2 * about + 2
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    assert ticks == sorted(ticks)


def _points(svg):
    return [
        [tuple(map(float, one.split(","))) for one in found.split()] for found in re.findall(r'points="(.*?)"', svg)
    ]


def test_curves_lie_where_their_axes_say():
    curve = Line(name="seed 0", points=[(1, 0.0), (2, 1.0), (3, 0.5)])
    svg = lines("c", ("Accuracy", "in words"), [curve], (0.0, 1.0), True)
    ((first, second, third),) = _points(svg)
    assert first[0] < second[0] < third[0]
    assert second[1] < third[1] < first[1], "up is more"
    assert third[1] == pytest.approx((first[1] + second[1]) / 2, abs=0.1)
    assert ">50 %<" in svg
    assert ">epoch<" in svg


def test_a_curve_of_one_epoch_is_a_dot_and_one_without_points_is_left_out():
    curves = [Line(name="a", points=[(1, 0.5)], style=1), Line(name="b", points=[])]
    svg = lines("c", ("t", "d"), curves, (0.5, 0.5), False)
    assert svg.count("<circle") == 1
    assert "<polyline" not in svg


@pytest.mark.parametrize(
    "svg",
    [
        lines("i", ("<t>", "<d>"), [Line(name="a", points=[(1, 2), (2, 3)])], (2, 3), False),
        spans("i", "<t>", "<d>", [Span(name="<a>", value=0.5, low=0.4, high=0.6, dots=[0.5])]),
        bars("i", "<t>", "<d>", [0, 3, 1]),
    ],
    ids=["lines", "spans", "bars"],
)
def test_every_chart_has_a_title_and_a_description(svg):
    page = Page(svg)
    (drawn,) = page.all("svg")
    assert drawn["attrs"]["role"] == "img"
    words = [page.by_id(one)["text"] for one in drawn["attrs"]["aria-labelledby"].split()]
    assert words == ["<t>", "<d>"]


def test_a_span_shows_its_interval_its_middle_and_its_dots():
    rows = [Span(name="a", value=0.5, low=0.4, high=0.6, dots=[0.45, 0.55]), Span(name="b", value=0.7)]
    svg = spans("i", "t", "d", rows)
    assert svg.count('class="range') == 1
    assert svg.count('class="middle') == svg.count("<g>") == 2
    assert svg.count('class="seed"') == 2
    ((left, right),) = re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" class="range', svg)
    middle = re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="\1" y2="[\d.]+" class="middle', svg)[0]
    assert float(middle) == pytest.approx((float(left) + float(right)) / 2, abs=0.1)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=30))
def test_bars_are_as_high_as_their_counts(counts):
    svg = bars("i", "t", "d", counts)
    heights = [float(one) for one in re.findall(r'<rect [^>]*height="([\d.]+)"', svg)]
    drawn = [count for count in counts if count]
    assert len(heights) == len(drawn)
    for height, count in zip(heights, drawn, strict=True):
        assert height == pytest.approx(max(heights) * count / max(drawn), abs=0.11)
    labels = re.findall(r'text-anchor="end">(.*?)<', svg)
    assert all(label.isdecimal() for label in labels), "there is no half an image"


def test_lines_differ_in_their_dashes_too():
    drawn = legend([Line(name=f"seed {at}", points=[], style=at) for at in range(LINES)])
    assert len(set(re.findall(r'class="(line\d dash\d)"', drawn))) == LINES
    assert [one["text"].strip() for one in Page(drawn).all("li")] == [f"seed {at}" for at in range(LINES)]


def test_ticks_of_nothing_are_one():
    assert ticks_between(3, 3, 4) == [3]
    assert ticks_between(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1]


def test_a_forest_has_every_difference_at_its_place_beside_the_line_at_0():
    rows = [
        Difference(name="SR − LR", value=0.1, low=0.05, high=0.15, shown=True),
        Difference(name="A − B", value=-0.02, low=-0.07, high=0.03),
        Difference(name="C − D", value=0.0),
    ]
    page = Page(forest("f", "Differences", "in words", rows))
    (zero,) = [float(one["attrs"]["x1"]) for one in page.all("line") if one["attrs"]["class"] == "zero"]
    middles = [float(one["attrs"]["x"]) + 3.5 for one in page.all("rect")]
    assert middles[1] < middles[2] < middles[0]
    assert middles[2] == pytest.approx(zero, abs=0.1)
    whiskers = [one["attrs"] for one in page.all("line") if one["attrs"]["class"] == "whisker"]
    assert [float(one["x1"]) < zero < float(one["x2"]) for one in whiskers] == [False, True]
    assert [one["attrs"]["class"] for one in page.all("rect")] == ["effect shown", "effect", "effect"]
    texts = [one["text"] for one in page.all("text")]
    assert "+10.0 (+5.0 to +15.0)" in texts
    assert "0" in texts


def test_many_differences_stand_in_two_charts_on_one_scale():
    rows = [Difference(name=f"{at}", value=0.01 * at, low=0.01 * at - 0.02, high=0.01 * at + 0.02) for at in range(11)]
    page = Page(forest("f", "Differences", "in words", rows))
    assert [one["text"] for one in page.all("title")] == ["Differences, part 1 of 2", "Differences, part 2 of 2"]
    zeros = [one["attrs"]["x1"] for one in page.all("line") if one["attrs"]["class"] == "zero"]
    assert len(zeros) == 2
    assert len(set(zeros)) == 1
    places = [float(one["attrs"]["x"]) for one in page.all("rect")]
    assert places == sorted(places)
    assert len(places) == 11


def test_a_long_name_has_a_line_of_its_own():
    long, short = (
        Difference(name=name, value=0.1, low=0.0, high=0.2) for name in ("mix+trivial − bicubic+trivial", "a")
    )
    drawn = [Page(forest("f", "", "", [row])).all("text") for row in (long, short)]
    heights = [
        [float(one["attrs"]["y"]) for one in texts if "(" in one["text"] or one["text"] in (long.name, "a")]
        for texts in drawn
    ]
    assert heights[0][0] < heights[0][1]
    assert heights[1][0] == heights[1][1]


def test_a_name_that_is_too_long_for_a_line_is_broken_at_its_minus():
    row = Difference(name=f"{'a' * 40} − {'b' * 40}", value=0.1, low=0.0, high=0.2)
    texts = Page(forest("f", "", "", [row])).all("text")
    lines = [(one["text"], float(one["attrs"]["y"])) for one in texts if one["text"][0] in "ab" or "(" in one["text"]]
    assert [text for text, _ in lines] == [f"{'a' * 40} −", "b" * 40, "+10.0 (+0.0 to +20.0)"]
    assert [y for _, y in lines] == sorted({y for _, y in lines}), "one below the other"


def test_a_band_lies_around_its_curve_and_curves_differ_in_dash_and_marker():
    curves = [
        Band(name="sr", points=[(0, 0.5, 0.4, 0.6), (2, 0.7, 0.6, 0.9)]),
        Band(name="mix", points=[(0, 0.4, None, None), (2, 0.6, None, None)], style=1),
        Band(name="patch", points=[(2, 0.5, 0.45, 0.55)], style=2),
    ]
    drawn = bands("b", ("Accuracy", "in words"), curves, [(0, "4"), (2, "all")], "images per class")
    page = Page(drawn)
    (band,) = page.all("polygon")
    corners = [tuple(map(float, one.split(","))) for one in band["attrs"]["points"].split()]
    lines = [
        [tuple(map(float, one.split(","))) for one in line["attrs"]["points"].split()] for line in page.all("polyline")
    ]
    (top_left, top_right, low_right, low_left), (left, right) = corners, lines[0]
    assert top_left[0] == low_left[0] == left[0] < right[0] == top_right[0] == low_right[0]
    assert top_left[1] < left[1] < low_left[1], "up is more"
    assert top_right[1] < right[1] < low_right[1]
    assert len([one for one in page.all("line") if "range" in one["attrs"]["class"]]) == 1, "a point alone has a stroke"
    texts = [one["text"] for one in page.all("text")]
    assert {"4", "all", "images per class"} <= set(texts)
    assert len(page.all("path")) == 5
    pieces = Page(legend([Band(name="x", points=[], style=at) for at in range(LINES)])).all("path")
    assert len({one["attrs"]["d"] for one in pieces}) == LINES
