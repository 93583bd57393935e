"""SeeSR's UNet and ControlNet: the reference program's numbers, stock networks' numbers, and what is refused."""

import json

import pytest
import torch
from seesr_fixtures import GOLDEN, weights
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet, with_image_transformers
from srcache_plugins.stable_diffusion.networks.stock import known_settings

from srcache.errors import WeightsError

LOADERS = {"unet": load_unet, "controlnet": load_controlnet}


def test_image_transformers_may_come_from_a_file_of_their_own():
    config, tensors = weights("unet_B")
    base = {name: tensor for name, tensor in tensors.items() if "image_attentions" not in name}
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    found = load_unet(config, base, other).state_dict()
    assert set(found) == set(tensors)
    for name, tensor in found.items():
        assert torch.equal(tensor, (other if "image_attentions" in name else base)[name]), name


@pytest.mark.parametrize("kind", LOADERS)
def test_what_a_checkpoint_lacks_or_has_too_much_is_named(kind):
    config, tensors = weights(f"{kind}_B")
    lost = "mid_block.image_attentions.0.proj_in.weight"
    short = {name: tensor for name, tensor in tensors.items() if name != lost}
    for changed, words in [
        (short, rf"1 missing: {lost}$"),
        (tensors | {"extra.bias": torch.zeros(1)}, r"1 without a place: extra\.bias$"),
        (tensors | {lost: torch.zeros(2, 3)}, r"1 of another shape: .*proj_in\.weight \(2, 3\) \(expected \(24, 24"),
        (short | {"x": torch.zeros(1), "conv_in.bias": torch.zeros(3)}, "1 missing.*1 without a place.*1 of another"),
    ]:
        with pytest.raises(WeightsError, match=words):
            LOADERS[kind](config, changed)


def test_a_plain_unet_without_image_transformers_is_refused():
    config, tensors = weights("unet_B")
    base = {name: tensor for name, tensor in tensors.items() if "image_attentions" not in name}
    for images in (None, {}, base):
        with pytest.raises(WeightsError, match=r"missing: .*image_attentions.* …"):
            load_unet(config, base, images)


@pytest.mark.parametrize("kind", LOADERS)
def test_the_published_networks_have_these_names_and_shapes(kind):
    from diffusers import ControlNetModel, UNet2DConditionModel

    facts = json.loads((GOLDEN / f"full/{kind}_params.json").read_text(encoding="utf-8"))
    config = json.loads((GOLDEN / "full/configs.json").read_text(encoding="utf-8"))[kind]["config"]
    stock_kind = {"unet": UNet2DConditionModel, "controlnet": ControlNetModel}[kind]
    with torch.device("meta"):
        model = with_image_transformers(stock_kind(**known_settings(stock_kind, config)))
    tensors = model.state_dict()
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {row[0]: row[1] for row in facts["rows"]}
    assert sum(tensor.numel() for tensor in tensors.values()) == facts["param_count"]
    images = sum(tensor.numel() for name, tensor in tensors.items() if "image_attentions" in name)
    assert images == facts["image_attention_params"]
