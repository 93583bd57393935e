"""The noise schedule that a checkpoint was trained with, from its scheduler's settings."""

from collections.abc import Mapping
from typing import Any

from diffusers import DDPMScheduler

from srcache.errors import WeightsError

USED = {
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("prediction_type", "steps_offset", "timestep_spacing", "rescale_betas_zero_snr"),
}
"""Settings of a scheduler's config.json that count here; published ones name schedulers of other classes, too."""

_SAID = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
"""Those that a config.json must say: diffusers' own betas are those of no Stable Diffusion."""


def require_schedule(config: Mapping[str, Any]) -> Any:
    """diffusers' scheduler of a config.json.

    Raises:
        WeightsError: it lacks what would otherwise be guessed, cannot be, or the model predicts something else than
            noise.
    """
    lacking = [name for name in _SAID if config.get(name) is None and config.get("trained_betas") is None]
    if lacking:
        raise WeightsError(
            f"the scheduler's settings do not say {', '.join(lacking)}, which would be guessed otherwise"
        )
    try:
        scheduler = DDPMScheduler(**{name: value for name, value in config.items() if name in USED})
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"the scheduler's settings cannot be used: {error}") from error
    if scheduler.config.prediction_type != "epsilon":
        kind = scheduler.config.prediction_type
        raise WeightsError(f"expected a model that predicts noise (epsilon), but it predicts {kind}")
    return scheduler
