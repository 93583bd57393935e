"""Tests on the page: counts and p-values of every pair, and the word significant only after correction."""

import copy
import json

import numpy as np
import pytest
from report_page import Page, render

from srcache.wording import p_value, points


def test_significance_is_said_only_after_correction(small):
    folder, results = small
    changed = copy.deepcopy(results)
    changed["compare"]["pairs"][2]["adjusted"]["mid_p"] = 0.0123
    header = Page(render(changed, folder)).all("header")[0]
    assert "Significant after correction, seed 0: 1 of 6 pairs (smallest p: HR against LR, 0.0123)" in header["text"]
    changed["compare"]["pairs"][2]["adjusted"]["mid_p"] = 0.0501
    changed["compare"]["pairs"][2]["mid_p"] = 0.0001
    header = Page(render(changed, folder)).all("header")[0]
    assert "Not significant after correction, seed 0: the smallest p is 0.0501" in header["text"]


def test_a_p_value_near_alpha_has_the_digits_that_show_its_side(small):
    folder, results = small
    changed = copy.deepcopy(results)
    changed["compare"]["pairs"][0]["adjusted"]["mid_p"] = 0.050004
    changed["compare"]["cochran_q"]["p"] = 0.000001
    words = Page(render(changed, folder)).by_id("pairs")["text"]
    assert "0.05000400 (not significant)" in words
    assert "p < 0.0001." in words


def test_every_pair_has_its_counts_and_p_values(page, results):
    rows = [row for row in page.all("tr") if "pairs" in row["ids"]][8:14]  # behind those of all seeds
    for row, pair in zip(rows, results["compare"]["pairs"], strict=True):
        table, adjusted = pair["table"], pair["adjusted"]["mid_p"]
        values = [str(table["second_only"]), str(table["first_only"]), p_value(pair["mid_p"]), p_value(adjusted)]
        assert "".join(values) + " (not significant)" in row["text"]


@pytest.mark.medium
def test_a_real_comparison_is_read(folder, results):
    pytest.importorskip("sklearn")
    pytest.importorskip("statsmodels")
    from srcache.study.compare.pairwise import CompareSettings
    from srcache.study.compare.predictions import PredictionRow, Predictions
    from srcache.study.compare.seeds import compare_seeds, join_seeds

    rng = np.random.default_rng(3)
    names = [row["name"] for row in results["images"]]
    labels = [row["label"] for row in results["images"]]
    classes = tuple(results["data"]["classes"])

    def said(skill):
        rows = [
            PredictionRow(name, "", label, label if rng.random() < skill else classes[0])
            for name, label in zip(names, labels, strict=True)
        ]
        return Predictions(classes=classes, rows=tuple(rows))

    arms = {"lr": [said(0.5), said(0.5)], "sr": [said(0.6), said(0.7)], "hr": [said(0.97), said(0.99)]}
    seeds = compare_seeds(join_seeds(arms), CompareSettings(draws=1000))
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
        row = [one for one in page.all("tr") if "pairs" in one["ids"]][len(first.pairs) + 2 + at]
        words = " (significant)" if pair.significant else " (not significant)"
        counts = f"{pair.table.second_only}{pair.table.first_only}"
        difference = points(-pair.newcombe.value)
        assert difference in row["text"]
        assert f"{counts}{p_value(pair.tests.mid_p)}{p_value(pair.adjusted.mid_p)}{words}" in row["text"]
        assert page.by_id(f"pair-{at}-b")["text"].startswith(f"b = {pair.table.second_only}:")
    text_ = page.by_id("pairs")["text"]
    assert f"Q = {first.cochran.statistic:.2f}, df = 2, p " in text_
    for seed_pair in seeds.pairs:
        found = seed_pair.simultaneous
        assert f"{points(-found.high)} to {points(-found.low)}" in text_
    assert (
        f"macro precision {first.classifiers[0].macro.precision:.3f}".lower() in page.by_id("confusion")["text"].lower()
    )
