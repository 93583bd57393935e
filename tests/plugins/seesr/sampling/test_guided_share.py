"""Guidance in the first steps only: guided steps are those of a guided run, the others those of an unguided one."""

from dataclasses import replace

import pytest
import torch
from seesr_fixtures import RecordedNoise, case, drawn
from srcache_plugins.seesr.sampling.sampler import Prompts, Sampler
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.seesr.sampling.solver import make_solver
from srcache_plugins.stable_diffusion.windows import lay_windows

from srcache.engine.interface import Tiling

CONFIG = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]


@pytest.fixture
def sampled(denoisers):
    """A function: the latents of a run with such a schedule, guidance and window of it, from a start with noise."""

    def act(schedule, noise, start, guidance=5.5, guided=None, tiling=None):
        sampler = Sampler(*denoisers("B", 0.7), schedule, guidance, drawn(1, 77, 20), guided)
        size, count = start.shape[-2:], len(start)
        images = torch.sigmoid(drawn(count, 3, 8 * size[0], 8 * size[1]))
        prompts = Prompts(drawn(count, 77, 20, seed=1), drawn(count, 6, 512, seed=2))
        rows, run = [], sampler.run
        sampler.run = lambda *tensors: (rows.append(len(tensors[3])), run(*tensors))[1]
        with torch.inference_mode():
            found = sampler.sample(images, prompts, start, RecordedNoise(noise), lay_windows(*size, tiling))
        return found, rows

    return act


@pytest.mark.parametrize(("size", "tiling"), [((4, 5), None), ((4, 10), Tiling(size=4, overlap=2))])
@pytest.mark.parametrize("make", [make_schedule, make_solver])
def test_steps_are_guided_up_to_one_and_not_from_there_on(make, size, tiling, sampled):
    schedule, start, noise = make(CONFIG, 3), drawn(2, 4, *size), list(drawn(3, 2, 4, *size, seed=3))
    half, rows = sampled(schedule, noise, start, guided=2, tiling=tiling)
    calls = len(rows) // 3
    assert rows[: 2 * calls] == [2 * rows[-1]] * 2 * calls
    assert rows[2 * calls :] == [rows[-1]] * calls
    everywhere, _ = sampled(schedule, noise, start, tiling=tiling)
    nowhere, _ = sampled(schedule, noise, start, guidance=1.0, tiling=tiling)
    assert torch.equal(sampled(schedule, noise, start, guided=3, tiling=tiling)[0], everywhere)
    assert torch.equal(sampled(schedule, noise, start, guided=0, tiling=tiling)[0], nowhere)
    if make is make_schedule:  # a solver of the second order remembers the step before
        first, last = (replace(schedule, steps=schedule.steps[part]) for part in (slice(2), slice(2, 3)))
        begun, _ = sampled(first, noise[:2], start, tiling=tiling)
        ended, _ = sampled(last, noise[2:], begun, guidance=1.0, tiling=tiling)
        away = (half - ended).abs().max()
        assert away <= 1e-4 * half.abs().max(), "times embedded together are rounded otherwise than alone"
    assert not torch.equal(half, everywhere)
    assert not torch.equal(half, nowhere)
