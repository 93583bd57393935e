"""The report: every number where it belongs, every name escaped, every gap told, and a page that anybody can read."""

import copy
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_folder import ARMS, StudySettings, make_study
from srcache_cli.main import run

from srcache.errors import ConfigError
from srcache.html.charts import ticks_between
from srcache.html.markup import json_block, tag, text
from srcache.images import decode, encode
from srcache.study.report import render, summarise, write_report
from srcache.study.report.data.labels import score
from srcache.study.report.data.pictures import REDUCTIONS, copy_images, spread
from srcache.study.report.sections.accuracy import wilson
from srcache.study.report.sections.quality import histogram
from srcache.wording import p_value, percent, points

VOID = {"br", "hr", "img", "input", "meta", "link", "col"}
SECTIONS = (
    *("accuracy", "pairs", "disputed", "compare", "grid", "confusion", "curves"),
    *("quality", "safety", "data", "recipe", "conventions", "versions", "reproduce"),
)
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    make_study(out)
    return out


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def html(folder, results):
    return render(results, folder)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


# What it says


def test_the_head_has_the_question_and_the_verdict(page, results):
    header = next(one for one in page.all("header"))
    assert results["question"] in header["text"]
    assert results["verdict"] in header["text"]
    assert f"The first seed alone{results['compare']['verdict']}" in header["text"]
    assert "Not significant after correction" in header["text"]


def test_with_one_seed_the_verdict_is_that_of_the_comparison(folder, results):
    one = {key: value for key, value in results.items() if key not in ("verdict", "seeds")}
    header = Page(render(one, folder)).all("header")[0]
    assert results["compare"]["verdict"] in header["text"]
    assert "The first seed alone" not in header["text"]


def test_significance_is_said_only_after_correction(folder, results):
    changed = copy.deepcopy(results)
    changed["compare"]["pairs"][2]["adjusted"]["mid_p"] = 0.0123
    header = Page(render(changed, folder)).all("header")[0]
    assert (
        "Significant after correction, on the first seed: 1 of 6 pairs (smallest p: LR against HR, 0.0123)"
        in header["text"]
    )
    changed["compare"]["pairs"][2]["adjusted"]["mid_p"] = 0.0501
    changed["compare"]["pairs"][2]["mid_p"] = 0.0001
    header = Page(render(changed, folder)).all("header")[0]
    assert "Not significant after correction, on the first seed: the smallest p is 0.0501" in header["text"]


def test_every_arm_and_seed_is_in_the_accuracy_table(page, results):
    words = page.by_id("accuracy")["text"]
    for arm in results["arms"]:
        for share in arm["accuracy"]:
            assert percent(share) in words
            assert percent(wilson(share, 36)[0])[:-2] in words
    assert [f"Seed {seed}" for seed in (0, 1, 2)] == re.findall(r"Seed \d", words)


def test_every_pair_has_its_counts_and_p_values(page, results):
    rows = [row for row in page.all("tr") if "pairs" in row["ids"]][1:7]
    for row, pair in zip(rows, results["compare"]["pairs"], strict=True):
        table, adjusted = pair["table"], pair["adjusted"]["mid_p"]
        values = [str(table["first_only"]), str(table["second_only"]), p_value(pair["mid_p"]), p_value(adjusted)]
        assert "".join(values) + " (not significant)" in row["text"]


def test_behind_each_count_are_exactly_its_pictures(page, results):
    for at, pair in enumerate(results["compare"]["pairs"]):
        for side, key in (("b", "names_first_only"), ("c", "names_second_only")):
            found = [one for one in page.all("a") if f"pair-{at}-{side}" in one["ids"]]
            assert [one["text"] for one in found] == pair[key]
            assert f"{side} = {len(pair[key])}:" in page.by_id(f"pair-{at}-{side}")["text"]


def test_a_disputed_picture_shows_what_is_known_of_it(page, results):
    name = results["compare"]["pairs"][0]["names_first_only"][0]
    picture = next(one for one in results["images"] if one["name"] == name)
    row = next(one for one in page.all("tr") if "pair-0-b" in one["ids"] and name in one["text"])
    assert score("psnr", picture["quality"]["sr"]["psnr"]) in row["text"]
    assert f"{picture['predictions']['lr']['label']} ✓ right" in row["text"]
    assert f"{picture['predictions']['bicubic']['label']} ✗ wrong" in row["text"]


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


def test_the_diagonal_of_the_grid_is_framed(page):
    framed = [one for one in page.all("td") if "own" in (one["attrs"].get("class") or "").split()]
    assert len(framed) == len(ARMS)


def test_curves_are_told_in_words_too(page, results):
    charts = [one for one in page.all("svg") if "curves" in one["ids"] and one["attrs"].get("role") == "img"]
    assert len(charts) == 12
    last = results["arms"][0]["history"][0][-1]["val_accuracy"]
    assert f"seed 0 ends at {percent(last)} in epoch 12" in charts[0]["text"]
    assert results["arms"][0]["history"][0][0]["epoch"] == 1
    numbers = [one for one in page.all("tr") if "curves" in one["ids"]]
    assert len(numbers) == 4 * (1 + 3 * 12)


def test_the_distribution_is_that_of_the_side_table(folder, results):
    assert "36 SR images; from 0.31" in render(results, folder)
    path = folder / results["safety"]["csv"]
    kept = path.read_text()
    try:
        path.write_text("name,safe\n" + "x" * 200_000 + ",0.1\n")
        assert "36 SR images; from 0.31" in render(results, folder)
        path.write_text("name,safe\nx,0.1\ny,\nz,nan\nw,word\nv,0.3\n")
        assert "2 SR images; from 0.10 to 0.30" in render(results, folder)
    finally:
        path.write_text(kept)


# What comes from outside


def _data(html, identity="pictures"):
    (block,) = re.findall(f'<script type="application/json" id="{identity}">(.*?)</script>', html)
    return json.loads(block)


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
    assert [one["name"] for one in _data(html)["pictures"]] == [row["name"] for row in results["images"]]
    options = {one["text"] for one in page.all("option")}
    assert set(HOSTILE[:4]) <= options


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


def test_writing_directions_of_names_do_not_mix(tmp_path):
    results = make_study(tmp_path, StudySettings(count=6, size=16, names=("שלום",)))
    cells = [one for one in Page(render(results, tmp_path)).all("bdi") if one["text"] == "שלום"]
    assert cells


def test_files_outside_the_folder_are_not_embedded(tmp_path):
    secret = encode(np.full((5, 7, 3), 200, np.uint8), "png")
    (tmp_path / "secret.png").write_bytes(secret)
    results = make_study(tmp_path / "out", StudySettings(count=3, size=16))
    results["images"][0]["sr"] = "../secret.png"
    results["images"][1]["sr"] = str(tmp_path / "secret.png")
    results["images"][2]["sr"] = "gone\0.png"
    html = render(results, tmp_path / "out")
    assert b64encode(secret).decode() not in html
    assert "3 files could not be shown" in html


def test_broken_pictures_are_listed(tmp_path):
    results = make_study(tmp_path, StudySettings(count=4, size=16))
    (tmp_path / results["images"][1]["sr"]).write_bytes(b"no picture")
    (tmp_path / results["images"][2]["hr"]).unlink()
    words = Page(render(results, tmp_path)).by_id("compare")["text"]
    assert "2 files could not be shown" in words
    assert f"{results['images'][1]['sr']} (unreadable)" in words
    assert f"{results['images'][2]['hr']} (no such file in the folder)" in words


# What is missing

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
def test_a_missing_part_is_told_where_it_would_stand(part, folder, results):
    less = {key: value for key, value in results.items() if key != part}
    page = Page(render(less, folder))
    for section in _MISSING[part]:
        assert "Not in this report:" in page.by_id(section)["text"], section
    rest = set(SECTIONS) - set(_MISSING[part]) - {"accuracy"}
    told = {section for section in rest if "Not in this report:" in page.by_id(section)["text"]}
    assert told <= {"safety", "disputed"}


def test_the_whole_report_has_no_gap(html):
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


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("small")
    results = make_study(out, StudySettings(count=3, size=8, seeds=(0, 1)))
    return out, results, sorted(set(_paths(results)) - {()}, key=str)


@settings(max_examples=30)
@given(data=st.data())
def test_no_damage_to_the_results_breaks_the_page(small, data):
    out, results, paths = small
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


# What everybody can read


def test_headings_are_in_order(page):
    levels = [int(one["tag"][1]) for one in page.elements if re.fullmatch(r"h[1-6]", one["tag"])]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_landmarks_language_and_title(page):
    assert page.declared.lower() == "doctype html"
    assert page.all("html")[0]["attrs"]["lang"] == "en"
    assert [len(page.all(one)) for one in ("main", "nav", "footer", "h1", "article")] == [1] * 5
    assert page.all("title")[0]["text"] == "textures · srcache report"
    assert [one["attrs"]["id"] for one in page.all("section")] == list(SECTIONS)


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = [one["attrs"]["id"] for one in page.elements if "id" in one["attrs"]]
    assert len(ids) == len(set(ids))
    for one in page.elements:
        references = [one["attrs"].get("for"), *(one["attrs"].get("aria-labelledby") or "").split()]
        href = one["attrs"].get("href") or ""
        references += [href[1:]] if href.startswith("#") else []
        assert {reference for reference in references if reference} <= set(ids)


def test_every_control_has_a_name_and_every_picture_a_text(page):
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


def test_tables_have_captions_and_headers(page):
    for one in page.all("table"):
        assert one["text"].strip()
    assert len(page.all("caption")) == len(page.all("table")) > 10
    assert all(one["attrs"].get("scope") in ("row", "col") for one in page.all("th"))


def _style(html):
    return re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)


def _variables(css, dark):
    light_block = re.search(r":root \{(.*?)\}", css, re.DOTALL).group(1)
    dark_block = re.search(r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", css, re.DOTALL).group(1)
    found = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", light_block))
    return {**found, **(dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", dark_block)) if dark else {})}


def _luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """The ratio of WCAG 2."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_ink_is_readable_on_every_ground(html, dark):
    colours = _variables(_style(html), dark)
    heats = [key for key in colours if key.startswith("heat")]
    lines = [key for key in colours if key.startswith("line")]
    assert len(heats) == 8
    assert len(lines) == 6
    low = {}
    for ink in ("ink", "soft", "link", "good", "bad"):
        grounds = ["paper", "panel"] + (heats if ink == "ink" else [])
        low |= {(ink, ground): contrast(colours[ink], colours[ground]) for ground in grounds}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
    marks = {
        (mark, ground): contrast(colours[mark], colours[ground])
        for mark in (*lines, "edge", "focus")
        for ground in ("paper", "panel")
    }
    assert {pair: ratio for pair, ratio in marks.items() if ratio < 3} == {}


def test_dark_redefines_every_colour(html):
    assert set(_variables(_style(html), False)) == set(_variables(_style(html), True))
    light, dark = (_variables(_style(html), which) for which in (False, True))
    assert [key for key in light if light[key] == dark[key]] == []


def test_shades_grow_evenly(html):
    for dark, sign in ((False, -1), (True, 1)):
        colours = _variables(_style(html), dark)
        steps = np.diff([_luminance(colours[f"heat{at}"]) for at in range(8)])
        assert (sign * steps > 0).all()


# What it may load


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


# Pictures


def test_small_pictures_keep_their_pixels(folder, results, html):
    data = _data(html)
    for row, shown in zip(results["images"], data["pictures"], strict=True):
        for kind in ("lr", "bicubic", "sr", "hr"):
            head, _, body = shown["images"][kind]["src"].partition(",")
            assert head == "data:image/png;base64"
            assert (decode(b64decode(body)) == decode((folder / row[kind]).read_bytes())).all()


def _noise(folder, count, size):
    dice = np.random.default_rng(1)
    paths = []
    for at in range(count):
        paths.append(folder / f"{at}.png")
        paths[-1].write_bytes(encode(dice.integers(0, 256, (size, size, 3), dtype=np.uint8), "png"))
    return paths


def test_the_budget_is_kept_with_the_best_copies_that_fit(tmp_path):
    paths = _noise(tmp_path, 12, 128)
    sizes = []
    for budget in (10_000_000, 200_000, 60_000, 30_000, 18_000):
        album = copy_images(paths, budget)
        assert album.bytes <= budget
        assert set(album.copies) == set(paths)
        sizes.append(REDUCTIONS.index(album.rung))
    assert sizes == sorted(sizes)
    assert sizes[0] == 0
    assert sizes[-1] > 3
    assert copy_images(paths, 1).rung == REDUCTIONS[-1]


def test_a_sample_that_misleads_is_noticed(tmp_path):
    paths = []
    for at in range(60):
        paths.append(tmp_path / f"{at:02}.png")
        easy = at % 5 in (0, 2)  # those that the sample of 24 takes
        size = 8 if easy else 64
        pixels = np.random.default_rng(at).integers(0, 256, (size, size, 3), dtype=np.uint8)
        paths[-1].write_bytes(encode(pixels, "png"))
    assert {int(path.stem) % 5 for path in spread(paths, 24)} == {0, 2}
    album = copy_images(paths, 100_000)
    assert album.bytes <= 100_000
    assert len(album.copies) == 60


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """500 pictures that hardly compress."""
    out = tmp_path_factory.mktemp("large")
    results = make_study(out, StudySettings(count=500, size=8))
    paths = _noise(out, 25, 64)
    for at, row in enumerate(results["images"]):
        for kind in ("lr", "bicubic", "sr", "hr"):
            path = out / row[kind]
            path.unlink()
            path.hardlink_to(paths[at % 25])
    return out, results


def test_500_pictures_stay_below_15_megabytes(large):
    out, _ = large
    summary = summarise(out, out / "report.html")
    data = _data(summary.path.read_text(encoding="utf-8"))
    assert len(data["pictures"]) == 500
    assert all(len(one["images"]) == 4 for one in data["pictures"])
    assert 5_000_000 < summary.bytes < 15_000_000


def test_long_lists_are_cut_and_say_so(small):
    out, results, _ = small
    many = copy.deepcopy(results)
    names = [f"n{at}" for at in range(400)]
    many["compare"]["pairs"][0] |= {"names_first_only": names, "table": {"first_only": 400, "second_only": 0}}
    many["safety"]["filters"][0]["removed_names"] = names * 2
    page = Page(render(many, out))
    assert "n249" in page.by_id("pair-0-b")["text"]
    assert "n250" not in page.by_id("pair-0-b")["text"]
    assert "b = 400:" in page.by_id("pair-0-b")["text"]
    assert "… and 150 pictures more; compare.json has all." in page.by_id("pair-0-b")["text"]
    assert "… and 300 more" in page.by_id("safety")["text"]


def test_of_more_pictures_those_in_dispute_come_first(small):
    from srcache.study.report.data.gallery import gallery
    from srcache.study.report.data.study import Study

    out, results, _ = small
    many = copy.deepcopy(results)
    many["images"] = [{**results["images"][0], "name": f"n{at}"} for at in range(90)]
    many["compare"]["pairs"] = [
        {**results["compare"]["pairs"][0], "names_first_only": ["n7", "n88"], "names_second_only": []}
    ]
    shown = gallery(Study(results=many, root=out), 10)
    assert len(shown.rows) == 10
    assert {"n7", "n88"} <= set(shown.places)
    assert [row["name"] for row in shown.rows] == sorted(shown.places, key=lambda name: int(name[1:]))
    assert len(shown.every) == 90


# Words and charts


def test_scores_have_the_digits_of_papers():
    assert score("psnr", 30.126) == "30.13 dB"
    assert score("ssim", 0.91234) == "0.9123"
    assert score("psnr", float("inf")) == "∞"


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (29, 50), (273, 331), (1, 1)])
def test_wilson_is_that_of_statsmodels(right, count):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    low, high = proportion.proportion_confint(right, count, method="wilson")
    assert wilson(right / count, count) == pytest.approx((low, high), abs=1e-12)


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e6), st.integers(2, 8))
def test_ticks_are_round_few_and_inside(low, span, about):
    high = low + span
    ticks = ticks_between(low, high, about)
    assert len(ticks) <= 2 * about + 2
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    assert ticks == sorted(ticks)


@given(st.lists(st.floats(0, 1)), st.integers(1, 40))
def test_a_histogram_loses_nothing(values, steps):
    counts = histogram(values, steps)
    assert len(counts) == steps
    assert sum(counts) == len(values)


# Files and several studies


def test_write_report_writes_beside_the_results(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    assert write_report(folder, folder / "deep/er/page.html").read_bytes() == path.read_bytes()


def test_several_studies_share_a_page(folder, tmp_path):
    make_study(tmp_path / "b", StudySettings(count=6, size=16, classes=("x", "y")))
    summary = summarise([folder, tmp_path / "b"], tmp_path / "both.html")
    html = summary.path.read_text(encoding="utf-8")
    page = Page(html)
    test_headings_are_in_order(page)
    test_ids_are_unique_and_references_lead_somewhere(page)
    test_every_control_has_a_name_and_every_picture_a_text(page)
    assert len(page.all("article")) == len(summary.studies) == 2
    assert [len(_data(html, f"s{at}-pictures")["pictures"]) for at in (1, 2)] == [36, 6]


def test_what_is_no_experiment_is_told(folder, tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        write_report(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"holds no results\.json.*srcache experiment CONFIG"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": "srcache.quickstart/1"}')
    with pytest.raises(ConfigError, match=r"schema 'srcache\.experiment/1', but has 'srcache\.quickstart/1'"):
        write_report(tmp_path)
    for text_ in ("[1]", "{", "\xff", "[" * 100_000):
        (tmp_path / "results.json").write_bytes(text_.encode("latin-1"))
        with pytest.raises(ConfigError, match=r"results\.json"):
            write_report(tmp_path)
    with pytest.raises(ConfigError, match="say where: --out FILE"):
        write_report([folder, folder])
    with pytest.raises(ConfigError, match="is a folder; --out must name a file"):
        write_report(folder, tmp_path)
    with pytest.raises(ConfigError, match="but got none"):
        write_report([])


# The command


def test_the_command_writes_and_tells(folder, tmp_path, capfd):
    assert run(["report", str(folder), "--out", str(tmp_path / "r.html"), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["schema"] == "srcache.report/1"
    assert said["ok"] is True
    assert set(said["result"]) == {"path", "bytes", "studies"}
    assert said["result"]["bytes"] == (tmp_path / "r.html").stat().st_size
    assert [set(one) for one in said["result"]["studies"]] == [{"title", "complete", "verdict"}]


def test_the_command_says_that_a_study_is_incomplete(folder, results, tmp_path, capfd):
    less = {key: results[key] for key in ("schema", "name", "arms")}
    (tmp_path / "results.json").write_text(json.dumps(less))
    assert run(["report", str(tmp_path)]) == 0
    said = capfd.readouterr()
    assert "textures: no verdict" in said.out
    assert "incomplete" in said.err
    assert "incomplete" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_command_ends_with_2_where_there_is_no_study(tmp_path, capfd):
    assert run(["report", str(tmp_path)]) == 2
    assert "holds no results.json" in capfd.readouterr().err
    assert run(["report"]) == 2


# As the other rooms write it


def test_a_real_comparison_is_read(folder, results):
    pytest.importorskip("sklearn")
    pytest.importorskip("statsmodels")
    from srcache.study.compare.predictions import PredictionRow, Predictions
    from srcache.study.compare.seeds import compare_seeds, join_seeds

    dice = np.random.default_rng(3)
    names = [row["name"] for row in results["images"]]
    labels = [row["label"] for row in results["images"]]
    classes = tuple(results["data"]["classes"])

    def said(skill):
        rows = [
            PredictionRow(name, "", label, label if dice.random() < skill else classes[0])
            for name, label in zip(names, labels, strict=True)
        ]
        return Predictions(classes=classes, rows=tuple(rows))

    arms = {"lr": [said(0.5), said(0.5)], "sr": [said(0.6), said(0.7)], "hr": [said(0.97), said(0.99)]}
    seeds = compare_seeds(join_seeds(arms))
    first = seeds.comparisons[0]
    real = {
        **results,
        "verdict": seeds.verdict,
        "compare": json.loads(json.dumps(first.plain())),
        "seeds": json.loads(json.dumps(seeds.plain())),
    }
    page = Page(render(real, folder))
    assert first.verdict in page.all("header")[0]["text"]
    assert seeds.verdict in page.all("header")[0]["text"]
    for at, pair in enumerate(first.pairs):
        row = [one for one in page.all("tr") if "pairs" in one["ids"]][1 + at]
        words = " (significant)" if pair.significant else " (not significant)"
        counts = f"{pair.table.first_only}{pair.table.second_only}"
        difference = points(pair.newcombe.value)
        assert f"{counts}{p_value(pair.tests.mid_p)}{p_value(pair.adjusted.mid_p)}{words}{difference}" in row["text"]
        assert page.by_id(f"pair-{at}-c")["text"].startswith(f"c = {pair.table.second_only}:")
    text_ = page.by_id("pairs")["text"]
    assert f"Q = {first.cochran.statistic:.2f}, df = 2, p " in text_
    for seed_pair in seeds.pairs:
        found = seed_pair.simultaneous
        assert f"{points(found.low)} to {points(found.high)}" in text_
    assert (
        f"macro precision {first.classifiers[0].macro.precision:.3f}".lower() in page.by_id("confusion")["text"].lower()
    )


def test_a_real_measurement_of_quality_is_read(folder, results):
    pytest.importorskip("skimage")
    from srcache.study.quality.measure import measure_folders
    from srcache.study.quality.psnr_ssim import Convention

    report = measure_folders(folder / "pictures/hr", folder / "pictures/sr", ("psnr", "ssim"), Convention())
    plain = json.loads(json.dumps(report.plain()))
    page = Page(render({**results, "quality": {"sr": plain}}, folder))
    psnr = plain["metrics"]["psnr"]
    words = page.by_id("quality")["text"]
    assert score("psnr", psnr["mean"]) in words
    assert " to ".join(score("psnr", end) for end in psnr["interval"]) in words
    assert psnr["worst"][0]["name"] in words
    assert "scikit-image" in page.by_id("conventions")["text"]
