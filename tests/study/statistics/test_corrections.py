"""Corrections for several comparisons against the golden case, their definition and their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_tables import GOLDEN

from srcache.errors import ConfigError
from srcache.study.statistics.corrections import adjusted
from srcache.study.statistics.paired import mcnemar

pytest.importorskip("statsmodels")

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
