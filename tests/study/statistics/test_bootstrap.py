"""Percentile intervals of a difference: computed over images, drawn over images and seeds."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_tables import table_of_counts

from srcache.errors import ConfigError
from srcache.study.statistics.bootstrap import bootstrap_difference, joint_bootstrap, series_bootstrap
from srcache.study.statistics.paired import table_of

pytest.importorskip("statsmodels")


@settings(max_examples=5)
@given(st.tuples(*[st.integers(1, 9)] * 4))
def test_the_computed_bootstrap_is_what_drawing_approaches(counts):
    table = table_of_counts(*counts)
    values = np.repeat([0, 1, -1, 0], counts)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (20_000, len(values)))].mean(axis=1)
    found = bootstrap_difference(table, 0.9)
    step = 1 / table.images  # the distribution is one of steps
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=step + 1e-9)


def test_the_computed_bootstrap_is_exact_for_few_images():
    """Two images, one of them won: 1/4 nothing, 1/2 one half, 1/4 one."""
    table = table_of_counts(1, 1, 0, 0)
    assert [bootstrap_difference(table, level).low for level in (0.45, 0.6)] == [0.5, 0.0]
    assert [bootstrap_difference(table, level).high for level in (0.45, 0.6)] == [0.5, 1.0]


def _answers(seed, seeds=3, images=80, share=0.7):
    return np.random.default_rng(seed).random((seeds, images)) < share


def test_the_joint_bootstrap_depends_on_its_seed_alone():
    first, second = _answers(1), _answers(2, share=0.8)
    found = joint_bootstrap(first, second, seed=5)
    assert found == joint_bootstrap(first, second, seed=5)
    assert found != joint_bootstrap(first, second, seed=6, draws=100) != joint_bootstrap(first, second, draws=100)
    order = np.random.default_rng(0).permutation(80)
    assert found == joint_bootstrap(first[:, order], second[:, order], seed=5)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low < found.value < found.high


@pytest.mark.medium
def test_the_joint_bootstrap_is_what_plain_resampling_approaches():
    first, second = _answers(1, 4, 40), _answers(2, 4, 40, 0.8)
    rng, means = np.random.default_rng(9), []
    difference = first.astype(int) - second
    for _ in range(8000):
        rows, columns = rng.integers(0, 4, 4), rng.integers(0, 40, 40)
        means.append(difference[rows][:, columns].mean())
    found = joint_bootstrap(first, second, draws=8000)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.015)


def test_seeds_that_differ_widen_the_interval():
    same = np.repeat(_answers(1, 1), 4, axis=0)
    other = np.repeat(_answers(2, 1), 4, axis=0)
    shaken = other.copy()
    shaken[0], shaken[1] = True, False
    narrow, wide = joint_bootstrap(same, other), joint_bootstrap(same, shaken)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    images_only = bootstrap_difference(table_of(same[0].tolist(), other[0].tolist()))
    assert (narrow.low, narrow.high) == pytest.approx((images_only.low, images_only.high), abs=0.02)


def test_swapping_the_arms_mirrors_the_joint_interval():
    first, second = _answers(1), _answers(2, share=0.8)
    found, swapped = joint_bootstrap(first, second), joint_bootstrap(second, first)
    assert found.value == -swapped.value
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low), abs=0.01)


def test_one_seed_and_no_difference_have_no_joint_interval():
    alone = joint_bootstrap(_answers(1, 1), _answers(2, 1))
    assert (alone.low, alone.high) == (None, None)
    assert alone.reason == "one seed says nothing about the spread between seeds"
    equal = joint_bootstrap(_answers(1), _answers(1))
    assert (equal.value, equal.low) == (0, None)
    assert "no spread" in equal.reason


def test_the_joint_bootstrap_refuses_other_shapes():
    for first, second in product((np.ones((2, 3)), np.ones(3), np.ones((0, 3))), (np.ones((3, 2)), np.ones((0, 3)))):
        with pytest.raises(ConfigError, match="two arrays of one shape"):
            joint_bootstrap(first, second)


def test_a_series_alone_has_the_interval_of_the_joint_bootstrap_but_for_the_draws():
    first, second = _answers(1), _answers(2, share=0.8)
    (found,) = series_bootstrap([first.astype(int) - second], draws=20_000)
    known = joint_bootstrap(first, second, draws=20_000)
    assert found.value == pytest.approx(known.value)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.01)
    assert series_bootstrap([first], draws=500)[0].method == "bootstrap over images and seeds, percentiles"
    assert series_bootstrap([first[:1]], draws=500)[0].method == "bootstrap over images, percentiles"


def test_intervals_for_all_together_are_as_wide_as_what_they_have_in_common_allows():
    """Max-t: of equal series as wide as one, of independent ones near to Bonferroni's."""
    rng = np.random.default_rng(0)
    alone = (rng.random((1, 400)) < 0.5).astype(int) * 2 - 1

    def widths(series):
        return [one.high - one.low for one in series_bootstrap(series, draws=4000, together=True)]

    (one,) = widths([alone])
    assert widths([alone] * 8) == pytest.approx([one] * 8, rel=0.02)
    apart = [(rng.random((1, 400)) < 0.5).astype(int) * 2 - 1 for _ in range(8)]
    normal = pytest.importorskip("scipy.stats").norm.isf
    ratio = normal(0.025 / 8) / normal(0.025)
    assert np.mean(widths(apart)) / one == pytest.approx(ratio, rel=0.05)


def test_without_any_effect_one_set_in_twenty_shows_one():
    shown = 0
    for trial in range(150):
        rng = np.random.default_rng(trial)
        series = [(rng.random((1, 120)) < 0.5).astype(int) - (rng.random((1, 120)) < 0.5) for _ in range(6)]
        found = series_bootstrap(series, draws=300, together=True)
        shown += any(one.low > 0 or one.high < 0 for one in found)
    assert 1 <= shown <= 17, "150 × 5 % are 7.5"


def test_what_no_draw_moves_has_no_interval_and_shapes_must_fit():
    same, moved = series_bootstrap([np.zeros((2, 5)), np.eye(2, 5)], draws=200, together=True)
    assert (same.value, same.low, same.high) == (0.0, None, None)
    assert "the same on every image" in same.reason
    assert moved.low < moved.value < moved.high
    for series in ([], [np.zeros(3)], [np.zeros((1, 3)), np.zeros((2, 3))], [np.zeros((2, 0))]):
        with pytest.raises(ConfigError, match="series of one shape"):
            series_bootstrap(series)
