"""The arms' accuracy on the page: every seed, intervals, curves in words too, and the grid."""

import re
from pathlib import Path

import pytest
from report_folder import ARMS
from report_page import Page

from srcache.study.report.data.study import Study
from srcache.study.report.sections.accuracy import by_arm
from srcache.study.statistics.intervals import wilson_limits
from srcache.wording import percent


def test_every_arm_and_seed_is_in_the_accuracy_table(page, results):
    words = page.by_id("accuracy")["text"]
    for arm in results["arms"]:
        for share in arm["accuracy"]:
            assert percent(share) in words
            assert percent(wilson_limits(share, 36)[0])[:-2] in words
    assert [f"Seed {seed}" for seed in (0, 1, 2)] == re.findall(r"Seed \d", words)


def test_the_diagonal_of_the_grid_is_framed(page):
    cells = [one for one in page.all("td") if "grid" in one["ids"]]
    framed = [one for one in cells if "own" in (one["attrs"].get("class") or "").split()]
    assert len(framed) == len(ARMS)


def test_curves_are_described_in_words_too(page, results):
    charts = [one for one in page.all("svg") if "curves" in one["ids"] and one["attrs"].get("role") == "img"]
    assert len(charts) == 12
    last = results["arms"][0]["history"][0][-1]["val_accuracy"]
    assert f"seed 0 ends at {percent(last)} in epoch 12" in charts[0]["text"]
    assert results["arms"][0]["history"][0][0]["epoch"] == 1
    numbers = [one for one in page.all("tr") if "curves" in one["ids"]]
    assert len(numbers) == 4 * (1 + 3 * 12)


@pytest.mark.parametrize(("images", "share"), [(36, 1.5), (36, -0.1), (0, 0.5), (-3, 0.5)])
def test_what_cannot_be_a_share_of_images_has_no_interval(small, images, share):
    _, results = small
    study = Study(
        results={"arms": [{**results["arms"][0], "accuracy": [share]}], "compare": {"images": images}}, root=Path()
    )
    words = Page(f"<div>{by_arm(study)}</div>").all("td")[0]["text"]
    assert words.startswith(percent(share))
    assert " to " not in words


def test_seeds_that_arms_do_not_share_are_numbered(small):
    _, results = small
    first, second = ({**arm, "accuracy": [0.5, 0.75]} for arm in results["arms"][:2])
    study = Study(results={"arms": [first, {**second, "seeds": [0, 9], "accuracy": [0.5]}]}, root=Path())
    cells = [one["text"] for one in Page(f"<div>{by_arm(study)}</div>").all("th")]
    assert cells[:5] == ["Arm", "Mean", "Spread", "Seed 0", "Seed no. 2"]
    spreads = [one["text"] for one in Page(f"<div>{by_arm(study)}</div>").all("td")][1::4]
    assert spreads == ["50.0 to 75.0 %", "one seed"]
