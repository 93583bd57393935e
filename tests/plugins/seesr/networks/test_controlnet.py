"""SeeSR's UNet and ControlNet as they are run: the reference program's numbers, and those of stock networks."""

import pytest
import torch
from seesr_fixtures import case, cases, drawn
from seesr_oracle import stock_step
from srcache_plugins.seesr.networks.controlnet import predict_noise
from srcache_plugins.stable_diffusion.networks.denoiser import Conditioning
from torch.nn import functional

TAGS = 10


WIDTHS = {"A": 24, "B": 20}


def given(network, timestep, text, images):
    return Conditioning(network.times([timestep])[0], network.text(text), network.images(images))


def distance(left, right):
    return (left - right).abs().max().item()


@pytest.mark.parametrize("name", cases("a_unet"))
def test_one_forward_is_the_references(name, denoisers):
    meta, tensors = case(name)
    unet, controlnet = denoisers(meta["weights"][0][-1], meta["conditioning_scale"])
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
def test_two_rows_of_an_image_are_what_stock_networks_make_of_two_images(
    letter, size, scale, denoisers, stock_denoisers
):
    pair, latent = denoisers(letter, scale), drawn(2, 4, *size)
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
            stock_denoisers(letter),
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


def test_a_prediction_without_a_second_row_is_not_guided(denoisers):
    pair, latent = denoisers("B"), drawn(1, 4, 8, 8)
    with torch.inference_mode():
        control = pair[1].embedding(drawn(1, 3, 64, 64))
        each = tuple(given(network, 1, drawn(1, 77, 20), drawn(1, 5, 512)) for network in pair)
        assert torch.equal(
            predict_noise(*pair, latent, control, each, 9), predict_noise(*pair, latent, control, each, 1)
        )


def test_times_are_those_of_each_step(denoisers, stock_denoisers):
    networks, oracle = denoisers("A"), stock_denoisers("A")
    steps = [981, 501, 261, 1]
    for network, model in zip(networks, oracle, strict=True):
        blocks = [*model.down_blocks, model.mid_block, *getattr(model, "up_blocks", ())]
        table = network.times(steps)
        for row, step in zip(table, steps, strict=True):
            embedding = functional.silu(model.time_embedding(model.time_proj(torch.tensor([step]))))
            each = [resnet.time_emb_proj(embedding)[0] for block in blocks for resnet in block.resnets]
            assert (row - torch.cat(each)).abs().max() <= 2e-6


def test_keys_and_values_are_those_of_each_attention(denoisers, stock_denoisers):
    networks, oracle = denoisers("A"), stock_denoisers("A")
    text, images = drawn(3, 77, 24), drawn(3, TAGS, 512, seed=1)
    for network, model in zip(networks, oracle, strict=True):
        blocks = [*model.down_blocks, model.mid_block, *getattr(model, "up_blocks", ())]
        pairs = [
            (layer, block.image_attentions[number])
            for block in blocks
            for number, layer in enumerate(getattr(block, "attentions", ()))
        ]
        for side, states, table in ((0, text, network.text(text)), (1, images, network.images(images))):
            found = [pair[side].transformer_blocks[0].attn2 for pair in pairs]
            each = torch.cat([part(states) for attention in found for part in (attention.to_k, attention.to_v)], -1)
            assert (table - each).abs().max() <= 2e-6
            alone = torch.cat([network.images(row[None]) if side else network.text(row[None]) for row in states])
            assert (table - alone).abs().max() <= 2e-6


def test_the_control_images_embedding_is_that_of_each_step(denoisers, stock_denoisers):
    networks, oracle = denoisers("A"), stock_denoisers("A")
    images = torch.sigmoid(drawn(3, 3, 64, 72))
    once = networks[1].embedding(images)
    assert (once - oracle[1].controlnet_cond_embedding(images)).abs().max() <= 2e-6
    each = torch.cat([networks[1].embedding(image[None]) for image in images])
    assert (once - each).abs().max() <= 2e-6


def test_what_both_prompts_share_may_be_computed_once(denoisers):
    networks = unet, controlnet = denoisers("A")
    latent, text, images = drawn(2, 4, 8, 9), drawn(4, 77, 24, seed=1), drawn(2, TAGS, 512, seed=2).repeat(2, 1, 1)
    control = drawn(2, 16, 8, 9, seed=3)
    given = [Conditioning(each.times([501])[0], each.text(text), each.images(images)) for each in networks]
    once = controlnet(latent, control, given[1])
    twice = controlnet(latent.repeat(2, 1, 1, 1), control.repeat(2, 1, 1, 1), given[1])
    assert (once[0].shape[0], twice[0].shape[0]) == (2, 4)
    for left, right in zip(once, twice, strict=True):
        assert (left.repeat(4 // len(left), 1, 1, 1) - right).abs().max() <= 2e-6
    noise = unet(latent, given[0], once), unet(latent.repeat(2, 1, 1, 1), given[0], twice)
    assert (noise[0] - noise[1]).abs().max() <= 2e-6
