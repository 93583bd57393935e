"""The page: its head, what it may load, what everybody can read, and a sentence wherever something is missing."""

import copy
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_folder import StudySettings, make_study
from report_page import (
    SECTIONS,
    Page,
    assert_everything_has_a_name,
    assert_headings_are_in_order,
    assert_ids_and_references_fit,
    data_of,
    render,
)

from srcache.wording import percent

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><b>bold</b><!--",
    "a'b\"c&amp;d",
    "\u202egnp.exe",
    "שלום עולם",
    "日本語 😀",
    "nul\x00and\x1bescape",
    "half \ud800 letter",
    "]]>{{7*7}}${7*7}",
)


def test_the_head_has_the_question_and_the_verdict(page, results):
    header = next(one for one in page.all("header"))
    assert results["question"] in header["text"]
    assert results["verdict"] in header["text"]
    assert f"Seed 0 alone: {results['compare']['verdict']}" in header["text"]
    assert "Not significant after correction" in header["text"]


def test_with_one_seed_the_verdict_is_that_of_the_comparison(small):
    folder, results = small
    one = {key: value for key, value in results.items() if key not in ("verdict", "seeds")}
    header = Page(render(one, folder)).all("header")[0]
    assert results["compare"]["verdict"] in header["text"]
    assert "Seed 0 alone" not in header["text"]


def test_matrices_grid_safety_and_lineage_are_there(page, results):
    for matrix in results["compare"]["classifiers"]:
        cells = [str(count) for line in matrix["confusion"] for count in line]
        assert all(cell in page.by_id("confusion")["text"] for cell in cells)
    assert "expected calibration error 0.043" in page.by_id("confusion")["text"]
    assert all(percent(one) in page.by_id("grid")["text"] for line in results["grid"]["accuracy"] for one in line)
    for one in results["safety"]["filters"]:
        assert f"{one['policy']}{one['kept']}{one['removed']}" in page.by_id("safety")["text"]
    assert results["recipe"]["fingerprint"] in page.by_id("recipe")["text"]
    assert "89 of 90" in page.by_id("recipe")["text"]
    assert "truncated 1" in page.by_id("recipe")["text"]
    assert "aa" * 16 in page.by_id("data")["text"]
    assert "data range: 255" in page.by_id("conventions")["text"]
    assert "2.14.1" in page.by_id("versions")["text"]
    assert all(line in page.by_id("reproduce")["text"] for line in results["commands"])


@pytest.mark.medium
def test_hostile_names_are_text(tmp_path):
    settings = StudySettings(count=12, size=16, classes=HOSTILE[:4], names=tuple(f"{one} x" for one in HOSTILE))
    results = make_study(tmp_path, settings)
    for key in ("name", "question", "machine"):
        results[key] = HOSTILE[0]
    results["compare"]["verdict"] = HOSTILE[1]
    results["verdict"] = HOSTILE[2]
    results["further"] = {HOSTILE[0]: dict.fromkeys(("name", "fingerprint", "yaml"), HOSTILE[1])}
    results["failures"] = [{HOSTILE[0]: HOSTILE[1]}]
    results["commands"] = list(HOSTILE)
    results["versions"] = {HOSTILE[1]: HOSTILE[2]}
    results["recipe"] = dict.fromkeys(("name", "folder", "fingerprint", "yaml"), HOSTILE[2])
    results["arms"][0]["name"] = HOSTILE[0]
    results["arms"][1]["network"] = HOSTILE[1]
    results["safety"]["filters"][0]["policy"] = HOSTILE[1]
    html = render(results, tmp_path)
    page = Page(html)
    assert len(page.all("script")) == 2
    assert page.all("b") == page.all("img") == []
    assert not any(key.startswith("on") for one in page.elements for key in one["attrs"])
    assert "alert(1)</script>" not in html
    assert "\u202e" not in html
    assert "\x00" not in html
    assert html.encode()
    assert page.all("h1")[0]["text"] == HOSTILE[0]
    assert [one["name"] for one in data_of(html)["pictures"]] == [row["name"] for row in results["images"]]
    options = {one["text"] for one in page.all("option")}
    assert set(HOSTILE[:4]) <= options


def test_writing_directions_of_names_do_not_mix(tmp_path):
    results = make_study(tmp_path, StudySettings(count=6, size=16, names=("שלום",)))
    cells = [one for one in Page(render(results, tmp_path)).all("bdi") if one["text"] == "שלום"]
    assert cells


_MISSING = {
    "arms": ("accuracy", "curves", "recipe"),
    "compare": ("pairs", "disputed", "confusion"),
    "seeds": ("pairs",),
    "grid": ("grid",),
    "quality": ("quality", "conventions"),
    "images": ("compare",),
    "data": ("data",),
    "recipe": ("recipe",),
    "cache": ("recipe",),
    "commands": ("reproduce",),
    "config": ("reproduce",),
}


@pytest.mark.parametrize("part", _MISSING)
def test_a_missing_part_is_said_where_it_would_stand(part, small):
    folder, results = small
    less = {key: value for key, value in results.items() if key != part}
    page = Page(render(less, folder))
    for section in _MISSING[part]:
        assert "Not in this report:" in page.by_id(section)["text"], section
    rest = set(SECTIONS) - set(_MISSING[part]) - {"accuracy"}
    missing = {section for section in rest if "Not in this report:" in page.by_id(section)["text"]}
    assert missing <= {"safety", "disputed"}


def test_the_complete_report_has_no_gap(html):
    assert "Not in this report" not in html
    assert "incomplete" not in html


def test_an_empty_study_is_a_page_of_gaps(tmp_path):
    page = Page(render({"schema": "srcache.experiment/1"}, tmp_path))
    assert all("Not in this report:" in page.by_id(section)["text"] for section in SECTIONS)
    assert "No verdict" in page.all("header")[0]["text"]
    assert "incomplete" in page.all("header")[0]["text"]


def _paths(value, before=()):
    """Every place in nested values."""
    yield before
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _paths(one, (*before, key))


@pytest.mark.medium
@settings(max_examples=30)
@given(data=st.data())
def test_no_damage_to_the_results_breaks_the_page(small, data):
    out, results = small
    paths = sorted(set(_paths(results)) - {()}, key=str)
    path = data.draw(st.sampled_from(paths))
    rubbish = st.sampled_from(
        [
            None,
            3,
            -1,
            10**400,
            "x" * 300,
            "p/" * 3000,
            2.5,
            float("nan"),
            float("inf"),
            "word",
            True,
            [],
            {},
            [[1], "x"],
            {"a": []},
        ]
    )
    damaged = copy.deepcopy(results)
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(rubbish)
    Page(render(damaged, out))


def test_headings_are_in_order(page):
    assert_headings_are_in_order(page)


def test_landmarks_language_and_title(page):
    assert page.declared.lower() == "doctype html"
    assert page.all("html")[0]["attrs"]["lang"] == "en"
    assert [len(page.all(one)) for one in ("main", "nav", "footer", "h1", "article")] == [1] * 5
    assert page.all("title")[0]["text"] == "textures · srcache report"
    assert [one["attrs"]["id"] for one in page.all("section")] == ["sweeps", *SECTIONS]


def test_ids_are_unique_and_references_lead_somewhere(page):
    assert_ids_and_references_fit(page)


def test_every_control_has_a_name_and_every_image_a_text(page):
    assert_everything_has_a_name(page)


def test_tables_have_captions_and_headers(page):
    for one in page.all("table"):
        assert one["text"].strip()
    assert len(page.all("caption")) == len(page.all("table")) > 10
    assert all(one["attrs"].get("scope") in ("row", "col") for one in page.all("th"))


def test_the_policy_allows_the_page_itself_and_nothing_else(page):
    (policy,) = [
        one["attrs"]["content"]
        for one in page.all("meta")
        if one["attrs"].get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {"default-src", "style-src", "script-src", "img-src", "base-uri", "form-action"}
    style = page.all("style")[0]["text"]
    script = next(one["text"] for one in page.all("script") if "type" not in one["attrs"])
    for rule, part in (("style-src", style), ("script-src", script)):
        assert rules[rule] == f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'"


def test_nothing_leads_outside(page, html):
    for one in page.elements:
        assert "style" not in one["attrs"]
        assert not any(key.startswith("on") for key in one["attrs"])
        for key in ("src", "href", "action", "srcset", "poster", "data"):
            assert (one["attrs"].get(key) or "#").startswith(("#", "data:"))
    assert "@import" not in html
    assert "url(" not in html
