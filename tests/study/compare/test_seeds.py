"""Several seeds of each arm: each tested by itself, and one interval over images and seeds."""

import re

import numpy as np
import pytest
from made_predictions import arms_of, compare_all, has_no_nan

from srcache.errors import CatalogError, ConfigError
from srcache.study.compare.output import plain
from srcache.study.compare.pairwise import CompareSettings
from srcache.study.compare.predictions import PredictionRow, Predictions
from srcache.study.compare.seeds import compare_seeds, join_seeds

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")


@pytest.mark.medium
def test_every_seed_is_tested_by_itself_and_tables_are_never_added():
    arms = arms_of(3)
    found = compare_seeds(join_seeds(arms))
    for place in range(3):
        single = compare_all({name: seeds[place] for name, seeds in arms.items()})
        assert found.comparisons[place] == single
        assert found.pairs[0].tests[place]["mid_p"] == single.pairs[0].tests.mid_p
        assert found.comparisons[place].pairs[0].table.images == 200
    assert found.pairs[0].significant_in == sum(test["significant"] for test in found.pairs[0].tests)
    assert found.arms[0].mean == pytest.approx(sum(found.arms[0].accuracies) / 3)
    assert found.arms[0].spread == pytest.approx(np.std(found.arms[0].accuracies, ddof=1))
    assert found.pairs[0].difference.value == pytest.approx(found.arms[0].mean - found.arms[1].mean)


@pytest.mark.medium
def test_the_verdict_over_seeds():
    same, other = compare_seeds(join_seeds(arms_of(3))), compare_seeds(join_seeds(arms_of(3, 0.3)))
    assert same.verdict.startswith("Over 3 seeds, no difference is shown: every interval over images and seeds holds 0")
    assert other.verdict.startswith("Over 3 seeds, the arms differ by intervals over images and seeds: A against B +")
    assert "its test is significant in 3 of 3 seeds" in other.verdict
    assert other.pairs[0].shown
    assert not same.pairs[0].shown


def test_the_verdict_over_seeds_names_the_better_arm_first():
    arms = arms_of(3, 0.3)
    found = compare_seeds(join_seeds({"B": arms["B"], "A": arms["A"]}))
    assert found.pairs[0].difference.value < 0
    assert found.pairs[0].shown
    assert re.search(r": A against B \+\d+\.\d points \(\+\d+\.\d to \+\d+\.\d; its test", found.verdict)


@pytest.mark.medium
def test_several_pairs_over_seeds_share_the_risk():
    arms = {**arms_of(2, 0.3), "C": arms_of(2)["B"]}
    found = compare_seeds(join_seeds(arms))
    for pair in found.pairs:
        assert pair.simultaneous.level == pytest.approx(1 - 0.05 / 3)
        assert pair.simultaneous.low <= pair.difference.low
        assert pair.simultaneous.high >= pair.difference.high
    assert "2 of 3 pairs differ by intervals over images and seeds (for 3 pairs together)" in found.verdict
    bare = compare_seeds(join_seeds(arms), CompareSettings(correction="none"))
    assert all(pair.simultaneous == pair.difference for pair in bare.pairs)


def test_one_seed_and_one_arm_say_what_they_cannot():
    one = compare_seeds(join_seeds({name: seeds[:1] for name, seeds in arms_of(1).items()}))
    assert one.verdict == "One seed alone: how far results vary between trainings is unknown."
    assert (one.pairs[0].difference.low, one.arms[0].spread) == (None, None)
    assert plain(one)["seeds"] is None
    alone = compare_seeds(join_seeds({"A": arms_of(2)["A"]}))
    assert alone.verdict == "One arm alone: there is nothing to compare it with."


def test_seeds_that_are_equal_in_everything_have_no_interval():
    arm = arms_of(2)["A"]
    found = compare_seeds(join_seeds({"A": arm, "B": arm}))
    assert found.pairs[0].difference.reason
    assert "no interval" in found.verdict
    assert has_no_nan(plain(found))


@pytest.mark.parametrize(("images", "shown"), [(3, False), (12, True)])
def test_where_one_arm_is_right_on_every_image_and_the_other_on_none_the_tests_decide(images, shown):
    arms = {}
    for name, given in (("A", "cat"), ("B", "dog")):
        rows = [PredictionRow(name=f"i{at}", key="", label="cat", prediction=given) for at in range(images)]
        arms[name] = 2 * [Predictions(classes=("cat", "dog"), rows=tuple(rows))]
    found = compare_seeds(join_seeds(arms))
    assert (found.pairs[0].simultaneous.value, found.pairs[0].simultaneous.low) == (1.0, None)
    assert found.pairs[0].shown is shown
    assert ("the arms differ" in found.verdict) is shown


def test_arms_need_the_same_seeds_and_images():
    arms = arms_of(2)
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
