"""Comparisons of every pair: the golden case, documents without holes, and settings that cannot be."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import compare_all, golden_predictions, has_no_nan, pair_of
from paired_tables import mirrored

from srcache.errors import ConfigError
from srcache.study.compare.pairwise import CompareSettings

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")


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


def test_the_test_that_decides_can_be_the_exact_one():
    found = compare_all(golden_predictions(), test="exact", correction="bonferroni", alpha=0.1)
    assert found.pairs[2].significant
    assert "(SR alone is right on 28 of 331 images and HR alone on 13; exact p 0.0275, after Bonferroni 0.0826)" in (
        found.verdict
    )
    assert found.classifiers[0].accuracy.level == 0.9


def test_images_of_b_and_c_are_named(golden):
    right = {name: {row.name for row in one.rows if row.right} for name, one in golden_predictions().items()}
    pair = golden.pairs[0]
    assert set(pair.names_first_only) == right["LR"] - right["HR"]
    assert set(pair.names_second_only) == right["HR"] - right["LR"]


@pytest.mark.medium
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

    found = compare_all(pair_of(b, c, both, neither)).plain()
    assert look(found)
    assert has_no_nan(found)


@pytest.mark.medium
@settings(max_examples=6)
@given(st.permutations(["LR", "HR", "SR"]))
def test_the_order_of_classifiers_changes_no_number(golden, order):
    found = compare_all({name: golden_predictions()[name] for name in order})
    for pair in found.pairs:
        (other,) = [one for one in golden.pairs if {one.first, one.second} == {pair.first, pair.second}]
        assert pair.tests == other.tests
        assert pair.adjusted == other.adjusted
        turned = other.first != pair.first
        assert pair.table == (mirrored(other.table) if turned else other.table)
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
