"""Markup: whatever comes from outside is text, in the page and in its data."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import Page

from srcache.html.markup import Markup, concat, json_block, name, prose, tag, text


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_any_text_comes_back_out_of_markup_and_json(words):
    inside = Page(f"<p>{text(words)}</p>").all("p")[0]["text"]
    kept = "".join(letter for letter in words if letter.isprintable())
    assert "".join(letter for letter in inside if letter.isprintable() and letter != "\ufffd") == kept.replace(
        "\ufffd", ""
    )
    block = json_block("data", {words: words})
    assert (
        set("<>&") & set(block.removeprefix('<script type="application/json" id="data">')[: -len("</script>")]) == set()
    )
    assert json.loads(Page(block).by_id("data")["text"]) == {words: words}
    assert Page(tag("p", title=words)).all("p")[0]["attrs"]["title"] is not None


def test_attributes_are_written_as_html_has_them():
    made = tag("a", "x", class_="c", aria_label='"<', data_at=0, hidden=True, disabled=False, id=None, for_="y")
    assert made == '<a class="c" aria-label="&quot;&lt;" data-at="0" hidden for="y">x</a>'
    assert tag("br", id="b") == '<br id="b">'


def test_children_are_opened_left_out_or_escaped():
    inner = tag("p", [Markup("<b>"), None, ["a", ("<", 3)], iter("xy")], "&")
    assert inner == "<p><b>a&lt;3xy&amp;</p>"
    assert concat() == ""
    assert tag("p", {"a": 1}) == "<p>{&#x27;a&#x27;: 1}</p>", "a mapping is text"


def test_prose_sets_commands_as_code_and_names_keep_their_direction():
    assert prose("run `a <b>` now") == "run <code>a &lt;b&gt;</code> now"
    assert name("<שלום>") == "<bdi>&lt;שלום&gt;</bdi>"


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("nul\x00", "nul\ufffd"),
        ("half \ud800", "half \ufffd"),
        ("a\tb\n", "a\tb\n"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
    ids=ascii,
)
def test_controls_become_a_mark_and_joiners_stay(words, written):
    assert text(words) == written
    assert text(words).encode()


def test_data_that_json_lacks_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_block("data", [float("nan")])
