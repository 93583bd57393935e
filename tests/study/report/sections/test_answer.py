"""What stands first on the page: the answer, the plot of all pairs with its numbers, and what to beware of."""

import copy

import pytest
from report_page import Page, render

from srcache.study.report.data.study import Study
from srcache.study.report.sections.answer import all_pairs, cautions
from srcache.wording import points, points_range


def _cautions(study):
    found = cautions(study)
    return [] if found is None else [one["text"] for one in Page(found).all("li")]


@pytest.fixture
def study(small):
    folder, results = small
    return Study(results=copy.deepcopy(results), root=folder)


def test_the_answer_stands_before_everything_else(page):
    (head,) = page.all("header")
    verdict = next(one for one in page.all("p") if one["attrs"].get("class") == "verdict")
    assert verdict["text"].startswith("SR and bicubic are not shown to differ: ")
    assert "SR minus bicubic: plus means that SR is right more often" in head["text"]


def test_every_pair_is_drawn_and_written_with_the_interval_for_all_pairs(folder, results):
    study = Study(results=results, root=folder)
    page = Page(f"<div>{all_pairs(study)}</div>")
    (drawing,) = page.all("svg")
    rows = [one["text"] for one in page.all("tr")][1:]
    assert len(rows) == len([one for one in page.all("rect") if "svg" in one["in"]]) == 6
    assert rows[0].startswith("SR − Bicubic")
    for stored in study.results["seeds"]["pairs"]:
        wide = stored["simultaneous"]
        numbers = points(-wide["value"]), points_range(-wide["high"], -wide["low"])
        assert any("".join(numbers) in row for row in rows)
        assert f"{numbers[0]} points, {numbers[1]}" in drawing["text"]


def test_a_difference_that_is_shown_is_filled(folder, results):
    study = Study(results=copy.deepcopy(results), root=folder)
    study.results["seeds"]["pairs"][0]["simultaneous"] = {"value": -0.2, "low": -0.3, "high": -0.1}
    page = Page(f"<div>{all_pairs(study)}</div>")
    assert [one["attrs"]["class"] for one in page.all("rect")].count("effect shown") == 1
    assert "shown to differ" in [one["text"] for one in page.all("tr")][2]


def test_a_training_whose_best_epoch_is_the_last_is_warned_of(study):
    study.results["data"]["counts"]["test"] = {"a": 20}
    assert _cautions(study) == []
    study.results["arms"][0]["best_epoch"] = [2, 1]
    assert _cautions(study)[0].startswith("In 1 of 8 trainings (LR) the best epoch is epoch 2, the last:")
    study.results["arms"][0]["monitor"] = "last"
    assert _cautions(study) == []


def test_an_arm_that_gives_one_answer_to_all_is_warned_of(study):
    study.results["data"]["counts"]["test"] = {"a": 20}
    one = study.results["compare"]["classifiers"][1]
    one["confusion"] = [[0, sum(line), 0] for line in one["confusion"]]
    (found,) = _cautions(study)
    assert found.startswith("bicubic gives every test image the same answer (seed 0), and may have learned nothing.")


def test_small_classes_and_near_duplicates_are_warned_of(study):
    study.results["arms"] = []
    study.results["data"]["counts"]["test"] = {"a": 19, "b": 20, "c": 1}
    study.results["data"]["near_duplicates"] = {"distance": 4, "count": 1, "pairs": []}
    small, near = _cautions(study)
    assert small == "2 classes with fewer than 20 test images: a (19) and c (1). Data"
    assert near.startswith("1 test image all but equal to a training image")


def test_without_a_comparison_there_is_no_plot(study):
    assert all_pairs(Study(results={"arms": study.results["arms"]}, root=study.root)) is None


def test_near_duplicates_link_to_the_viewer(small):
    folder, results = small
    found = copy.deepcopy(results)
    name = results["images"][1]["name"]
    pairs = [{"test": name, "train": "brick/x", "distance": 2}, {"test": "gone", "train": "y", "distance": 0}]
    found["data"]["near_duplicates"] = {"distance": 4, "count": 2, "pairs": pairs}
    page = Page(render(found, folder))
    (link,) = [one for one in page.all("a") if "data" in one["ids"] and "data-picture" in one["attrs"]]
    assert (link["text"], link["attrs"]["data-picture"]) == (name, "1")
    assert "#near-duplicates" in [one["attrs"].get("href") for one in page.all("a")]
