"""diffusers' models with a checkpoint's tensors, and what is refused."""

import pytest
import torch
from osediff_fixtures import base, case
from srcache_plugins.stable_diffusion.networks.stock import known_settings, load_stock

from srcache.errors import WeightsError


def load(config, tensors, **given):
    from diffusers import UNet2DConditionModel

    return load_stock(UNet2DConditionModel, config, tensors, "the cat's checkpoint", **given)


CONFIG = case("weights_unet_A")[0]["config"]


def test_a_model_is_built_as_its_settings_say_and_takes_the_tensors():
    tensors = base("unet")
    model = load(CONFIG, tensors)
    assert not model.training
    assert {name for name, place in model.state_dict().items() if torch.equal(place, tensors[name])} == set(tensors)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_it_may_be_changed_before_it_takes_them():
    def longer(model):
        model.extra = torch.nn.Linear(1, 1)
        return model

    with pytest.raises(WeightsError, match=r"the cat's checkpoint .* 2 missing: extra\.weight, extra\.bias"):
        load(CONFIG, base("unet"), changed=longer)


def test_settings_of_a_network_that_is_not_ours_are_refused():
    from diffusers import UNet2DConditionModel

    tensors = base("unet")
    unset = {"_diffusers_version": "0.21.0", "_class_name": "X", "from_another_version": None, "off": False, "no": 0}
    load(CONFIG | unset, tensors)
    assert known_settings(UNet2DConditionModel, {"use_image_cross_attention": True, "sample_size": 8}) == {
        "sample_size": 8
    }
    with pytest.raises(WeightsError, match=r"UNet2DConditionModel has settings .*: use_lidar: True, depth: 3$"):
        load(CONFIG | {"use_lidar": True, "depth": 3}, tensors)
