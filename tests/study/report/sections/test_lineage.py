"""Where everything comes from: counts with their sums, digests by path, recipes, runs, and commands as they were."""

import copy
import json

import pytest
from report_page import Page

from srcache.study.report.data.gallery import make_gallery
from srcache.study.report.data.study import Study
from srcache.study.report.sections.lineage import conventions, data, recipe, reproduce, runs, versions


@pytest.fixture
def study(small):
    out, results = small
    return Study(results=copy.deepcopy(results), root=out)


def _rows(markup):
    """The rows of a piece's tables, cell by cell."""
    found, page = [], Page(f"<div>{markup}</div>")
    for element in page.elements:
        if element["tag"] == "tr":
            found.append([])
        elif element["tag"] in ("td", "th"):
            found[-1].append(element["text"])
    return found


def _terms(markup):
    page = Page(f"<div>{markup}</div>")
    texts = {kind: [one["text"] for one in page.all(kind)] for kind in ("dt", "dd")}
    return dict(zip(texts["dt"], texts["dd"], strict=True))


def test_images_are_counted_by_class_and_split_with_their_sums(study):
    study.results["data"]["counts"] = {"train": {"a": 4, "b": 5}, "test": {"a": 1, "b": None}}
    study.results["data"]["classes"] = ["a", "b", "<c>"]
    assert _rows(data(study, make_gallery(study)))[:5] == [
        ["Class", "Train", "Validation", "Test"],
        ["a", "4", "0", "1"],
        ["b", "5", "0", "–"],
        ["<c>", "0", "0", "0"],
        ["All", "9", "0", "1"],
    ]


def test_digests_are_listed_by_their_path(study):
    found = data(study, make_gallery(study))
    assert _rows(found)[-3:] == [["hr/train", "aa" * 16], ["hr/test", "bb" * 16], ["lr/train", "cc" * 16]]
    assert "3 digests" in found


def test_the_recipe_is_there_in_full_and_those_of_other_arms_too(study):
    study.results["further"] = {"control": {"name": "bicubic", "fingerprint": "ff", "yaml": "engine: <x>\n"}, "bad": 3}
    markup = recipe(study)
    assert _terms(markup)["SR images"] == "89 of 90"
    assert _terms(markup)["Failed"] == "truncated 1"
    blocks = [one["text"] for one in Page(f"<div>{markup}</div>").all("pre")]
    assert blocks == [study.results["recipe"]["yaml"], "engine: <x>\n"]
    assert _rows(markup) == [["Arms", "Recipe", "Fingerprint"], ["control", "bicubic", "ff"]]


def test_a_cache_without_failures_says_so(study):
    study.results["cache"]["failed"] = {}
    assert _terms(recipe(study))["Failed"] == "none"
    del study.results["cache"]
    assert (
        "Not in this report: what filling the cache came to." in Page(f"<div>{recipe(study)}</div>").all("p")[0]["text"]
    )


def test_long_lists_of_failures_are_cut(study):
    study.results["failures"] = [{"source": f"n{at}", "reason": "truncated", "detail": ""} for at in range(201)]
    items = [one["text"] for one in Page(f"<div>{recipe(study)}</div>").all("li")]
    assert (items[0], items[-1], len(items)) == ("source n0, reason truncated", "… and 1 more", 201)
    assert "201 images could not be used" in recipe(study)


def test_every_trained_network_has_its_row(study):
    rows = _rows(runs(study))
    assert len(rows) == 1 + 4 * 2
    assert rows[1] == ["lr", "0", "runs/lr/0", "small CNN", "7", "00" * 8]
    study.results["arms"][0] |= {"best_epoch": [3], "weights": None}
    assert _rows(runs(study))[2] == ["lr", "1", "runs/lr/1", "small CNN", "–", "–"]


def test_conventions_name_the_test_that_decides_and_alpha(study):
    study.results["compare"]["settings"] = {"alpha": 0.01, "correction": "bonferroni", "test": "exact"}
    words = _terms(conventions(study))["Two classifiers"]
    assert "exact decides" in words
    assert "Bonferroni’s correction over all pairs; significant means p of at most 0.01" in words


def test_the_machine_may_be_a_text_or_a_mapping(study):
    assert _terms(versions(study))["Machine"] == "Linux, 2 cores, no accelerator"
    study.results["machine"] = {"system": "Linux", "cores": 2}
    assert _terms(versions(study))["Machine"] == "system Linux, cores 2"
    assert _terms(versions(study))["torch"] == "2.14.1"


def test_commands_and_configuration_are_as_they_were(study):
    commands, config = (one["text"] for one in Page(f"<div>{reproduce(study)}</div>").all("pre"))
    assert commands.splitlines() == study.results["commands"]
    assert json.loads(config) == study.results["config"]
