"""How many images a difference needs: the fewest with the power asked for, by enumeration and by approximation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_tables import table_of_counts

from srcache.errors import ConfigError
from srcache.study.statistics.power import discordants_needed, needed

pytest.importorskip("statsmodels")


@pytest.mark.medium
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
    found = needed(table_of_counts(245, 13, 28, 45))
    assert found.discordants == discordants_needed(13 / 41)
    assert found.images == math.ceil(found.discordants * 331 / 41)
    nothing = needed(table_of_counts(1, 4, 4, 1))
    assert (nothing.discordants, nothing.images, nothing.reason) == (None, None, "no effect was seen: b = c")


@pytest.mark.parametrize(
    ("share", "alpha", "power"), [(0.5, 0.05, 0.8), (1.1, 0.05, 0.8), (0.6, 0, 0.8), (0.6, 0.05, 1)]
)
def test_power_of_what_cannot_be_is_refused(share, alpha, power):
    with pytest.raises(ConfigError):
        discordants_needed(share, alpha, power)
