"""Comparisons: scores as scikit-learn has them, the golden case, verdicts that claim no more than the tests do."""

import csv
import gc
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srcache.errors import CatalogError, ConfigError, MissingExtraError
from srcache.study.compare.confusion_plot import draw_confusion
from srcache.study.compare.metrics import calibration, score_classifier
from srcache.study.compare.output import plain, write_comparison
from srcache.study.compare.pairwise import CompareSettings, compare
from srcache.study.compare.predictions import PredictionRow, Predictions, join
from srcache.study.compare.seeds import compare_seeds, join_seeds
from srcache.study.compare.verdict import Contest, verdict
from srcache.study.statistics.paired import Table

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

GOLDEN = {(1, 1, 1): 229, (1, 1, 0): 8, (1, 0, 1): 15, (0, 1, 1): 16, (1, 0, 0): 14, (0, 1, 0): 5, (0, 0, 1): 13}
GOLDEN[0, 0, 0] = 331 - sum(GOLDEN.values())
"""Who of LR, HR and SR is right, and on how many of 331 images: LR-HR 29/21, LR-SR 22/29, HR-SR 13/28."""


@pytest.fixture(autouse=True, scope="module")
def _no_collections():
    """statsmodels' `multipletests` collects garbage at each call, which takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield


def _answers(right, classes=("a", "b")):
    """Predictions of two classes, right where told; labels take turns."""
    rows = []
    for place, hit in enumerate(right):
        label, other = classes if place % 2 else classes[::-1]
        rows.append(PredictionRow(f"n{place:04d}", "", label, label if hit else other))
    return Predictions(classes, tuple(rows))


def _golden():
    patterns = [pattern for pattern, count in GOLDEN.items() for _ in range(count)]
    return {name: _answers([pattern[who] for pattern in patterns]) for who, name in enumerate(("LR", "HR", "SR"))}


def _pair_of(b, c, both=3, neither=2):
    first = [1] * both + [1] * b + [0] * c + [0] * neither
    second = [1] * both + [0] * b + [1] * c + [0] * neither
    return {"A": _answers(first), "B": _answers(second)}


def _compare(many, **words):
    return compare(join(many), CompareSettings(**words))


@pytest.fixture(scope="module")
def golden():
    return _compare(_golden())


# The golden case


def test_the_golden_case_from_predictions(golden):
    expected = {
        ("LR", "HR"): (29, 21, 0.3222363203575469, 0.26244),
        ("LR", "SR"): (22, 29, 0.4010619910279374, 0.33175),
        ("HR", "SR"): (13, 28, 0.027533155829587486, 0.01952),
    }
    assert {(pair.first, pair.second) for pair in golden.pairs} == set(expected)
    for pair in golden.pairs:
        b, c, exact, mid_p = expected[pair.first, pair.second]
        assert (pair.table.first_only, pair.table.second_only, pair.table.images) == (b, c, 331)
        assert (len(pair.names_first_only), len(pair.names_second_only)) == (b, c)
        assert pair.tests.exact == pytest.approx(exact, rel=1e-12)
        assert pair.tests.mid_p == pytest.approx(mid_p, abs=5e-6)
        assert not pair.significant
    assert golden.pairs[2].adjusted.exact == pytest.approx(0.0826, abs=5e-5)
    assert golden.pairs[2].adjusted.mid_p == pytest.approx(0.0586, abs=5e-5)
    assert (golden.cochran.statistic, golden.cochran.p) == pytest.approx((4.7606, 0.0925), abs=5e-5)
    assert [one.right for one in golden.classifiers] == [266, 258, 273]


def test_the_golden_verdict_is_honest(golden):
    assert golden.verdict == (
        "No difference among LR, HR and SR is significant at 0.05 after Holm's correction for 3 pairs "
        "(Cochran's Q 4.76, p 0.0925); the nearest is SR against HR, where SR alone is right on 28 of 331 images and "
        "HR alone on 13 (mid-p 0.0195, after Holm 0.0586)."
    )
    assert golden.pairs[2].verdict == (
        "The difference between HR and SR is not significant at 0.05: SR alone is right on 28 of 331 images and HR "
        "alone on 13 (mid-p 0.0195, after Holm 0.0586)."
    )


def test_without_correction_the_golden_verdict_says_so():
    found = _compare(_golden(), correction="none")
    assert found.pairs[2].significant
    assert found.verdict.startswith("1 of 3 pairs differs significantly at 0.05 without correction for 3 pairs")
    why = "SR alone is right on 28 of 331 images and HR alone on 13; mid-p 0.0195"
    assert found.verdict.endswith(f": SR is right more often than HR ({why}).")


def test_the_test_that_decides_can_be_the_exact_one():
    found = _compare(_golden(), test="exact", correction="bonferroni", alpha=0.1)
    assert found.pairs[2].significant
    assert "(SR alone is right on 28 of 331 images and HR alone on 13; exact p 0.0275, after Bonferroni 0.0826)" in (
        found.verdict
    )
    assert found.classifiers[0].accuracy.level == 0.9


def test_images_of_b_and_c_are_named(golden):
    right = {name: {row.name for row in one.rows if row.right} for name, one in _golden().items()}
    pair = golden.pairs[0]
    assert set(pair.names_first_only) == right["LR"] - right["HR"]
    assert set(pair.names_second_only) == right["HR"] - right["LR"]


# Verdicts

VERDICTS = {
    (4, 4): "The difference between A and B is not significant at 0.05: A alone is right on 4 of 13 images and B "
    "alone on 4 (mid-p 1.0000).",
    (0, 0): "A and B are right on the same 3 of 5 images: there is nothing to test.",
    (9, 1): "A is right more often than B, and the difference is significant at 0.05: A alone is right on 9 of 15 "
    "images and B alone on 1 (mid-p 0.0117).",
    (0, 20): "B is right more often than A, and the difference is significant at 0.05: B alone is right on 20 of 25 "
    "images and A alone on 0 (mid-p < 0.0001).",
}


@pytest.mark.parametrize("counts", VERDICTS)
def test_the_verdict_on_two(counts):
    found = _compare(_pair_of(*counts))
    assert found.verdict == found.pairs[0].verdict == VERDICTS[counts]
    assert found.cochran is None


def test_the_verdict_on_one_and_on_equals():
    one = _pair_of(1, 0)["A"]
    assert _compare({"A": one}).verdict == (
        "A is right on 4 of 6 images (accuracy 0.667, 95 % interval 0.300 to 0.903); there is nothing to compare it "
        "with."
    )
    equal = _compare({"A": one, "B": one, "C": one})
    assert equal.verdict == "A, B and C are right on the same 4 of 6 images: there is nothing to test."
    assert equal.cochran.p is None
    assert equal.cochran.reason


def test_many_findings_are_listed_briefly():
    arms = {f"arm{place}": _answers([1] * (8 * place) + [0] * (48 - 8 * place)) for place in range(6)}
    text = _compare(arms).verdict
    assert text.startswith("15 of 15 pairs differ significantly at 0.05 after Holm's correction for 15 pairs (Cochran")
    assert text.endswith("; 11 more.")
    assert text.count("right more often than") == 4


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1), st.floats(0, 1))
def test_a_verdict_says_significant_only_if_it_is(b, c, p, adjusted):
    contest = Contest(
        first="A",
        second="B",
        table=Table(both_right=1, first_only=b, second_only=c, both_wrong=1),
        test="mid-p",
        p=p,
        adjusted=adjusted,
        correction="holm",
        alpha=0.05,
    )
    text = verdict([contest])
    if b + c:
        assert ("is not significant" in text) == (adjusted > 0.05)
    several = verdict([contest, replace(contest, second="C")])
    assert ("No difference" in several or "nothing to test" in several) == (adjusted > 0.05 or b + c == 0)


# Scores


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
    found = score_classifier("A", _answers([1, 0, 1]), ("a", "b"))
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


def test_what_is_counted_as_zero_or_left_out_is_told():
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


# Documents


def _has_no_nan(value):
    if isinstance(value, dict):
        return all(map(_has_no_nan, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_has_no_nan, value))
    return not isinstance(value, float) or math.isfinite(value)


@settings(max_examples=12)
@given(b=st.integers(0, 4), c=st.integers(0, 4), both=st.integers(0, 2), neither=st.integers(1, 2))
def test_every_undefined_number_is_none_beside_a_reason(b, c, both, neither):
    def look(value):
        if isinstance(value, dict):
            numbers = ("value", "low", "p", "statistic", "ece", "discordants")
            holes = [key for key in numbers if value.get(key, 0) is None]
            assert not holes or value["reason"], value
            assert all(map(look, value.values()))
        elif isinstance(value, list | tuple):
            assert all(map(look, value))
        return True

    found = _compare(_pair_of(b, c, both, neither)).plain()
    assert look(found)
    assert _has_no_nan(found)


@settings(max_examples=6)
@given(st.permutations(["LR", "HR", "SR"]))
def test_the_order_of_classifiers_changes_no_number(golden, order):
    found = _compare({name: _golden()[name] for name in order})
    for pair in found.pairs:
        (other,) = [one for one in golden.pairs if {one.first, one.second} == {pair.first, pair.second}]
        assert pair.tests == other.tests
        assert pair.adjusted == other.adjusted
        turned = other.first != pair.first
        assert pair.table == (other.table.swapped if turned else other.table)
    assert found.cochran.p == pytest.approx(golden.cochran.p)


def test_the_document_has_the_keys_that_reports_read(golden):
    document = golden.plain()
    assert document["schema"] == "srcache.compare/1"
    assert list(document) == ["schema", "settings", "images", "classes", "classifiers", "pairs", "cochran_q", "verdict"]
    assert list(document["pairs"][0]) == [
        *("first", "second", "table", "b", "c", "names_first_only", "names_second_only", "exact", "mid_p", "chi2"),
        *("chi2_corrected", "adjusted", "significant", "odds_ratio", "difference", "needed", "verdict"),
    ]
    assert list(document["classifiers"][0]) == [
        *("name", "images", "right", "accuracy", "macro", "per_class", "confusion", "roc_auc", "calibration"),
    ]
    assert document["pairs"][2]["needed"]["images"] == 485
    assert json.loads(json.dumps(document, allow_nan=False))["settings"]["correction"] == "holm"


@pytest.mark.parametrize(
    "words",
    [{"alpha": 0}, {"alpha": 0.7}, {"power": 1}, {"correction": "hs"}, {"test": "chi2"}, {"draws": 0}, {"seed": -1}],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(words):
    with pytest.raises(ConfigError):
        CompareSettings(**words)


# Several seeds


def _shaken(right, share, seed):
    dice = np.random.default_rng(seed)
    return _answers(np.where(dice.random(len(right)) < share, 1 - np.array(right), right).tolist())


def _arms(seeds, shift=0.0):
    base = (np.arange(200) % 5 > 0).astype(int).tolist()
    first = [_shaken(base, 0.1, seed) for seed in range(seeds)]
    return {"A": first, "B": [_shaken(base, 0.1 + shift, 100 + seed) for seed in range(seeds)]}


def test_every_seed_is_tested_by_itself_and_tables_are_never_added():
    arms = _arms(3)
    found = compare_seeds(join_seeds(arms))
    for place in range(3):
        single = _compare({name: seeds[place] for name, seeds in arms.items()})
        assert found.comparisons[place] == single
        assert found.pairs[0].tests[place]["mid_p"] == single.pairs[0].tests.mid_p
        assert found.comparisons[place].pairs[0].table.images == 200
    assert found.pairs[0].significant_in == sum(test["significant"] for test in found.pairs[0].tests)
    assert found.arms[0].mean == pytest.approx(sum(found.arms[0].accuracies) / 3)
    assert found.arms[0].spread == pytest.approx(np.std(found.arms[0].accuracies, ddof=1))
    assert found.pairs[0].difference.value == pytest.approx(found.arms[0].mean - found.arms[1].mean)


def test_the_verdict_over_seeds():
    same, other = compare_seeds(join_seeds(_arms(3))), compare_seeds(join_seeds(_arms(3, 0.3)))
    assert same.verdict.startswith("Over 3 seeds, no difference is shown: every interval over images and seeds holds 0")
    assert other.verdict.startswith("Over 3 seeds, the arms differ by intervals over images and seeds: A less B +0.")
    assert "its test is significant in 3 of 3 seeds" in other.verdict
    assert other.pairs[0].shown
    assert not same.pairs[0].shown


def test_the_verdict_over_seeds_names_the_better_arm_first():
    arms = _arms(3, 0.3)
    found = compare_seeds(join_seeds({"B": arms["B"], "A": arms["A"]}))
    assert found.pairs[0].difference.value < 0
    assert found.pairs[0].shown
    assert re.search(r": A less B \+0\.\d+ in accuracy \(\+0\.\d+ to \+0\.\d+; its test", found.verdict)


def test_several_pairs_over_seeds_share_the_risk():
    arms = {**_arms(2, 0.3), "C": _arms(2)["B"]}
    found = compare_seeds(join_seeds(arms))
    for pair in found.pairs:
        assert pair.simultaneous.level == pytest.approx(1 - 0.05 / 3)
        assert pair.simultaneous.low <= pair.difference.low
        assert pair.simultaneous.high >= pair.difference.high
    assert "2 of 3 pairs differ by intervals over images and seeds (for 3 pairs together)" in found.verdict
    bare = compare_seeds(join_seeds(arms), CompareSettings(correction="none"))
    assert all(pair.simultaneous == pair.difference for pair in bare.pairs)


def test_one_seed_and_one_arm_say_what_they_cannot():
    one = compare_seeds(join_seeds({name: seeds[:1] for name, seeds in _arms(1).items()}))
    assert one.verdict == "One seed alone: how far results vary between trainings is unknown."
    assert (one.pairs[0].difference.low, one.arms[0].spread) == (None, None)
    assert plain(one)["seeds"] is None
    alone = compare_seeds(join_seeds({"A": _arms(2)["A"]}))
    assert alone.verdict == "One arm alone: there is nothing to compare it with."


def test_seeds_that_are_equal_in_everything_have_no_interval():
    arm = _arms(2)["A"]
    found = compare_seeds(join_seeds({"A": arm, "B": arm}))
    assert found.pairs[0].difference.reason
    assert "no interval" in found.verdict
    assert _has_no_nan(plain(found))


def test_arms_need_the_same_seeds_and_images():
    arms = _arms(2)
    with pytest.raises(ConfigError, match="A has 2, B has 1"):
        join_seeds({"A": arms["A"], "B": arms["B"][:1]})
    for nothing in ({}, {"A": []}):
        with pytest.raises(ConfigError, match="at least one"):
            join_seeds(nothing)
    shorter = Predictions(("a", "b"), arms["B"][1].rows[:-1])
    with pytest.raises(CatalogError, match=r"B \(seed 2\) lacks 1 of 200 images: n0199"):
        join_seeds({"A": arms["A"], "B": [arms["B"][0], shorter]})
    alike = {"A": arms["A"], "A (seed 1)": arms["B"], "A (seed 1) (seed 1)": arms["B"]}
    assert [list(one.classifiers) for one in join_seeds(alike)] == [list(alike)] * 2


# Files


def test_all_files_are_written_with_safe_names(tmp_path):
    names = ["../LR", "<script>", "größe", "lr", "LR", "..", "x" * 200]
    rights = [np.random.default_rng(seed).random(20) < 0.6 for seed in range(len(names))]
    arms = {name: [_answers(right.tolist(), ("<b>", 'a,\n"b'))] for name, right in zip(names, rights, strict=True)}
    joined = join_seeds(arms)
    files = write_comparison(tmp_path / "out", compare_seeds(joined), joined[0])
    assert len(set(files)) == 1 + 7 + 21
    assert {path.name.casefold() for path in files} == {path.name.casefold() for path in (tmp_path / "out").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len({path.name.casefold() for path in files}) == len(files)
    document = json.loads((tmp_path / "out/compare.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in document["classifiers"]] == names


def test_the_discordant_images_are_listed_for_people(tmp_path):
    joined = join_seeds({name: [one] for name, one in _pair_of(2, 1, 1, 1).items()})
    write_comparison(tmp_path, compare_seeds(joined), joined[0])
    rows = list(csv.reader(io.StringIO((tmp_path / "discordant-A-B.csv").read_text())))
    assert rows == [
        ["name", "label", "right", "prediction A", "prediction B"],
        ["n0001", "a", "A", "a", "b"],
        ["n0002", "b", "A", "b", "a"],
        ["n0003", "a", "B", "b", "a"],
    ]


def test_the_document_in_the_folder_holds_the_seeds(tmp_path):
    joined = join_seeds(_arms(2))
    found = compare_seeds(joined)
    write_comparison(tmp_path, found, joined[0])
    document = json.loads((tmp_path / "compare.json").read_text())
    assert document == json.loads(json.dumps(plain(found)))
    assert list(document["seeds"]) == ["seeds", "draws", "seed", "arms", "pairs", "verdicts", "verdict"]


# Confusion matrices


def _drawn(counts, classes, title="title"):
    with Image.open(io.BytesIO(draw_confusion(counts, classes, title))) as image:
        return np.asarray(image.convert("RGB"))


def test_a_confusion_matrix_is_dark_where_the_counts_are():
    page = _drawn([[9, 1], [0, 10]], ("cat", "dog"))
    height, width = page.shape[:2]
    dark = (page.astype(int).sum(axis=2) < 330) & (page[..., 2] > 80)
    left, right = dark[:, : width // 2], dark[:, width // 2 : int(width * 0.8)]
    assert left[: height // 2].mean() > 5 * left[height // 2 :].mean()
    assert right[height // 2 :].mean() > 5 * right[: height // 2].mean()
    assert np.array_equal(page, _drawn([[9, 1], [0, 10]], ("cat", "dog")))


@pytest.mark.parametrize("count", [1, 2, 20, 31])
def test_pictures_grow_with_the_classes_but_stay_small_files(count):
    names = [f"class number {place}" for place in range(count)]
    png = draw_confusion(np.eye(count, dtype=int).tolist(), names, "title")
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert 300 < image.width < 2000
    assert len(png) < 300_000


def test_names_are_text_and_never_markup():
    odd = ("<script>alert(1)</script>", "$x^2$ \\alpha {", "猫", "a\nb\t\x07", "", " " * 3, "ü" * 500, "$\\broken{$")
    page = _drawn(np.eye(len(odd), dtype=int).tolist(), odd, "$\\frac{ 猫 \n" * 9)
    assert page.shape[0] > 400


def test_the_users_own_style_changes_nothing():
    import matplotlib

    before = draw_confusion([[1]], ("a",), "t")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert draw_confusion([[1]], ("a",), "t") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_counts_must_be_a_square_of_the_classes():
    for counts, classes in (([[1]], ("a", "b")), ([[1, 2]], ("a",)), ([], ())):
        with pytest.raises(ConfigError, match="rows and columns of counts"):
            draw_confusion(counts, classes, "t")


@pytest.mark.parametrize(
    ("module", "act"),
    [
        ("sklearn", lambda: score_classifier("A", _answers([1]), ("a", "b"))),
        ("matplotlib", lambda: draw_confusion([[1]], ("a",), "t")),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch, module, act):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'srcache\[eval\]'"):
        act()
