"""SeeSR's UNet and ControlNet: the reference program's numbers, stock networks' numbers, and what is refused."""

import json

import pytest
import torch
from seesr_fixtures import GOLDEN, case, cases, drawn, weights
from seesr_oracle import stock, stock_step
from srcache_plugins.seesr.networks.denoiser import Conditioning, ControlNet, UNet, predict_noise
from srcache_plugins.seesr.networks.stock import known_settings, load_controlnet, load_unet, with_image_transformers

from srcache.errors import WeightsError

WIDTHS = {"A": 24, "B": 20}
LOADERS = {"unet": load_unet, "controlnet": load_controlnet}


@pytest.fixture(scope="module")
def networks():
    models = {letter: (load_unet(*weights(f"unet_{letter}")), load_controlnet(*weights(f"controlnet_{letter}")))
              for letter in WIDTHS}  # fmt: skip
    return lambda letter, scale: (UNet(models[letter][0]), ControlNet(models[letter][1], scale))


@pytest.fixture(scope="module")
def oracle():
    return {letter: stock(letter) for letter in WIDTHS}


def given(network, timestep, text, images):
    return Conditioning(network.times([timestep])[0], network.text(text), network.images(images))


def distance(left, right):
    return (left - right).abs().max().item()


@pytest.mark.parametrize("name", cases("a_unet"))
def test_one_forward_is_the_references(name, networks):
    meta, tensors = case(name)
    unet, controlnet = networks(meta["weights"][0][-1], meta["conditioning_scale"])
    timestep, parts = int(tensors["in.timestep"]), (tensors["in.text"], tensors["in.ram_embeds"])
    with torch.inference_mode():
        control = controlnet.embedding(tensors["in.cond_image"])
        residuals = controlnet(tensors["in.sample"], control, given(controlnet, timestep, *parts))
        noise = unet(tensors["in.sample"], given(unet, timestep, *parts), residuals)
        plain = unet(tensors["in.sample"], given(unet, timestep, *parts), [])
    found = {f"out.controlnet_down.{i:02}": residual for i, residual in enumerate(residuals[:-1])}
    found |= {"out.controlnet_mid": residuals[-1], "out.unet": noise, "out.unet_without_controlnet": plain}
    worst = {key: distance(value, tensors[key]) for key, value in found.items()}
    assert max(worst.values()) <= meta["tolerance"]["max_abs"], worst
    assert sum(key.startswith("out.") for key in tensors) == len(found)


@pytest.mark.parametrize(
    ("letter", "size", "scale"), [("A", (8, 8), 1.0), ("A", (9, 15), 0.7), ("B", (8, 12), 1.0), ("B", (5, 7), 0.3)]
)
def test_two_rows_of_an_image_are_what_stock_networks_make_of_two_images(letter, size, scale, networks, oracle):
    pair, latent = networks(letter, scale), drawn(2, 4, *size)
    control_image = torch.sigmoid(drawn(2, 3, 8 * size[0], 8 * size[1], seed=1))
    text, images = drawn(4, 77, WIDTHS[letter], seed=2), drawn(2, 20, 512, seed=3)
    with torch.inference_mode():
        control = pair[1].embedding(control_image)
        both = [given(network, 501, text, torch.cat([images, images])) for network in pair]
        doubled = pair[0](latent, both[0], pair[1](latent, control, both[1]))
        halves = []
        for half in (text[:2], text[2:]):
            each = [given(network, 501, half, images) for network in pair]
            halves.append(pair[0](latent, each[0], pair[1](latent, control, each[1])))
        wanted = stock_step(
            oracle[letter],
            torch.cat([latent, latent]),
            torch.cat([control_image, control_image]),
            (501, text, torch.cat([images, images])),
            scale,
        )
        mixed = predict_noise(*pair, latent, control, tuple(both), 5.5)
    assert doubled.shape == (4, 4, *size)
    assert distance(doubled, torch.cat(halves)) <= 2e-6
    assert distance(doubled, wanted) <= 2e-6
    negative, positive = wanted.chunk(2)
    assert distance(negative, positive) > 0.05
    assert distance(mixed, negative + 5.5 * (positive - negative)) <= 2e-6 * 10  # guidance widens rounding


def test_a_prediction_without_a_second_row_is_not_guided(networks):
    pair, latent = networks("B", 1.0), drawn(1, 4, 8, 8)
    with torch.inference_mode():
        control = pair[1].embedding(drawn(1, 3, 64, 64))
        each = tuple(given(network, 1, drawn(1, 77, 20), drawn(1, 5, 512)) for network in pair)
        assert torch.equal(
            predict_noise(*pair, latent, control, each, 9), predict_noise(*pair, latent, control, each, 1)
        )


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


def test_settings_of_a_network_that_is_not_ours_are_refused():
    from diffusers import UNet2DConditionModel

    config, tensors = weights("unet_B")
    unset = {"_diffusers_version": "0.21.0", "_class_name": "X", "from_another_version": None, "off": False, "no": 0}
    load_unet(config | unset, tensors)
    assert known_settings(UNet2DConditionModel, {"use_image_cross_attention": True, "sample_size": 8}) == {
        "sample_size": 8
    }
    with pytest.raises(WeightsError, match=r"UNet2DConditionModel has settings .*: use_lidar: True, depth: 3$"):
        load_unet(config | {"use_lidar": True, "depth": 3}, tensors)


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
