"""The pair that a question is about, and what is said of it: one sign, points, and no more than the tests show."""

import pytest

from srcache.study.report.data.question import answer, asked_pair, effects, seed_rows, study_pairs
from srcache.study.report.data.study import Study
from srcache.study.statistics.paired import Table, newcombe_difference


def _study(tmp_path, arms=("bicubic", "sr"), **results):
    plain = [{"name": arm, "seeds": [0]} for arm in arms]
    return Study(results={"arms": plain, **results}, root=tmp_path)


def _compare(b=5, c=15, significant=True):
    pair = {
        "first": "bicubic",
        "second": "sr",
        "table": {"both_right": 60, "first_only": b, "second_only": c, "both_wrong": 20},
        "names_first_only": ["x"],
        "mid_p": 0.02,
        "adjusted": {"mid_p": 0.02 if significant else 0.2},
        "odds_ratio": {"value": 0.5, "low": 0.25, "high": 2.0},
        "difference": {"newcombe": {"value": (b - c) / 100, "low": -0.2, "high": 0.0}},
    }
    return {"images": 100, "pairs": [pair]}


def _seeds(value, low, high):
    wide = {"value": value, "low": low, "high": high}
    tests = [{"b": 1, "c": 2}, {"b": 3, "c": 4}]
    return {"pairs": [{"first": "bicubic", "second": "sr", "tests": tests, "difference": wide, "simultaneous": wide}]}


@pytest.mark.parametrize(
    ("arms", "pair"),
    [
        (("lr", "bicubic", "sr", "hr"), ("sr", "bicubic")),
        (("sr", "lr"), ("sr", "lr")),
        (("lr", "hr"), ("hr", "lr")),
        (("one", "two", "three"), ("three", "one")),
        (("sr",), None),
        ((), None),
    ],
)
def test_the_pair_is_sr_against_its_baseline_where_nothing_else_is_said(tmp_path, arms, pair):
    assert asked_pair(_study(tmp_path, arms)) == pair


def test_the_configuration_may_name_the_pair(tmp_path):
    assert asked_pair(_study(tmp_path, ("lr", "sr", "hr"), config={"pair": ["lr", "hr"]})) == ("lr", "hr")
    for wrong in (["lr"], ["lr", "lr"], ["lr", "gone"], "lr", [1, {}]):
        assert asked_pair(_study(tmp_path, ("lr", "sr", "hr"), config={"pair": wrong})) == ("sr", "lr")


def test_several_seeds_are_answered_by_the_interval_for_all_pairs(tmp_path):
    study = _study(tmp_path, compare=_compare(), seeds=_seeds(-0.015, -0.046, 0.015))
    assert answer(study) == (
        "SR and bicubic are not shown to differ: +1.5 points, −1.5 to +4.6 over 100 images and 2 seeds."
    )
    study = _study(tmp_path, compare=_compare(), seeds=_seeds(-0.03, -0.05, -0.01))
    assert answer(study).startswith("SR is right more often than bicubic: +3.0 points, +1.0 to +5.0 over")
    study = _study(tmp_path, compare=_compare(), seeds=_seeds(0.03, 0.01, 0.05))
    assert answer(study).startswith("SR is right less often than bicubic: −3.0 points, −5.0 to −1.0 over")
    study = _study(tmp_path, compare=_compare(), seeds=_seeds(0.0, None, None))
    assert answer(study).endswith("over 100 images and 2 seeds: there is no difference to test.")
    everywhere = _seeds(-1.0, None, None)
    assert answer(_study(tmp_path, compare=_compare(), seeds=everywhere)).startswith("SR and bicubic are not shown to")
    everywhere["pairs"][0]["tests"] = 2 * [{"b": 0, "c": 100, "significant": True}]
    assert answer(_study(tmp_path, compare=_compare(), seeds=everywhere)) == (
        "SR is right more often than bicubic: +100.0 points, no interval over 100 images and 2 seeds."
    )


def test_one_seed_is_answered_by_its_test_with_newcombes_interval(tmp_path):
    pytest.importorskip("scipy")
    table = Table(both_right=60, first_only=15, second_only=5, both_wrong=20)
    expected = newcombe_difference(table)
    (found,) = effects(_study(tmp_path, compare=_compare()))
    assert (found.first, found.second, found.differs) == ("sr", "bicubic", True)
    assert (found.difference, found.low, found.high) == pytest.approx((0.1, expected.low, expected.high))
    assert answer(_study(tmp_path, compare=_compare())).startswith("SR is right more often than bicubic: +10.0 points")
    study = _study(tmp_path, compare=_compare(significant=False))
    assert answer(study).startswith("SR and bicubic are not shown to differ: +10.0 points")
    assert answer(study).endswith("over 100 images and one seed (p = 0.2000 after Holm’s correction).")
    uncorrected = {**_compare(), "settings": {"correction": "none"}}
    assert answer(_study(tmp_path, compare=uncorrected)).endswith("(p = 0.0200 without correction).")


def test_pairs_and_rows_are_turned_together(tmp_path):
    study = _study(tmp_path, compare=_compare(), seeds=_seeds(-0.03, -0.05, -0.01))
    (pair,) = study_pairs(study)
    assert (pair.first, pair.b, pair.c, pair.c_names, pair.difference) == ("sr", 15, 5, ("x",), 0.1)
    assert (pair.odds.value, pair.odds.low, pair.odds.high) == (2.0, 0.5, 4.0)
    (row,) = seed_rows(study)
    assert (row["first"], row["tests"][0], row["difference"]["low"]) == ("sr", {"b": 2, "c": 1}, 0.01)
    asked = _study(tmp_path, compare=_compare(), config={"pair": ["bicubic", "sr"]})
    assert study_pairs(asked)[0].difference == -0.1


def test_without_a_comparison_there_is_no_answer(tmp_path):
    assert answer(_study(tmp_path)) == ""
