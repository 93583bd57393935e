"""Paired classifiers against published numbers, scipy, statsmodels, closed forms and their traps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paired_tables import GOLDEN, mirrored, small_counts, table_of_counts, tables, unequal

from srcache.errors import ConfigError
from srcache.study.statistics.bootstrap import bootstrap_difference
from srcache.study.statistics.paired import cochran, mcnemar, newcombe_difference, odds_ratio, table_of

pytest.importorskip("statsmodels")


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
    airway, response = mcnemar(table_of_counts(1, 1, 7, 12)), mcnemar(table_of_counts(59, 6, 16, 80))
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
    assert mcnemar(table) == mcnemar(mirrored(table))


@given(tables, small_counts)
def test_images_on_which_both_are_alike_change_no_p(table, more):
    larger = table_of_counts(table.both_right + more, table.first_only, table.second_only, table.both_wrong + 2 * more)
    assert mcnemar(table) == mcnemar(larger)


def test_equal_discordants_are_no_difference_in_any_test():
    found = mcnemar(table_of_counts(3, 4, 4, 3))
    assert (found.exact, found.mid_p, found.chi2.p, found.chi2_corrected.p) == (1, 1, 1, 1)


def test_without_discordants_the_asymptotic_tests_are_undefined():
    found = mcnemar(table_of_counts(3, 0, 0, 3))
    assert (found.exact, found.mid_p) == (1, 1)
    for test in (found.chi2, found.chi2_corrected):
        assert (test.statistic, test.p) == (None, None)
        assert test.reason == "no image on which one alone is right"


def test_tables_are_counted_and_checked():
    first, second = [True] * 3 + [False] * 7, [True, False, False, True, True, True, False, False, False, False]
    assert table_of(first, second) == table_of_counts(1, 2, 3, 4)
    with pytest.raises(ValueError, match="shorter"):
        table_of(first, second[1:])
    for counts in ((0, 0, 0, 0), (5, -1, 0, 0)):
        with pytest.raises(ConfigError, match="at least one image"):
            table_of_counts(*counts)


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


def test_published_intervals_of_a_paired_difference():
    """Newcombe (1998) and Fagerland, Lydersen and Laake (2014)."""
    for counts, low, high in (
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((59, 6, 16, 80), -0.1186, -0.0046),
        ((1, 1, 7, 12), -0.507, -0.026),
    ):
        found = newcombe_difference(table_of_counts(*counts))
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4 if counts[0] == 1 else 5e-5)


@given(tables)
def test_intervals_contain_their_estimate_and_follow_a_swap(table):
    for interval in (newcombe_difference, bootstrap_difference):
        found, swapped = interval(table), interval(mirrored(table))
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


@pytest.mark.medium
@given(tables)
def test_the_odds_ratio_is_clopper_and_pearsons_interval_as_odds(table):
    from scipy.stats import binomtest

    found, swapped = odds_ratio(table), odds_ratio(mirrored(table))
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
