"""Wilson's interval against its closed form, statsmodels and limits; values as JSON; shares that cannot be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import ConfigError
from srcache.study.statistics.intervals import Interval, Test, require_share, wilson, wilson_limits

pytest.importorskip("statsmodels")


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


def testcounts_that_are_none_are_refused():
    for right, images in ((2, 1), (-1, 3), (0, 0)):
        with pytest.raises(ConfigError, match="expected a count"):
            wilson(right, images)


@pytest.mark.parametrize("level", [0.5, 0.95, 1 - 0.05 / 3])
@pytest.mark.parametrize(("right", "images"), [(0, 10), (10, 10), (29, 50), (273, 331), (1, 1)])
def test_wilson_is_that_of_statsmodels_to_the_last_digit(right, images, level):
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(right, images, alpha=1 - level, method="wilson")
    found = wilson(right, images, level)
    assert (found.low, found.high) == (min(max(0, low), right / images), max(min(1, high), right / images))


@given(st.floats(0, 1), st.integers(1, 10_000), st.floats(0.1, 4))
def test_the_limits_of_any_share_hold_it_and_stay_shares(share, images, z):
    low, high = wilson_limits(share, images, z)
    assert 0 <= low <= share <= high <= 1
    closer = wilson_limits(share, 4 * images, z)
    assert closer[1] - closer[0] <= high - low + 1e-12
    assert wilson_limits(1 - share, images, z) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_values_are_plain_json():
    plain = Interval(value=0.5, low=None, high=None, level=0.95, method="m", reason="why").plain()
    assert plain == {"value": 0.5, "low": None, "high": None, "level": 0.95, "method": "m", "reason": "why"}
    assert Test(statistic=1.0, p=0.3).plain() == {"statistic": 1.0, "p": 0.3, "df": 1, "reason": None}


@pytest.mark.parametrize("value", [0, -0.1, 0.5, 1, float("nan")])
def test_a_share_out_of_range_is_refused_with_its_name(value):
    require_share(0.49, "alpha", 0.5)
    with pytest.raises(ConfigError, match=rf"alpha must be above 0 and below 0\.5, but is {value}"):
        require_share(value, "alpha", 0.5)
