"""DPM-Solver++ (2M) in numbers known before the first step (Lu et al., arXiv:2211.01095): fewer steps, no fresh noise.

A step weighs the latent, the predicted noise, and the estimate of the clean latent that the step before it made.
"""

import warnings
from collections.abc import Mapping
from math import expm1, inf, log, sqrt
from typing import Any

from diffusers import DPMSolverMultistepScheduler

from srcache.errors import EngineError, WeightsError

from ...stable_diffusion.schedule import USED, require_schedule
from .schedule import Schedule, ScheduleStep, start_weights


def make_solver(config: Mapping[str, Any], steps: int) -> Schedule:
    """The steps of DPM-Solver++ of the second order, with diffusers' times and noise levels; the last is of the first.

    Args:
        config: a scheduler's config.json, as for `schedule.make_schedule`.
        steps: how many.

    Raises:
        EngineError: as many steps as the model was trained with, or more.
        WeightsError: as `schedule.require_schedule`.
    """
    plain = require_schedule(config)
    trained = int(plain.config.num_train_timesteps)
    if not 1 <= steps < trained:
        raise EngineError(f"steps of solver dpm++ must be from 1 to {trained - 1}, but is {steps}")
    scheduler = scheduler_of(config, steps)
    levels = scheduler.sigmas.double().tolist()
    if min(levels[:-1]) <= 0 or max(levels) == inf:
        raise WeightsError("expected a noise schedule that leaves some signal at each time, but this one leaves none")
    times = [int(time) for time in scheduler.timesteps.tolist()]
    if max(times) >= trained or len(set(times)) < steps:
        raise EngineError(f"{steps} steps of solver dpm++ do not fit a model that knows {trained} times; take fewer")
    taken = tuple(_step(time, levels, number) for number, time in enumerate(times))
    return Schedule(taken, *start_weights(plain))


def scheduler_of(config: Mapping[str, Any], steps: int) -> Any:
    """diffusers' scheduler, with what the solver needs of a scheduler's config.json, for so many steps."""
    kept = {name: value for name, value in config.items() if name in USED and name != "prediction_type"}
    scheduler = DPMSolverMultistepScheduler(
        **kept, prediction_type="epsilon", algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how diffusers turns tensors into arrays
        scheduler.set_timesteps(steps)
    return scheduler


def _step(time: int, levels: list[float], number: int) -> ScheduleStep:
    """One step; `levels` are noise over signal before each step, and after the last."""
    (signal, noise), (signal_after, noise_after) = (_parts(level) for level in levels[number : number + 2])
    estimate = 1 / signal, -noise / signal
    if noise_after == 0:
        new, old, keep = signal_after, 0.0, 0.0
    else:
        width = log(signal_after / noise_after) - log(signal / noise)
        keep, new, old = noise_after / noise, -signal_after * expm1(-width), 0.0
        if number > 0:
            signal_before, noise_before = _parts(levels[number - 1])
            ratio = (log(signal / noise) - log(signal_before / noise_before)) / width
            old = -new / (2 * ratio)
            new -= old
    return ScheduleStep(
        time, keep + new * estimate[0], new * estimate[1], add=0.0, before=old, estimate=estimate, draws=False
    )


def _parts(level: float) -> tuple[float, float]:
    """The weights of signal and noise in a latent with so much noise for each part of signal."""
    signal = 1 / sqrt(level**2 + 1)
    return signal, level * signal
