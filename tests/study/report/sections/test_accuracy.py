"""The arms' accuracy on the page: every seed, intervals, curves in words too, and the grid."""

import re

from report_folder import ARMS

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
    framed = [one for one in page.all("td") if "own" in (one["attrs"].get("class") or "").split()]
    assert len(framed) == len(ARMS)


def test_curves_are_described_in_words_too(page, results):
    charts = [one for one in page.all("svg") if "curves" in one["ids"] and one["attrs"].get("role") == "img"]
    assert len(charts) == 12
    last = results["arms"][0]["history"][0][-1]["val_accuracy"]
    assert f"seed 0 ends at {percent(last)} in epoch 12" in charts[0]["text"]
    assert results["arms"][0]["history"][0][0]["epoch"] == 1
    numbers = [one for one in page.all("tr") if "curves" in one["ids"]]
    assert len(numbers) == 4 * (1 + 3 * 12)
