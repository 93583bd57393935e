"""What SeeSR's loop computes once instead of at each step: the same numbers, and how many products fewer.

That nothing is looked at from the host is shown on the meta device, where there is nothing to be seen.
"""

from functools import partial

import pytest
import torch
from seesr_fixtures import RecordedNoise, case, weights
from seesr_oracle import stock_step
from srcache_plugins.seesr.networks.controlnet import ControlNet
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet
from srcache_plugins.seesr.sampling.sampler import Prompts, Sampler
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.stable_diffusion import windows as windows_module
from srcache_plugins.stable_diffusion.networks.denoiser import UNet
from srcache_plugins.stable_diffusion.noise import Noise
from srcache_plugins.stable_diffusion.windows import lay_windows
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from srcache.engine.interface import Tiling

CONFIG = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]
IMAGES, TAGS, SIZE = 2, 10, (8, 8)
META = torch.device("meta")
KINDS = "UNet2DConditionModel", "ControlNetModel"


@pytest.fixture(scope="module")
def small(denoisers):
    return denoisers("B")


@pytest.fixture(scope="module")
def weightless():
    pair = UNet(load_unet(*weights("unet_B"))), ControlNet(load_controlnet(*weights("controlnet_B")), 1.0)
    return tuple(network.to(META) for network in pair)


@pytest.fixture(scope="module")
def plain(stock_denoisers):
    """The products of one step as stock networks compute it for guided images, module by module."""
    models, rows = stock_denoisers("B"), 2 * IMAGES
    states = torch.zeros(rows, 77, 20), torch.zeros(rows, TAGS, 512)
    latent, control_image = torch.zeros(rows, 4, *SIZE), torch.zeros(rows, 3, 64, 64)
    found = counted(lambda: stock_step(models, latent, control_image, (501, *states), 1.0)).get_flop_counts()
    return {name: sum(counts.values()) for name, counts in found.items()}


@pytest.fixture(scope="module")
def counts(small):
    """The products of complete runs of some steps: of what is made before the first image, and of a batch."""
    return {steps: (products(partial(sampler, small, steps)), of_batch(small, steps)) for steps in (1, 2, 4)}


def counted(act):
    """Attention is computed as two products of matrices, so that it counts."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        act()
    return counter


def products(act):
    return counted(act).get_total_flops()


def of_batch(pair, steps, guidance=5.5):
    ready = sampler(pair, steps, guidance)
    return products(lambda: sampled(ready))


def total(plain, *endings):
    """Of the modules of both networks whose names end so; of the networks themselves, if none is named."""
    return sum(count for name, count in plain.items() if name.startswith(KINDS) and name.endswith(endings or KINDS))


def sampler(pair, steps, guidance=5.5):
    negative = torch.zeros(1, 77, 20, device=pair[0].conv_in.weight.device)
    with torch.no_grad():
        return Sampler(*pair, make_schedule(CONFIG, steps), guidance, negative)


def sampled(chosen, windows=None, size=SIZE, noise=None):
    like = chosen._negative[0].new_zeros
    prompts, start = Prompts(like(IMAGES, 77, 20), like(IMAGES, TAGS, 512)), like(IMAGES, 4, *size)
    noise = noise or RecordedNoise([start] * len(chosen.schedule.steps))
    with torch.no_grad():
        return chosen.sample(like(IMAGES, 3, 8 * size[0], 8 * size[1]), prompts, start, noise, windows)


def test_a_batch_is_a_fixed_part_and_one_for_each_step(counts):
    batches = {steps: batch for steps, (_, batch) in counts.items()}
    step = batches[2] - batches[1]
    fixed = batches[1] - step
    assert batches == {steps: fixed + steps * step for steps in batches}
    assert fixed > 0


def test_the_part_for_each_step_has_no_product_that_was_saved(counts, plain):
    step = counts[2][1] - counts[1][1]
    once = total(plain, ".time_embedding", ".time_emb_proj", ".attn2.to_k", ".attn2.to_v", ".controlnet_cond_embedding")
    first = ".down_blocks.0.attentions.0"
    shared = total(
        plain,
        *("Model.conv_in", ".down_blocks.0.resnets.0.conv1", ".down_blocks.0.resnets.0.conv2"),
        *(f"{first}.proj_in", f"{first}.transformer_blocks.0.attn1", ".controlnet_down_blocks.0"),
    )
    assert step == total(plain) - once - shared // 2
    assert once > 0.1 * total(plain)
    assert shared > 0.02 * total(plain)


def test_the_fixed_part_is_each_images_own_conditions_once(counts, plain):
    step, batch = counts[2][1] - counts[1][1], counts[1][1]
    rows_of_stock = total(plain, ".controlnet_cond_embedding", ".attn2.to_k", ".attn2.to_v")
    assert batch - step == rows_of_stock // 2, "a row for each image, and not for each prompt"


def test_a_run_makes_times_once_and_the_negative_prompts_keys_once(counts, plain):
    made = {steps: before for steps, (before, _) in counts.items()}
    rows = 2 * IMAGES
    text = sum(
        count
        for name, count in plain.items()
        if name.startswith(KINDS) and name.endswith((".attn2.to_k", ".attn2.to_v")) and ".image_attentions" not in name
    )
    images = total(plain, ".attn2.to_k", ".attn2.to_v") - text
    assert images > 0
    of_step = total(plain, ".time_embedding", ".time_emb_proj") // rows
    assert made == {steps: text // rows + steps * of_step for steps in made}


def test_without_guidance_half_the_rows_are_computed(small, counts, plain):
    step, guided = counts[2][1] - counts[1][1], counts[1][1]
    once = total(plain, ".time_embedding", ".time_emb_proj", ".attn2.to_k", ".attn2.to_v", ".controlnet_cond_embedding")
    assert of_batch(small, 1, guidance=1.0) == guided - step + (total(plain) - once) // 2


def test_windows_in_several_calls_share_what_is_made_once(small, monkeypatch):
    monkeypatch.setattr(windows_module, "WINDOWS_AT_ONCE", 2)
    windows, size, calls = lay_windows(8, 12, Tiling(size=8, overlap=4)), (8, 12), []
    ready = sampler(small, 3)
    made = {"control": small[1].embedding, "text": small[1].text, "images": small[1].images}
    hooks = [
        module.register_forward_hook(lambda module, given, found, name=name: calls.append((name, given[0].shape[0])))
        for name, module in made.items()
    ]
    sampled(ready, windows, size)
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == [("control", 2), ("control", 2), ("images", IMAGES), ("text", IMAGES)]


class OnDevice(TorchDispatchMode):
    """Notes each tensor that is sent to the device, and refuses what would wait for one from there."""

    WAITS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")

    def __init__(self):
        super().__init__()
        self.sent = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.overloadpacket.__name__, kwargs or {}
        values = [each for each in args if isinstance(each, torch.Tensor)]
        waits = any(each.is_meta for each in values) and name in self.WAITS
        if name == "_to_copy" and values[0].is_meta:
            waits |= kwargs.get("device", META) != META
        if name == "copy_":
            waits |= values[1].is_meta and not values[0].is_meta
        assert not waits, f"{name} waits for the device"
        found = function(*args, **kwargs)
        self.sent += name in ("_to_copy", "copy_") and found.is_meta and not values[-1].is_meta
        return found


@pytest.mark.parametrize("tiling", [None, Tiling(size=8, overlap=4), Tiling(size=4, overlap=2)])
def test_the_loop_waits_for_nothing_and_sends_noise_alone(weightless, tiling):
    size, sent = (8, 12), []
    windows = lay_windows(*size, tiling)
    if windows:
        windows.averaged(torch.zeros(len(windows.places), 4, windows.side, windows.side, device=META), *size)
    for steps in (1, 3):
        ready = sampler(weightless, steps)
        if windows is None or len(windows.places) > 2:
            ready.run = lambda latent, *rest: latent  # the networks themselves are in the other case
        noise = Noise([1] * IMAGES, size, META, parity=False, guided=True)
        with OnDevice() as mode:
            sampled(ready, windows, size, noise)
        sent.append(mode.sent)
    assert sent == [1, 3], "one noise for each step"


@pytest.mark.parametrize(
    "act",
    [
        lambda tensor: tensor.to("cpu"),
        lambda tensor: torch.zeros(2).copy_(tensor),
        lambda tensor: tensor.sum().item(),
        lambda tensor: tensor.tolist(),
        lambda tensor: tensor.nonzero(),
        lambda tensor: bool((tensor > 0).all()),
    ],
)
def test_what_would_wait_is_noticed(act):
    with pytest.raises((AssertionError, RuntimeError), match=r"waits|meta"), OnDevice():
        act(torch.zeros(2, device=META))
    with OnDevice() as mode:
        torch.zeros(2).to(META)
    assert mode.sent == 1
