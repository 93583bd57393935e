"""SeeSR's schedule against diffusers' DDPM scheduler, and what it refuses."""

import json
from math import sqrt

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st
from seesr_fixtures import GOLDEN, case, cases, drawn
from srcache_plugins.seesr.sampling.schedule import START, make_schedule

from srcache.errors import EngineError, WeightsError

LEADING = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]
TRAILING = case("d_loop_turbo_2steps_g1.0_lr")[0]["scheduler"]
DIVISORS = [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500]


def config(spacing, offset=1):
    return {**LEADING, "timestep_spacing": spacing, "steps_offset": offset}


@given(st.sampled_from(["leading", "trailing"]), st.sampled_from([*DIVISORS, 1000]), st.integers(0, 1), st.data())
def test_a_step_is_that_of_diffusers(spacing, steps, offset, data):
    settings = config(spacing, 0 if steps == 1000 else offset)
    oracle = DDPMScheduler(**settings)
    oracle.set_timesteps(steps)
    schedule = make_schedule(settings, steps)
    assert [step.timestep for step in schedule.steps] == oracle.timesteps.tolist()
    number = data.draw(st.integers(0, steps - 1))
    step, latent, noise = schedule.steps[number], drawn(1, 4, 5, 6) * 3, drawn(1, 4, 5, 6, seed=1)
    fresh = drawn(1, 4, 5, 6, seed=7)
    wanted = oracle.step(noise, step.timestep, latent, generator=torch.Generator().manual_seed(7)).prev_sample
    found = latent * step.keep + noise * step.remove + fresh * step.add
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("name", [*cases("d_loop"), *cases("e_tiled")])
def test_the_times_are_the_references(name):
    meta, _ = case(name)
    schedule = make_schedule(meta["scheduler"], meta["call"]["steps"])
    assert [step.timestep for step in schedule.steps] == meta["timesteps"]


def test_fifty_steps_end_at_one_and_two_turbo_steps_begin_at_the_last_time():
    times = [step.timestep for step in make_schedule(LEADING, 50).steps]
    assert times == [981 - 20 * number for number in range(50)]
    assert [step.timestep for step in make_schedule(TRAILING, 2).steps] == [999, 499]


@pytest.mark.parametrize("steps", [1, 4, 50, 500])
def test_the_last_noise_is_drawn_and_counts_nothing(steps):
    *others, last = make_schedule(LEADING, steps).steps
    assert last.timestep == 1
    assert last.add == 1e-10
    assert all(step.add > 0.02 for step in others)


def test_time_nought_gets_no_noise():
    last = make_schedule(config("leading", offset=0), 10).steps[-1]
    assert (last.timestep, last.add) == (0, 0.0)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_the_true_noise_leads_back_to_the_image(spacing):
    schedule, image, noise = make_schedule(config(spacing), 2), drawn(1, 4, 6, 6), drawn(1, 4, 6, 6, seed=1)
    last = schedule.steps[-1]
    kept = float(DDPMScheduler(**LEADING).alphas_cumprod[last.timestep])
    latent = image * sqrt(kept) + noise * sqrt(1 - kept)
    assert (latent * last.keep + noise * last.remove - image).abs().max() < 1e-5


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_the_start_is_always_that_of_time_999(steps):
    schedule, image, noise = make_schedule(LEADING, steps), drawn(2, 4, 6, 6), drawn(2, 4, 6, 6, seed=1)
    wanted = DDPMScheduler(**LEADING).add_noise(image, noise, torch.tensor([START, START]))
    assert (schedule.start_latent(image, noise) - wanted).abs().max() < 1e-6
    assert schedule.image**2 + schedule.noise**2 == pytest.approx(1)


def test_settings_of_other_schedulers_count_for_nothing():
    published = json.loads((GOLDEN / "full/configs.json").read_text(encoding="utf-8"))
    for name in ("scheduler", "scheduler_sd_turbo"):
        config = {**published[name]["config"], "_class_name": "EulerDiscreteScheduler", "skip_prk_steps": True}
        for steps in (1, 2, 50):
            assert make_schedule(config, steps) == make_schedule(published[name]["config"], steps)


def test_the_variance_is_fixed_small_whatever_the_file_says():
    assert make_schedule({**LEADING, "variance_type": "fixed_large"}, 4) == make_schedule(LEADING, 4)
    assert make_schedule({**LEADING, "clip_sample": True}, 4) == make_schedule(LEADING, 4)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(EngineError, match=f"from 1 to 1000, but is {steps}"):
        make_schedule(LEADING, steps)


def test_times_beyond_the_trained_ones_are_refused():
    with pytest.raises(EngineError, match=r"1000 steps begin at time 1000 .* 0 to 999; take fewer"):
        make_schedule(LEADING, 1000)
    assert make_schedule(LEADING, 999).steps[0].timestep == 999


def test_a_model_of_fewer_times():
    schedule = make_schedule({**LEADING, "num_train_timesteps": 100}, 10)
    assert [step.timestep for step in schedule.steps] == list(range(91, 0, -10))
    assert schedule.image > make_schedule(LEADING, 10).image


def test_a_schedule_that_ends_in_nothing_but_noise_is_refused():
    with pytest.raises(WeightsError, match="leaves some signal"):
        make_schedule({**config("trailing"), "rescale_betas_zero_snr": True}, 10)
