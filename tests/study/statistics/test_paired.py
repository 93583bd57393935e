"""The statistics of paired classifiers against published numbers, scipy, statsmodels, closed forms and their traps."""

import gc
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srcache.errors import ConfigError, MissingExtraError
from srcache.study.statistics.corrections import adjusted
from srcache.study.statistics.intervals import wilson
from srcache.study.statistics.joint_bootstrap import joint_bootstrap
from srcache.study.statistics.paired import (
    Table,
    bootstrap_difference,
    cochran,
    mcnemar,
    newcombe_difference,
    odds_ratio,
    table_of,
)
from srcache.study.statistics.power import discordants_needed, needed

pytest.importorskip("statsmodels")


@pytest.fixture(autouse=True, scope="module")
def _no_collections():
    """statsmodels' `multipletests` collects garbage at each call, which takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield


def _table(both, first, second, neither):
    return Table(both_right=both, first_only=first, second_only=second, both_wrong=neither)


GOLDEN = {
    "LR-HR": (_table(237, 29, 21, 44), 0.3222363203575469, 0.26244, 0.32220, 0.25790),
    "LR-SR": (_table(244, 22, 29, 36), 0.4010619910279374, 0.33175, 0.40081, 0.32699),
    "HR-SR": (_table(245, 13, 28, 45), 0.027533155829587486, 0.01952, 0.02878, 0.01915),
}
"""Three classifiers on 331 images: table, then p of exact, mid-p, chi2 with and without correction."""

_counts = st.integers(0, 60)
tables = st.builds(_table, _counts, _counts, _counts, _counts.map(lambda count: count + 1))
unequal = tables.filter(lambda table: table.first_only != table.second_only)


# McNemar


@pytest.mark.parametrize("pair", GOLDEN)
def test_the_golden_case(pair):
    table, exact, mid_p, corrected, plain = GOLDEN[pair]
    found = mcnemar(table)
    assert table.images == 331
    assert found.exact == pytest.approx(exact, rel=1e-12)
    assert found.mid_p == pytest.approx(mid_p, abs=5e-6)
    assert found.chi2_corrected.p == pytest.approx(corrected, abs=5e-6)
    assert found.chi2.p == pytest.approx(plain, abs=5e-6)


def test_published_examples():
    """Fagerland, Lydersen and Laake (2013): airway reactivity, and complete response to chemotherapy."""
    airway, response = mcnemar(_table(1, 1, 7, 12)), mcnemar(_table(59, 6, 16, 80))
    assert (airway.exact, airway.mid_p) == pytest.approx((0.0703, 0.0391), abs=5e-5)
    assert (airway.chi2.p, airway.chi2_corrected.p) == pytest.approx((0.0339, 0.0771), abs=5e-5)
    assert (response.exact, response.mid_p) == pytest.approx((0.0525, 0.0347), abs=5e-5)


@given(tables)
def test_exact_and_mid_p_are_the_binomial_test_of_a_fair_coin(table):
    from scipy.stats import binom, binomtest

    found, count = mcnemar(table), table.discordant
    if count:
        exact = binomtest(table.first_only, count).pvalue
        assert found.exact == pytest.approx(exact, rel=1e-9)
        mid_p = exact - binom.pmf(table.first_only, count, 0.5)
        assert found.mid_p == pytest.approx(mid_p if table.first_only != table.second_only else 1.0, rel=1e-9)
    assert 0 < found.mid_p <= found.exact <= 1


@given(unequal)
def test_the_asymptotic_tests_are_their_closed_forms(table):
    found, distance = mcnemar(table), abs(table.first_only - table.second_only)
    for test, value in ((found.chi2, distance), (found.chi2_corrected, distance - 1)):
        assert test.statistic == pytest.approx(value**2 / table.discordant)
        assert test.p == pytest.approx(math.erfc(math.sqrt(test.statistic / 2)), rel=1e-9)


@given(tables)
def test_swapping_the_classifiers_changes_no_p(table):
    assert mcnemar(table) == mcnemar(table.swapped)


@given(tables, _counts)
def test_images_on_which_both_are_alike_change_no_p(table, more):
    larger = _table(table.both_right + more, table.first_only, table.second_only, table.both_wrong + 2 * more)
    assert mcnemar(table) == mcnemar(larger)


def test_equal_discordants_are_no_difference_in_any_test():
    found = mcnemar(_table(3, 4, 4, 3))
    assert (found.exact, found.mid_p, found.chi2.p, found.chi2_corrected.p) == (1, 1, 1, 1)


def test_without_discordants_the_asymptotic_tests_are_undefined():
    found = mcnemar(_table(3, 0, 0, 3))
    assert (found.exact, found.mid_p) == (1, 1)
    for test in (found.chi2, found.chi2_corrected):
        assert (test.statistic, test.p) == (None, None)
        assert test.reason == "no image on which one alone is right"


def test_tables_are_counted_and_checked():
    first, second = [True] * 3 + [False] * 7, [True, False, False, True, True, True, False, False, False, False]
    assert table_of(first, second) == _table(1, 2, 3, 4)
    with pytest.raises(ValueError, match="shorter"):
        table_of(first, second[1:])
    for counts in ((0, 0, 0, 0), (5, -1, 0, 0)):
        with pytest.raises(ConfigError, match="at least one image"):
            _table(*counts)


# Cochran's Q


def _golden_answers():
    """A joint table of three classifiers that fits the golden pairs: patterns (LR, HR, SR) and their counts."""
    counts = {(1, 1, 1): 229, (1, 1, 0): 8, (1, 0, 1): 15, (0, 1, 1): 16, (1, 0, 0): 14, (0, 1, 0): 5, (0, 0, 1): 13}
    counts[(0, 0, 0)] = 331 - sum(counts.values())
    return [[bool(pattern[who]) for pattern, count in counts.items() for _ in range(count)] for who in range(3)]


def test_cochran_on_the_golden_case():
    answers = _golden_answers()
    for (one, two), pair in zip(((0, 1), (0, 2), (1, 2)), GOLDEN, strict=True):
        assert table_of(answers[one], answers[two]) == GOLDEN[pair][0]
    found = cochran(answers)
    assert (found.statistic, found.p, found.df) == pytest.approx((4.7606, 0.0925, 2), abs=5e-5)


@given(unequal)
def test_cochran_of_two_is_mcnemar(table):
    pairs = [((1, 1), table.both_right), ((1, 0), table.first_only), ((0, 1), table.second_only)]
    answers = [[bool(pair[who]) for pair, count in pairs for _ in range(count)] for who in (0, 1)]
    assert cochran(answers).statistic == pytest.approx(mcnemar(table).chi2.statistic)


@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=20), st.permutations(range(3)))
def test_cochran_is_its_closed_form_and_knows_no_order(rows, order):
    answers = np.array(rows, dtype=int)
    columns, lines, many = answers.sum(0), answers.sum(1), 3
    below = many * lines.sum() - (lines**2).sum()
    found = cochran(answers[:, order].T.astype(bool).tolist())
    if below == 0:
        assert (found.statistic, found.p) == (None, None)
        assert found.reason == "on every image all are right, or all are wrong"
    else:
        expected = (many - 1) * (many * (columns**2).sum() - columns.sum() ** 2) / below
        assert found.statistic == pytest.approx(expected)
        assert found.p == pytest.approx(math.exp(-expected / 2))  # two degrees of freedom


def test_cochran_needs_two():
    with pytest.raises(ConfigError, match="at least two classifiers, but got 1"):
        cochran([[True]])


# Corrections

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_on_the_golden_case():
    assert adjusted([golden[1] for golden in GOLDEN.values()]) == pytest.approx((0.6445, 0.6445, 0.0826), abs=5e-5)
    assert adjusted([mcnemar(golden[0]).mid_p for golden in GOLDEN.values()])[2] == pytest.approx(0.0586, abs=5e-5)


@settings(max_examples=20)
@given(p_values)
def test_holm_keeps_the_order_caps_at_one_and_lies_between_none_and_bonferroni(values):
    found = adjusted(values)
    assert sorted(found) == [found[place] for place in np.argsort(values, kind="stable")]
    bonferroni = adjusted(values, "bonferroni")
    for p, holm, most in zip(values, found, bonferroni, strict=True):
        assert p <= holm <= most <= 1
    assert adjusted(values, "none") == tuple(values)


@settings(max_examples=20)
@given(p_values.flatmap(lambda values: st.tuples(st.just(values), st.permutations(range(len(values))))))
def test_holm_follows_the_order_of_its_values(both):
    values, order = both
    found = adjusted(values)
    assert adjusted([values[place] for place in order]) == tuple(found[place] for place in order)


@settings(max_examples=20)
@given(p_values)
def test_holm_is_its_definition(values):
    ranked = sorted(values)
    steps = [min(1.0, (len(values) - place) * p) for place, p in enumerate(ranked)]
    expected = {p: max(steps[: ranked.index(p) + 1]) for p in ranked}
    ties = {p: max(steps[: place + 1]) for place, p in enumerate(ranked)}
    for p, found in zip(values, adjusted(values), strict=True):
        assert any(found == pytest.approx(one, abs=1e-12) for one in (expected[p], ties[p]))


def test_corrections_of_nothing_and_unknown_ones():
    assert adjusted([]) == ()
    assert adjusted([0.3]) == (0.3,)
    with pytest.raises(ConfigError, match="one of holm, bonferroni, none, but got 'hs'"):
        adjusted([0.1], "hs")


# Intervals


def test_published_intervals_of_a_paired_difference():
    """Newcombe (1998) and Fagerland, Lydersen and Laake (2014)."""
    for counts, low, high in (
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((59, 6, 16, 80), -0.1186, -0.0046),
        ((1, 1, 7, 12), -0.507, -0.026),
    ):
        found = newcombe_difference(_table(*counts))
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4 if counts[0] == 1 else 5e-5)


@given(tables)
def test_intervals_contain_their_estimate_and_follow_a_swap(table):
    for interval in (newcombe_difference, bootstrap_difference):
        found, swapped = interval(table), interval(table.swapped)
        assert found.value == (table.first_only - table.second_only) / table.images == -swapped.value
        if found.low is None:
            assert (table.discordant, found.high) == (0, None)
            assert found.reason
        else:
            assert -1 <= found.low <= found.value <= found.high <= 1
            assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low), abs=1e-12)


@given(tables, st.floats(0.5, 0.95))
def test_a_wider_confidence_is_a_wider_interval(table, level):
    for interval in (newcombe_difference, odds_ratio):
        small, large = interval(table, level), interval(table, 0.96)
        assert large.low is None or large.low <= small.low + 1e-12
        assert large.high is None or large.high >= small.high - 1e-12


@settings(max_examples=5)
@given(st.tuples(*[st.integers(1, 9)] * 4))
def test_the_computed_bootstrap_is_what_drawing_approaches(counts):
    table = _table(*counts)
    values = np.repeat([0, 1, -1, 0], counts)
    dice = np.random.default_rng(0)
    means = values[dice.integers(0, len(values), (20_000, len(values)))].mean(axis=1)
    found = bootstrap_difference(table, 0.9)
    step = 1 / table.images  # the distribution is one of steps
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=step + 1e-9)


def test_the_computed_bootstrap_is_exact_for_few_images():
    """Two images, one of them won: 1/4 nothing, 1/2 one half, 1/4 one."""
    table = _table(1, 1, 0, 0)
    assert [bootstrap_difference(table, level).low for level in (0.45, 0.6)] == [0.5, 0.0]
    assert [bootstrap_difference(table, level).high for level in (0.45, 0.6)] == [0.5, 1.0]


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_is_its_closed_form(right, more):
    images, z = right + more - 1 or 1, 1.959963984540054
    right = min(right, images)
    share = right / images
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z * math.sqrt(share * (1 - share) / images + z * z / (4 * images**2)) / (1 + z * z / images)
    found = wilson(right, images)
    assert (found.value, found.low, found.high) == pytest.approx((share, middle - half, middle + half), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_counts_that_are_none_are_refused():
    for right, images in ((2, 1), (-1, 3), (0, 0)):
        with pytest.raises(ConfigError, match="expected a count"):
            wilson(right, images)


@given(tables)
def test_the_odds_ratio_is_clopper_and_pearsons_interval_as_odds(table):
    from scipy.stats import binomtest

    found, swapped = odds_ratio(table), odds_ratio(table.swapped)
    b, c = table.first_only, table.second_only
    if not b + c:
        assert (found.value, found.low, found.high) == (None, None, None)
        assert found.reason
        return
    limits = binomtest(b, b + c).proportion_ci(method="exact")
    assert found.low == pytest.approx(limits.low / (1 - limits.low), rel=1e-6)
    if c:
        assert found.high == pytest.approx(limits.high / (1 - limits.high), rel=1e-6)
        assert found.low <= found.value == b / c <= found.high
        assert found.reason is None
    else:
        assert (found.value, found.high, swapped.value, swapped.low) == (None, None, 0, 0)
        assert "no upper end" in found.reason
    if b and c:
        assert found.low == pytest.approx(1 / swapped.high)


# Power


@given(st.floats(0.55, 1), st.sampled_from([0.01, 0.05]), st.sampled_from([0.5, 0.8, 0.9]))
@settings(max_examples=30)
def test_the_needed_discordants_are_the_fewest_with_that_power(share, alpha, power):
    from scipy.stats import binom

    def chance(count):
        wins = np.arange(count + 1)
        low = np.minimum(wins, count - wins)
        mid_p = np.where(2 * low == count, 1, 2 * binom.cdf(low, count, 0.5) - binom.pmf(low, count, 0.5))
        return binom.pmf(wins, count, share)[mid_p <= alpha].sum()

    found = discordants_needed(share, alpha, power)
    assert chance(found) >= power
    assert found == 1 or chance(found - 1) < power
    assert discordants_needed(1 - share, alpha, power) in (found - 1, found, found + 1)  # 1 - share is rounded


def test_small_effects_need_what_the_normal_approximation_says():
    closed = (1.959963984540054 / 2 + 0.8416212335729143 * math.sqrt(0.505 * 0.495)) ** 2 / 0.005**2
    assert discordants_needed(0.505) == math.ceil(closed)
    assert discordants_needed(0.511) == pytest.approx((1.96 / 2 + 0.8416 * 0.5) ** 2 / 0.011**2, rel=0.01)


def test_images_needed_follow_from_the_share_of_discordants():
    found = needed(_table(245, 13, 28, 45))
    assert found.discordants == discordants_needed(13 / 41)
    assert found.images == math.ceil(found.discordants * 331 / 41)
    nothing = needed(_table(1, 4, 4, 1))
    assert (nothing.discordants, nothing.images, nothing.reason) == (None, None, "no effect was seen: b = c")


@pytest.mark.parametrize(
    ("share", "alpha", "power"), [(0.5, 0.05, 0.8), (1.1, 0.05, 0.8), (0.6, 0, 0.8), (0.6, 0.05, 1)]
)
def test_power_of_what_cannot_be_is_refused(share, alpha, power):
    with pytest.raises(ConfigError):
        discordants_needed(share, alpha, power)


# Several seeds


def _answers(seed, seeds=3, images=80, share=0.7):
    return np.random.default_rng(seed).random((seeds, images)) < share


def test_the_joint_bootstrap_hangs_on_its_seed_alone():
    first, second = _answers(1), _answers(2, share=0.8)
    found = joint_bootstrap(first, second, seed=5)
    assert found == joint_bootstrap(first, second, seed=5)
    assert found != joint_bootstrap(first, second, seed=6, draws=100) != joint_bootstrap(first, second, draws=100)
    order = np.random.default_rng(0).permutation(80)
    assert found == joint_bootstrap(first[:, order], second[:, order], seed=5)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low < found.value < found.high


def test_the_joint_bootstrap_is_what_plain_resampling_approaches():
    first, second = _answers(1, 4, 40), _answers(2, 4, 40, 0.8)
    dice, means = np.random.default_rng(9), []
    difference = first.astype(int) - second
    for _ in range(8000):
        rows, columns = dice.integers(0, 4, 4), dice.integers(0, 40, 40)
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


# Missing packages


@pytest.mark.parametrize(
    ("module", "act"),
    [
        ("scipy", lambda: mcnemar(_table(1, 1, 2, 1))),
        ("statsmodels.stats", lambda: mcnemar(_table(1, 1, 2, 1))),
        ("statsmodels.stats.proportion", lambda: wilson(1, 2)),
        ("statsmodels.stats.multitest", lambda: adjusted([0.1, 0.2])),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch, module, act):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'srcache\[eval\]'"):
        act()
