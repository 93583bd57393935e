"""The noise schedule of a scheduler's settings: what counts of them, and what is refused."""

import pytest
import torch
from osediff_fixtures import SCHEDULER
from srcache_plugins.stable_diffusion.schedule import require_schedule

from srcache.errors import WeightsError


def test_the_betas_are_the_published_ones():
    found = require_schedule(SCHEDULER).alphas_cumprod
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    assert torch.equal(found, torch.cumprod(1 - betas, 0))
    assert torch.equal(require_schedule({**SCHEDULER, "_class_name": "X", "skip_prk_steps": 7}).alphas_cumprod, found)


@pytest.mark.parametrize("name", ["num_train_timesteps", "beta_start", "beta_end", "beta_schedule"])
def test_nothing_is_guessed(name):
    with pytest.raises(WeightsError, match=f"do not say {name}, which would be guessed"):
        require_schedule({**SCHEDULER, name: None})


def test_a_model_that_predicts_something_else_is_refused():
    with pytest.raises(WeightsError, match="predicts v_prediction"):
        require_schedule({**SCHEDULER, "prediction_type": "v_prediction"})


@pytest.mark.parametrize("change", [{"beta_schedule": "of its own"}, {"beta_start": "much"}])
def test_settings_that_cannot_be_used_are_refused_in_words(change):
    with pytest.raises(WeightsError, match="the scheduler's settings cannot be used"):
        require_schedule({**SCHEDULER, **change})
