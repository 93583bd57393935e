"""Tables: headers with their scope, numbers to the right, shades within their steps, and names that stay text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import Page

from srcache.html.markup import tag
from srcache.html.tables import HEATS, Cell, data_table, definitions, folded, framed, missing, shaded


def test_the_first_column_heads_its_rows_and_numbers_stand_to_the_right():
    page = Page(data_table("All <arms>", ["Arm", "Note", "n"], [["a", "b", 1], ["c", "<i>", 2]], left=2))
    assert [(one["text"], one["attrs"]["scope"]) for one in page.all("th")] == [
        *(("Arm", "col"), ("Note", "col"), ("n", "col"), ("a", "row"), ("c", "row")),
    ]
    assert [(one["text"], one["attrs"].get("class")) for one in page.all("td")] == [
        *(("b", None), ("1", "n"), ("<i>", None), ("2", "n")),
    ]
    assert page.all("caption")[0]["text"] == "All <arms>"
    assert page.all("div")[0]["attrs"]["aria-label"] == "All <arms>"


def test_the_frame_scrolls_by_keyboard_and_always_has_a_name():
    (frame,) = Page(framed("x", "A table")).all("div")
    assert frame["attrs"] == {"class": "scroll", "role": "region", "aria-label": "A table", "tabindex": "0"}
    marked = Page(data_table(tag("b", "x"), ["a"], [])).all("div")[0]
    assert marked["attrs"]["aria-label"] == "Table", "markup is no name"
    assert Page(data_table(tag("b", "x"), ["a"], [], label="y")).all("div")[0]["attrs"]["aria-label"] == "y"


@pytest.mark.parametrize(("heat", "step"), [(0.0, 0), (0.124, 0), (0.125, 1), (0.99, HEATS - 1), (1.0, HEATS - 1)])
def test_a_share_is_shaded_by_its_step(heat, step):
    page = Page(data_table("t", ["a", "b"], [["x", Cell("y", heat, "own")]]))
    assert page.all("td")[0]["attrs"]["class"] == f"n own heat{step}"


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_shade_lies_between_its_ends_and_grows_with_the_value(value, one, other):
    low, high = sorted((one, other))
    heat = shaded("x", value, low, high).heat
    assert 0 <= heat <= 1
    assert shaded("x", value + 1, low, high).heat >= heat
    assert (shaded("x", low, low, high).heat, shaded("x", high, low, high).heat) == (0, 0 if low == high else 1)


@pytest.mark.parametrize("value", [None, "0.5", float("nan"), True])
def test_what_is_no_number_has_no_shade(value):
    assert shaded("x", value, 0, 1) == Cell("x")


def test_terms_without_a_value_are_left_out():
    page = Page(definitions([("a", 1), ("b", None), ("c", ""), ("d", 0), ("<e>", "<f>")]))
    assert [one["text"] for one in page.all("dt")] == ["a", "d", "<e>"]
    assert [one["text"] for one in page.all("dd")] == ["1", "0", "<f>"]


def test_content_is_folded_behind_its_summary():
    assert folded("more", "x", id="i") == '<details id="i"><summary>more</summary>x</details>'


def test_what_is_missing_is_a_sentence_with_the_command_that_makes_it():
    assert missing("the <grid>") == '<p class="missing">Not in this report: the &lt;grid&gt;.</p>'
    words = Page(missing("the grid", "`srcache experiment` makes it.")).all("p")[0]["text"]
    assert words == "Not in this report: the grid. srcache experiment makes it."
    assert re.search(r"<code>srcache experiment</code>", missing("the grid", "`srcache experiment` makes it."))
