"""A report's page taken apart by the standard library's parser, and what must be true of every page."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

from srcache.study.report.data.study import Study
from srcache.study.report.page import render_page

VOID = {"br", "hr", "img", "input", "meta", "link", "col"}
SECTIONS = (
    *("compare", "accuracy", "pairs", "disputed", "grid", "confusion", "curves"),
    *("quality", "safety", "data", "recipe", "conventions", "versions", "reproduce"),
)


def render(results, folder):
    """The HTML of one experiment: `results` as in its results.json, images from `folder`."""
    return render_page([Study(results=results, root=folder)], "0.1.0")


class Page(HTMLParser):
    """A page taken apart: elements in order with attributes and text; what must be closed is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.declared = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_decl(self, decl):
        self.declared = decl

    def handle_starttag(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs), f"an attribute stands twice in {tag}"
        element = {"tag": tag, "text": "", **{"in": [one["tag"] for one in self.open]}, "attrs": dict(attrs)}
        element["ids"] = [one["attrs"].get("id") for one in self.open]
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def by_id(self, identity):
        (found,) = [element for element in self.elements if element["attrs"].get("id") == identity]
        return found


def data_of(html, identity="pictures"):
    """The viewer's data in a page."""
    (block,) = re.findall(f'<script type="application/json" id="{identity}">(.*?)</script>', html)
    return json.loads(block)


def assert_headings_are_in_order(page):
    """One h1, and no level left out on the way down."""
    levels = [int(one["tag"][1]) for one in page.elements if re.fullmatch(r"h[1-6]", one["tag"])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def assert_ids_and_references_fit(page):
    """No id twice; every label and link of the page leads to one."""
    ids = [one["attrs"]["id"] for one in page.elements if "id" in one["attrs"]]
    assert len(ids) == len(set(ids))
    for one in page.elements:
        references = [one["attrs"].get("for"), *(one["attrs"].get("aria-labelledby") or "").split()]
        href = one["attrs"].get("href") or ""
        references += [href[1:]] if href.startswith("#") else []
        assert {reference for reference in references if reference} <= set(ids)


def assert_everything_has_a_name(page):
    """Every control has a name, every image a text, every stop of the keyboard a role."""
    labelled = {one["attrs"]["for"] for one in page.all("label")}
    for one in page.all("select", "input", "textarea"):
        assert one["attrs"]["id"] in labelled
    for one in page.all("button", "a", "summary"):
        assert one["attrs"].get("aria-label") or one["text"].strip()
    for one in page.all("img"):
        assert "alt" in one["attrs"]
    for one in page.all("svg"):
        assert one["attrs"].get("aria-hidden") == "true" or one["attrs"].get("aria-labelledby")
    for one in page.elements:
        if one["attrs"].get("tabindex") == "0":
            assert one["attrs"].get("role")
            assert one["attrs"].get("aria-label")
