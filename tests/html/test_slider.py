"""The slider's parts: an element with a name, a script and a style for any page, and no word about studies."""

import re

from report_page import Page

from srcache.html.slider import LABEL, slider_script, slider_style, stage


def test_the_stage_takes_the_focus_and_has_a_name():
    (found,) = Page(stage()).all("div")
    assert found["attrs"] == {"class": "stage", "tabindex": "0", "role": "group", "aria-label": LABEL}
    assert Page(stage("<a>")).all("div")[0]["attrs"]["aria-label"] == "<a>"


def test_script_and_style_can_stand_in_a_page():
    for part in (slider_script(), slider_style()):
        assert part.endswith("\n")
        assert "</" not in part, "which could end the element around it"
    assert slider_script().count('"use strict"') == 1
    assert re.findall(r"^\S.*", slider_script(), re.MULTILINE)[-2:] == ["const slider = (() => {", "})();"]


def test_the_slider_loads_nothing_and_runs_no_text():
    for forbidden in ("fetch(", "XMLHttpRequest", "innerHTML", "eval(", "document.write", "setTimeout", "http"):
        assert forbidden not in slider_script()
    assert "url(" not in slider_style()
    assert "@import" not in slider_style()


def test_the_slider_knows_nothing_of_studies():
    words = set(re.findall(r"[a-z]+", (slider_script() + slider_style()).lower()))
    assert words & {"lr", "sr", "hr", "bicubic", "study", "arm", "experiment", "report"} == set()


def test_the_style_has_a_rule_for_every_class_that_the_script_gives():
    given = set(re.findall(r'element\("\w+", "(\w+)"', slider_script())) | {"stage", "pixels", "zoomed"}
    assert given == {"layer", "badge", "handle", "stage", "pixels", "zoomed"}
    assert {one for one in given if f".{one}" not in slider_style()} == set()
    variables = set(re.findall(r"var\(--(\w+)\)", slider_style()))
    assert variables == {"paper", "panel", "ink", "focus", "sans"}, "what the module's docstring promises"
