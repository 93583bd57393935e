"""OSEDiff's one step, against the reference program's."""

import pytest
import torch
from osediff_fixtures import SCHEDULER, case
from srcache_plugins.osediff.step import TIME, make_step

from srcache.errors import WeightsError


def test_the_clean_latent_is_the_references():
    meta, tensors = case("b_step")
    step = make_step(SCHEDULER)
    assert step.signal == pytest.approx(meta["sqrt_alpha"], rel=1e-6)
    assert step.noise == pytest.approx(meta["sqrt_one_minus_alpha"], rel=1e-6)
    limit = meta["tolerance"]["x0_max_abs"]
    for dtype, wanted in ((torch.float32, "x0"), (torch.float16, "x0_from_float16_inputs")):
        found = step.clean_latent(tensors["in.latent"].to(dtype), tensors["in.eps"].to(dtype))
        assert found.dtype == torch.float32
        assert (found - tensors[f"expect.{wanted}"]).abs().max() <= limit


def test_it_takes_its_time_from_what_the_model_was_trained_with():
    assert TIME == 999
    with pytest.raises(WeightsError, match="signal at time 999, but it has 500 times"):
        make_step({**SCHEDULER, "num_train_timesteps": 500})
    with pytest.raises(WeightsError, match=r"it has 1000 times, and leaves 0$"):
        make_step({**SCHEDULER, "trained_betas": [1.0] * 1000})
    with pytest.raises(WeightsError, match="predicts v_prediction"):
        make_step({**SCHEDULER, "prediction_type": "v_prediction"})
