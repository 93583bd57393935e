"""The curves' plots: a line with a band for each curve, the numbers behind it in tables, nothing without a sweep."""

from pathlib import Path

import pytest
from report_page import Page

from srcache.study.report.data.study import Study
from srcache.study.report.sections.sweeps import plots, sentences


@pytest.fixture
def drawn(folder, results):
    return Page(str(plots(Study(results=results, root=folder))))


def test_each_curve_has_a_line_a_band_and_its_numbers(drawn):
    assert [one["text"] for one in drawn.all("h3")] == ["by-share", "by-per_class"]
    assert len(drawn.all("polygon")) == 4
    captions = [one["text"] for one in drawn.all("caption")]
    assert captions[0] == "Accuracy by share of the mixture: mean, 95 % interval, single seeds"
    assert captions[1] == "Differences in points, with 95 % intervals, for all 3 differences together (max-t)"
    words = [one["text"] for one in drawn.all("desc")]
    assert words[1].startswith(
        "mix on bicubic: 60.0 % at 4 images per class, 71.0 % at 16 images per class, 82.0 % at all"
    )
    texts = [one["text"] for one in drawn.all("text")]
    assert {"0", "50", "100", "% of SR in the mixture", "4", "16", "all", "images per class"} <= set(texts)
    notes = [one["text"] for one in drawn.all("p") if "best epoch" in one["text"]]
    assert notes == 2 * ["In 3 of 9 trainings the best epoch is the last: with more epochs the accuracies may change."]


def test_the_head_says_where_they_part_and_leads_there(folder, results):
    head = Page(str(sentences(Study(results=results, root=folder))))
    words = head.all("p")[0]["text"]
    assert "Shown to part, by 95 % intervals over 36 images and 3 seeds" in words
    assert "mix on SR − mix on bicubic, at 100 % (+10.0 points)" in words
    assert {one["attrs"]["href"] for one in head.all("a")} == {"#sweeps"}


def test_a_single_arm_stands_apart_from_the_curve_at_its_value(folder, results):
    sweep = results["sweeps"][0]
    alone = {**sweep["curves"][0], "name": "patch", "of": None, "points": [sweep["curves"][0]["points"][1]]}
    study = Study(results={"sweeps": [{**sweep, "curves": [*sweep["curves"], alone]}]}, root=folder)
    page = Page(str(plots(study)))
    marks = [one["attrs"]["transform"] for one in page.all("path")]
    assert {"translate(183.0,133.1)", "translate(191.4,133.1)"} <= set(marks), "at 50, and a little beside it"
    row = next(one for one in page.all("tr") if one["text"].startswith("50"))
    assert row["text"].count("71.0 %") == 4, "mean and middle seed of both"


def test_without_a_sweep_there_is_nothing(folder):
    for plain in ({}, {"sweeps": []}, {"sweeps": [3, {}]}, {"sweeps": [{"curves": [{"points": [{"mean": None}]}]}]}):
        study = Study(results=plain, root=Path(folder))
        assert (plots(study), sentences(study)) == (None, None)
