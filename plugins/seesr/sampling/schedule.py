"""The sampler's arithmetic (DDPM, Ho et al., NeurIPS 2020), as numbers known before the first step."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from torch import Tensor

from srcache.errors import EngineError, WeightsError

from ...stable_diffusion.schedule import require_schedule

START = 999
"""The time whose noise a start from the LR image gets, though the first prediction is made for an earlier one."""


@dataclass(frozen=True, slots=True)
class ScheduleStep:
    """One step: `latent · keep + noise prediction · remove + fresh noise · add` is the next latent.

    A solver of the second order adds the clean latent that the step before this one estimated, times `before`; a step
    estimates it as `latent · estimate[0] + noise prediction · estimate[1]`, if it does. `draws` is whether fresh noise
    is drawn.
    """

    timestep: int
    keep: float
    remove: float
    add: float
    before: float = 0.0
    estimate: tuple[float, float] | None = None
    draws: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """All steps of a run, and how a start from the LR image mixes its latent with noise.

    Attributes:
        steps: in the order in which they are taken.
        image: the weight of the LR image's latent at the start.
        noise: the weight of the noise there.
    """

    steps: tuple[ScheduleStep, ...]
    image: float
    noise: float

    def start_latent(self, encoded: Tensor, noise: Tensor) -> Tensor:
        """The latent to begin with, from the LR image's scaled latent and noise, of one shape each."""
        return encoded * self.image + noise * self.noise


def make_schedule(config: Mapping[str, Any], steps: int) -> Schedule:
    """The steps of DDPM ancestral sampling with the variance `fixed_small`.

    Args:
        config: a scheduler's config.json; its betas and the spacing of its timesteps are what counts.
        steps: how many.

    Raises:
        EngineError: more steps than the model was trained with, or its first time is beyond those it was trained with.
        WeightsError: the model predicts something else than noise, or its schedule ends in nothing but noise.
    """
    scheduler = require_schedule(config)
    trained = int(scheduler.config.num_train_timesteps)
    if not 1 <= steps <= trained:
        raise EngineError(f"steps must be from 1 to {trained}, but is {steps}")
    scheduler.set_timesteps(steps)
    kept = scheduler.alphas_cumprod.double().tolist()
    times = scheduler.timesteps.tolist()
    if max(times) >= trained:
        first = max(times)
        raise EngineError(f"{steps} steps begin at time {first} of a model that knows 0 to {trained - 1}; take fewer")
    if min(kept) <= 0:
        raise WeightsError("expected a noise schedule that leaves some signal at each time, but this one leaves none")
    steps_taken = tuple(_step(time, kept, time - trained // steps) for time in times)
    return Schedule(steps_taken, *start_weights(scheduler))


def start_weights(scheduler: Any) -> tuple[float, float]:
    """How much the LR image's latent and the noise count at the start, by diffusers' scheduler."""
    kept = scheduler.alphas_cumprod.double().tolist()
    start = kept[min(START, len(kept) - 1)]
    return sqrt(start), sqrt(1 - start)


def _step(time: int, kept: list[float], before: int) -> ScheduleStep:
    """How one step weighs latent, prediction and fresh noise; `kept` is the share of signal at each time (ᾱ)."""
    now, then = kept[time], kept[before] if before >= 0 else 1.0
    alpha = now / then
    beta = 1 - alpha
    clean, direct = sqrt(then) * beta / (1 - now), sqrt(alpha) * (1 - then) / (1 - now)
    spread = sqrt(max(beta * (1 - then) / (1 - now), 1e-20)) if time > 0 else 0.0
    return ScheduleStep(time, direct + clean / sqrt(now), -clean * sqrt(1 - now) / sqrt(now), spread)
