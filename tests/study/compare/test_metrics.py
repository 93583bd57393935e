"""Scores of one classifier: those of scikit-learn, and a reason where one is not defined."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_predictions import answers

from srcache.errors import ConfigError, MissingExtraError
from srcache.study.compare.metrics import calibration, score_classifier
from srcache.study.compare.pairwise import compare
from srcache.study.compare.predictions import PredictionRow, Predictions, join

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")


@st.composite
def _scored(draw):
    classes = tuple("abcd"[: draw(st.integers(2, 4))])
    count = draw(st.integers(1, 25))
    names = st.lists(st.sampled_from(classes), min_size=count, max_size=count)
    return classes, draw(names), draw(names), draw(st.integers(0, 999))


def _predictions(classes, truth, chosen, seed=None):
    shares = [None] * len(truth)
    if seed is not None:
        numbers = np.random.default_rng(seed).dirichlet(np.ones(len(classes)), len(truth))
        shares = [tuple(row) for row in numbers.tolist()]
    rows = (
        PredictionRow(f"n{place:04d}", "", *both, share)
        for place, (*both, share) in enumerate(zip(truth, chosen, shares, strict=True))
    )
    return Predictions(classes, tuple(rows))


@pytest.mark.medium
@pytest.mark.filterwarnings("default")  # scikit-learn's own, about what is undefined
@given(case=_scored())
def test_scores_are_scikit_learns(case):
    from sklearn import metrics

    classes, truth, chosen, seed = case
    predictions = _predictions(classes, truth, chosen, seed)
    found = score_classifier("A", predictions, classes)
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(truth, chosen))
    assert found.confusion == tuple(map(tuple, metrics.confusion_matrix(truth, chosen, labels=classes).tolist()))
    report = metrics.classification_report(truth, chosen, output_dict=True, zero_division=0)
    macro = report["macro avg"]
    assert (found.macro.precision, found.macro.recall, found.macro.f1) == pytest.approx(
        (macro["precision"], macro["recall"], macro["f1-score"])
    )
    for one in found.per_class:
        if one.reason is None:
            mine, theirs = (one.precision, one.recall, one.f1), report[one.name]
            assert mine == pytest.approx((theirs["precision"], theirs["recall"], theirs["f1-score"]))
        assert (one.precision is None, one.recall is None) == (one.name not in chosen, one.name not in truth)
        assert (one.reason is None) == (one.name in chosen and one.name in truth)
    if set(truth) == set(classes):
        numbers = np.array([row.probabilities for row in predictions.rows])
        numbers /= numbers.sum(axis=1, keepdims=True)
        area = (
            metrics.roc_auc_score(truth, numbers[:, 1])
            if len(classes) == 2
            else metrics.roc_auc_score(truth, numbers, multi_class="ovr", labels=classes)
        )
        assert found.roc_auc.value == pytest.approx(area)
    else:
        assert found.roc_auc.value is None
        assert found.roc_auc.reason.startswith("no image is ")
    assert all(not math.isnan(number) for number in (found.macro.precision, found.macro.recall, found.macro.f1))


@pytest.mark.medium
@given(case=_scored())
def test_calibration_is_scikit_learns_curve(case):
    from sklearn.calibration import calibration_curve

    predictions = _predictions(*case)
    confidence = [row.probabilities[predictions.classes.index(row.prediction)] for row in predictions.rows]
    right = [row.right for row in predictions.rows]
    found = calibration(predictions, 10)
    if len(set(right)) == 2:
        truth, mean = calibration_curve(right, confidence, n_bins=10)
        assert [point.accuracy for point in found.points] == pytest.approx(truth.tolist())
        assert [point.confidence for point in found.points] == pytest.approx(mean.tolist())
    assert sum(point.images for point in found.points) == len(right)
    assert all(point.low - 1e-12 <= point.confidence <= point.high + 1e-12 for point in found.points)
    gap = sum(point.images * abs(point.accuracy - point.confidence) for point in found.points) / len(right)
    assert found.ece == pytest.approx(gap)
    assert 0 <= found.ece <= 1


def test_the_calibration_error_of_a_known_case():
    rows = [("a", "a", (0.9, 0.1)), ("b", "a", (0.9, 0.1)), ("a", "a", (1.0, 0.0)), ("b", "b", (0.4, 0.6))]
    predictions = Predictions(("a", "b"), tuple(PredictionRow(f"n{place}", "", *row) for place, row in enumerate(rows)))
    found = calibration(predictions, 5)
    assert [(point.low, point.images, point.accuracy) for point in found.points] == [
        (pytest.approx(0.4), 1, 1.0),
        (pytest.approx(0.8), 3, pytest.approx(2 / 3)),
    ]
    assert found.ece == pytest.approx((1 * 0.4 + 3 * abs(2 / 3 - 2.8 / 3)) / 4)


def test_a_bin_holds_its_upper_end():
    row = PredictionRow("x", "", "a", "a", (0.5, 0.5))
    (point,) = calibration(Predictions(("a", "b"), (row,)), 2).points
    assert (point.low, point.high) == (0, 0.5)


def test_what_has_no_probabilities_has_neither_auc_nor_calibration():
    found = score_classifier("A", answers([1, 0, 1]), ("a", "b"))
    assert (found.roc_auc.value, found.calibration.ece, found.calibration.points) == (None, None, ())
    assert found.roc_auc.reason == found.calibration.reason == "3 of 3 rows have no probabilities"


def test_a_set_of_one_class_is_scored_with_reasons():
    predictions = _predictions(("a", "b"), ["a", "a"], ["a", "b"], 0)
    found = score_classifier("A", predictions, ("a", "b"))
    assert found.accuracy.value == 0.5
    assert found.roc_auc.reason == "no image is b, so that there is nothing to tell apart"
    assert found.per_class[1].reason == "no image is of this class, so that it has no recall"
    assert found.macro.note == "recall counts as 0 for what no image is (b)"
    alone = score_classifier("A", _predictions(("a",), ["a"], ["a"], 0), ("a",))
    assert alone.roc_auc.reason == "there is only one class"


def test_what_is_counted_as_zero_or_left_out_is_noted():
    found = score_classifier("A", _predictions(("a", "b", "c"), ["a", "b"], ["a", "a"], 0), ("a", "b", "c", "d"))
    assert found.macro.note == (
        "precision counts as 0 for what was never predicted (b); "
        "left out: c, d, which no image is and nothing was taken for"
    )
    assert found.macro.precision == 0.25
    assert [one.reason for one in found.per_class[1:3]] == [
        "never predicted, so that it has no precision",
        "no image is of this class, and nothing was taken for it",
    ]
    assert found.roc_auc.reason == "there are no probabilities for d"


def test_rows_without_labels_are_refused_by_name():
    predictions = Predictions(("a",), (PredictionRow("x", "", "a", "a"), PredictionRow("y", "", None, "a")))
    with pytest.raises(ConfigError, match=r"1 of 2 have no label: y"):
        compare(join({"A": predictions}))
    with pytest.raises(ConfigError, match="no predictions to score"):
        score_classifier("A", Predictions(("a",), ()), ("a",))


def test_without_scikit_learn_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[eval\]'"):
        score_classifier("A", answers([1]), ("a", "b"))
