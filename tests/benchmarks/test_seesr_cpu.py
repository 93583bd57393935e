"""SeeSR's cases for any machine: both ways of computing agree, and what is saved adds up."""

import pytest

from benchmarks import seesr_cpu


def test_both_ways_predict_the_same(tiny_run):
    _, agreement = seesr_cpu.step(tiny_run, "cpu-step")
    assert agreement.met
    assert 0 < agreement.value < 1e-4, "not one way twice"


@pytest.mark.slow
def test_what_is_saved_adds_up(tiny_run):
    step, complete, *shares = seesr_cpu.savings(tiny_run, "savings")
    assert sum(bar.value for bar in shares) == pytest.approx(100 * (1 - step.ratio))
    assert all(bar.value > 0 for bar in shares)
    assert 50 * step.value < complete.value < 51 * step.value + complete.value / 10
