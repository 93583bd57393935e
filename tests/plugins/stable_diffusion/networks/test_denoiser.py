"""Stable Diffusion's UNet as it is run, without image transformers, against diffusers' own."""

import pytest
import torch
from osediff_fixtures import base, case
from seesr_fixtures import drawn
from srcache_plugins.stable_diffusion.networks.denoiser import Conditioning, UNet
from srcache_plugins.stable_diffusion.networks.stock import load_stock
from torch.nn import functional


@pytest.fixture(scope="module")
def oracle():
    from diffusers import UNet2DConditionModel

    config = case("weights_unet_A")[0]["config"]
    return load_stock(UNet2DConditionModel, config, base("unet"), "the UNet's checkpoint")


@pytest.fixture(scope="module")
def unet(oracle):
    return UNet(oracle)


def given(unet, time, text):
    return Conditioning(unet.times([time])[0], unet.text(text))


@pytest.mark.parametrize("size", [(8, 8), (9, 15)])
def test_the_noise_is_that_of_the_stock_network(size, unet, oracle):
    latent, text = drawn(2, 4, *size), drawn(2, 77, 24, seed=1)
    with torch.inference_mode():
        found = unet(latent, given(unet, 999, text))
        wanted = oracle(latent, 999, encoder_hidden_states=text).sample
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 2e-6 * wanted.abs().max().clamp(min=1)


def test_without_image_transformers_there_are_no_tables_of_theirs(unet):
    assert unet.images is None
    layers = [layer for group in (*unet.down, unet.middle, *unet.up) for layer in group]
    assert {len(layer.transformers) for layer in layers} == {0, 1}


def test_times_and_keys_are_those_of_each_step_and_attention(unet, oracle):
    blocks = [*oracle.down_blocks, oracle.mid_block, *oracle.up_blocks]
    embedding = functional.silu(oracle.time_embedding(oracle.time_proj(torch.tensor([981, 1]))))
    wanted = torch.cat([resnet.time_emb_proj(embedding) for block in blocks for resnet in block.resnets], -1)
    assert (unet.times([981, 1]) - wanted).abs().max() <= 2e-6
    text = drawn(3, 77, 24)
    found = [each.transformer_blocks[0].attn2 for block in blocks for each in getattr(block, "attentions", ())]
    keys = torch.cat([part(text) for attention in found for part in (attention.to_k, attention.to_v)], -1)
    assert (unet.text(text) - keys).abs().max() <= 2e-6
