import pytest
import torch
from srcache_plugins.seesr.denoiser import ControlNet, Given, UNet
from srcache_plugins.seesr.networks import load_controlnet, load_unet

from srcache.errors import WeightsError
from tests.seesr_fixtures import GOLDEN, case, cases, weights


def loaded(letter):
    return load_unet(*weights(f"unet_{letter}")), load_controlnet(*weights(f"controlnet_{letter}"))


def given(network, timestep, text, images):
    return Given(network.times([timestep])[0], network.text(text), network.images(images))


@pytest.mark.parametrize("name", cases("a_unet"))
def test_one_forward_is_the_reference_s(name):
    meta, tensors = case(name)
    letter = meta["weights"][0][-1]
    stock_unet, stock_controlnet = loaded(letter)
    unet, controlnet = UNet(stock_unet), ControlNet(stock_controlnet, meta["conditioning_scale"])
    timestep = int(tensors["in.timestep"])
    parts = tensors["in.text"], tensors["in.ram_embeds"]
    with torch.inference_mode():
        control = controlnet.embedding(tensors["in.cond_image"])
        residuals = controlnet(tensors["in.sample"], control, given(controlnet, timestep, *parts))
        noise = unet(tensors["in.sample"], given(unet, timestep, *parts), residuals)
        plain = unet(tensors["in.sample"], given(unet, timestep, *parts), [])
    found = {f"out.controlnet_down.{i:02}": residual for i, residual in enumerate(residuals[:-1])}
    found |= {"out.controlnet_mid": residuals[-1], "out.unet": noise, "out.unet_without_controlnet": plain}
    worst = {key: float((value - tensors[key]).abs().max()) for key, value in found.items()}
    print(name, max(worst.values()))
    assert max(worst.values()) <= meta["tolerance"]["max_abs"]
    assert sum(key.startswith("out.") for key in tensors) == len(found)
