"""The layers of SeeSR's UNet and ControlNet against diffusers' own, which compute everything at each call."""

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from seesr_fixtures import drawn
from srcache_plugins.stable_diffusion.networks.blocks import Resnet, Transformer, attention, join_linears, rows_like
from torch import nn
from torch.nn import functional

WIDTH, STATES = 8, 6
"""Channels of the image's features, and of what they attend to."""


@pytest.fixture(autouse=True)
def inference():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def transformer(linear):
    return Transformer2DModel(
        num_attention_heads=2,
        attention_head_dim=WIDTH // 2,
        in_channels=WIDTH,
        norm_num_groups=4,
        cross_attention_dim=STATES,
        use_linear_projection=linear,
    ).eval()


def keys_values(model, states):
    attended = model.transformer_blocks[0].attn2
    return torch.cat([attended.to_k(states), attended.to_v(states)], dim=-1)


def stock_result(model, hidden, states):
    return model(hidden, encoder_hidden_states=states, return_dict=False)[0]


@pytest.mark.parametrize(("width", "divisor"), [(WIDTH, 1.0), (12, 1.0), (12, 2.5)])
def test_a_resnet_with_its_time_projected_is_diffusers(width, divisor):
    block = ResnetBlock2D(
        in_channels=WIDTH, out_channels=width, temb_channels=16, groups=4, output_scale_factor=divisor
    ).eval()
    hidden, embedding = drawn(3, WIDTH, 5, 7), drawn(1, 16, seed=1)
    time = block.time_emb_proj(functional.silu(embedding))[0]
    found = Resnet(block)(hidden, time)
    assert found.shape == (3, width, 5, 7)
    assert (found - block(hidden, embedding)).abs().max() <= 2e-6


@pytest.mark.parametrize("linear", [True, False])
def test_a_transformer_with_its_keys_and_values_made_is_diffusers(linear):
    model, hidden, states = transformer(linear), drawn(2, WIDTH, 5, 7), drawn(2, 9, STATES, seed=1)
    found = Transformer(model)(hidden, keys_values(model, states))
    assert (found - stock_result(model, hidden, states)).abs().max() <= 2e-6
    assert (found - hidden).abs().max() > 0.1


@pytest.mark.parametrize("linear", [True, False])
def test_one_row_is_doubled_where_two_prompts_are_attended_to(linear):
    model, hidden, states = transformer(linear), drawn(2, WIDTH, 4, 3), drawn(4, 9, STATES, seed=1)
    found = Transformer(model)(hidden, keys_values(model, states))
    assert found.shape == (4, WIDTH, 4, 3)
    assert (found - stock_result(model, hidden.repeat(2, 1, 1, 1), states)).abs().max() <= 2e-6


def test_attention_is_softmax_over_the_keys_of_each_head():
    query, key, value = drawn(2, 5, 8), drawn(2, 7, 8, seed=1), drawn(2, 7, 8, seed=2)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = (query[..., part] @ key[..., part].transpose(1, 2) / 2).softmax(-1)
        heads.append(weights @ value[..., part])
    assert (attention(query, key, value, 2) - torch.cat(heads, -1)).abs().max() <= 1e-6


@pytest.mark.parametrize("bias", [True, False])
def test_joined_layers_give_their_outputs_side_by_side(bias):
    layers, given = [nn.Linear(6, width, bias=bias) for width in (3, 5, 1)], drawn(4, 6)
    joined = join_linears(*layers)
    assert torch.equal(joined.weight, torch.cat([layer.weight for layer in layers]))
    torch.testing.assert_close(joined(given), torch.cat([layer(given) for layer in layers], dim=1))
    assert (joined.bias is None) == (not bias)
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in joined.parameters())


def test_rows_are_doubled_only_where_the_other_has_more():
    one, two = drawn(2, 3), drawn(4, 3)
    assert rows_like(one, one.clone()) is one
    assert torch.equal(rows_like(one, two), torch.cat([one, one]))
