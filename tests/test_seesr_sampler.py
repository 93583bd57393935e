import pytest
import torch
from srcache_plugins.seesr.denoiser import ControlNet, UNet
from srcache_plugins.seesr.networks import load_controlnet, load_unet
from srcache_plugins.seesr.sampler import Prompts, Sampler
from srcache_plugins.seesr.schedule import make_schedule
from srcache_plugins.seesr.windows import lay_windows

from srcache.engine import Tiling
from tests.seesr_fixtures import case, cases, weights


class Recorded:
    """Noise as it was recorded."""

    def __init__(self, steps):
        self.steps = list(steps)

    def draw(self):
        return self.steps.pop(0)


@pytest.fixture(scope="module")
def networks():
    unet, controlnet = load_unet(*weights("unet_A")), load_controlnet(*weights("controlnet_A"))
    return lambda scale: (UNet(unet), ControlNet(controlnet, scale))


def embeddings(meta, tensors):
    negative = tensors.get("in.negative_prompt_embeds", torch.zeros(1, 77, 24))
    return tensors["in.prompt_embeds"], negative


@pytest.mark.parametrize("name", [*cases("d_loop"), *(name for name in cases("e_tiled"))])
def test_the_loop_is_the_reference_s_at_every_step(name, networks):
    meta, tensors = case(name)
    call = meta["call"]
    if "in.prompt_embeds" not in tensors:
        pytest.skip("text")
    schedule = make_schedule(meta["scheduler"], call["steps"])
    assert [step.timestep for step in schedule.steps] == meta["timesteps"]
    text, negative = embeddings(meta, tensors)
    picture = tensors["in.image"].permute(2, 0, 1)[None] / 255
    latents = tensors["expect.latents_per_step"]
    start = tensors.get("expect.start_latents", tensors["rand.initial"])
    windows = lay_windows(*start.shape[-2:], Tiling(size=call["tile"], overlap=call["overlap"]))
    with torch.inference_mode():
        sampler = Sampler(*networks(call["conditioning_scale"]), schedule, call["guidance"], negative)
        found = sampler.sample(picture, Prompts(text, tensors["in.ram_embeds"]), start, Recorded(tensors["rand.steps"]), windows)
    error = (found - latents[-1]).abs().max() / latents.abs().max()
    print(name, float(error))
    assert error <= meta["tolerance"]["latents_rel_to_max"]
