"""A comparison as the report reads it: its own rules, and None or nothing where a part is not there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.study.report.data.comparison import Value, classifiers, pairs, rules, value_of

_rubbish = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@pytest.fixture
def compare(results):
    return json.loads(json.dumps(results["compare"]))


def test_every_pair_is_read_with_its_counts_names_and_tests(compare):
    for found, row in zip(pairs(compare), compare["pairs"], strict=True):
        table = row["table"]
        assert (found.first, found.second) == (row["first"], row["second"])
        assert (found.b, found.c) == (table["first_only"], table["second_only"])
        assert (found.both_right, found.both_wrong) == (table["both_right"], table["both_wrong"])
        assert (list(found.b_names), list(found.c_names)) == (row["names_first_only"], row["names_second_only"])
        assert found.p == {"exact": row["exact"], "mid_p": row["mid_p"]}, "chi2 has no p here"
        assert (found.decisive, found.adjusted) == (row["mid_p"], row["adjusted"]["mid_p"])
        assert found.significant is row["significant"]
        assert found.difference == row["difference"]["newcombe"]["value"]
        assert (found.odds.high, found.needed) == (None, 47)


def test_the_test_that_decides_is_the_one_of_the_settings(compare):
    compare["settings"] = {"test": "exact", "alpha": 0.1}
    compare["pairs"][0] |= {"adjusted": {"exact": 0.1, "mid_p": 0.9}}
    found = pairs(compare)[0]
    assert (found.decisive, found.adjusted, found.significant) == (compare["pairs"][0]["exact"], 0.1, True)
    compare["pairs"][0]["adjusted"] = {}
    assert pairs(compare)[0].significant is None


@pytest.mark.parametrize(("alpha", "level"), [(0.05, "95 %"), (0.01, "99 %"), (0.025, "97.5 %")])
def test_the_level_of_intervals_is_written_with_the_digits_it_needs(alpha, level):
    assert rules({"settings": {"alpha": alpha}}).level == level


def test_rules_that_are_not_stated_are_the_defaults_of_the_command():
    decide = rules({})
    assert (decide.alpha, decide.correction, decide.test) == (0.05, "holm", "mid-p")
    assert decide.corrected == "Holm’s correction"
    assert rules({"settings": {"correction": "none"}}).corrected == "no correction"
    assert rules({"settings": {"correction": "sidak"}}).corrected == "correction sidak"


def test_classifiers_are_read_with_the_figures_that_they_have(compare):
    compare["classifiers"][1] |= {"macro": None, "roc_auc": {"value": None, "reason": "why"}, "calibration": {}}
    full, empty, *_ = classifiers(compare)
    assert full.figures == {
        **{"macro precision": 0.8, "macro recall": 0.75, "macro f1": 0.774},
        **{"ROC-AUC": 0.91, "expected calibration error": 0.043},
    }
    assert empty.figures == {}
    assert full.accuracy.interval == (0.6, 0.9)
    assert [list(line) for line in full.confusion] == compare["classifiers"][0]["confusion"]


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("value", "low", "high"), _rubbish)) | _rubbish)
def test_a_value_is_three_numbers_or_none(found):
    value = value_of(found)
    assert all(one is None or (isinstance(one, float) and one == one) for one in (value.value, *value.interval))


def test_a_bare_number_is_a_value_without_an_interval():
    assert value_of(0.5) == Value(value=0.5)


_keys = st.sampled_from(["first", "second", "table", "difference", "adjusted", "needed", "mid_p"])


@given(st.dictionaries(_keys, _rubbish))
def test_no_row_breaks_the_reading(row):
    found = pairs({"pairs": [row, 3, None]})
    assert len(found) == ({"first", "second"} <= set(row))
    assert len(classifiers({"classifiers": [row, {"name": row}, []], "classes": 3})) == 1
