"""DPM-Solver++ against diffusers' own scheduler, step by step, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seesr_fixtures import case, drawn
from srcache_plugins.seesr.sampling.sampler import _next
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.seesr.sampling.solver import make_solver, scheduler_of

from srcache.errors import EngineError, WeightsError

LEADING = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]
TRAILING = case("d_loop_turbo_2steps_g1.0_lr")[0]["scheduler"]


@given(
    st.sampled_from([LEADING, TRAILING, {**LEADING, "timestep_spacing": "linspace"}]),
    st.sampled_from([1, 2, 3, 5, 10, 14, 15, 20, 50]),
)
def test_a_whole_run_is_that_of_diffusers(config, steps):
    oracle, schedule = scheduler_of(config, steps), make_solver(config, steps)
    assert [step.timestep for step in schedule.steps] == oracle.timesteps.tolist()
    wanted = found = drawn(1, 4, 5, 6)
    clean = None
    for number, step in enumerate(schedule.steps):
        predicted = drawn(1, 4, 5, 6, seed=number + 1)
        wanted = oracle.step(predicted, oracle.timesteps[number], wanted).prev_sample
        found, clean = _next(step, found, predicted, None, clean)
        assert (found - wanted).abs().max() <= 2e-4 * wanted.abs().max(), number
        found = wanted


def test_it_draws_no_noise_and_starts_as_the_reference_does():
    solver, plain = make_solver(LEADING, 20), make_schedule(LEADING, 50)
    assert (solver.image, solver.noise) == (plain.image, plain.noise)
    assert not any(step.draws or step.add for step in solver.steps)
    assert [step.before != 0 for step in solver.steps] == [False, *[True] * 18, False], "first and last: first order"
    assert all(step.draws and step.estimate is None and not step.before for step in plain.steps)


@pytest.mark.parametrize("steps", [0, 1000, 1001])
def test_too_many_steps_are_refused(steps):
    with pytest.raises(EngineError, match=r"dpm\+\+ must be from 1 to 999"):
        make_solver(LEADING, steps)


def test_a_schedule_that_says_too_little_is_refused():
    with pytest.raises(WeightsError, match="do not say beta_start"):
        make_solver({**LEADING, "beta_start": None}, 5)


def test_noise_that_is_known_at_once_is_left_out():
    """With the true noise predicted at each step, any number of steps leads to the clean latent."""
    clean, noise = drawn(1, 4, 8, 8), drawn(1, 4, 8, 8, seed=1)
    for steps in (1, 4, 20):
        schedule = make_solver(LEADING, steps)
        kept = scheduler_of(LEADING, steps).alphas_cumprod[schedule.steps[0].timestep].double().sqrt().item()
        latent, estimate = kept * clean + (1 - kept**2) ** 0.5 * noise, None
        for step in schedule.steps:
            latent, estimate = _next(step, latent, noise, None, estimate)
        assert torch.allclose(latent, clean, atol=2e-3)
