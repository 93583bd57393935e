"""The layers of a Stable Diffusion UNet over diffusers' modules, with all that can be known beforehand taken out.

A layer gets the time embedding already projected and the keys and values of what it attends to already made; so a step
of the sampler computes only what differs from the last one. With guidance, an image has two rows (negative and
positive prompt) which differ from the first text cross-attention on; up to there one row is computed, and doubled.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Resnet(nn.Module):
    """A stock ResnetBlock2D whose time embedding has been projected beforehand."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.shortcut, self.divisor = block.conv_shortcut, float(block.output_scale_factor)

    def forward(self, hidden: Tensor, time: Tensor) -> Tensor:
        """`hidden` (N, C, h, w), `time` (C',) → (N, C', h, w)."""
        inner = self.conv1(functional.silu(self.norm1(hidden))) + time[None, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        outer = hidden if self.shortcut is None else self.shortcut(hidden)
        summed: Tensor = outer + inner
        return summed if self.divisor == 1 else summed / self.divisor


class Transformer(nn.Module):
    """A stock Transformer2DModel of one block, the keys and values of whose cross-attention are made beforehand."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        (block,) = model.transformer_blocks
        self.norm, self.proj_in, self.proj_out = model.norm, model.proj_in, model.proj_out
        self.linear = bool(model.use_linear_projection)
        self.norms = nn.ModuleList([block.norm1, block.norm2, block.norm3])
        self.heads, self.feed_forward = block.attn1.heads, block.ff
        self.qkv = join_linears(block.attn1.to_q, block.attn1.to_k, block.attn1.to_v)
        self.self_out, self.query, self.cross_out = block.attn1.to_out[0], block.attn2.to_q, block.attn2.to_out[0]

    def forward(self, hidden: Tensor, keys_values: Tensor) -> Tensor:
        """`hidden` (N, C, h, w), `keys_values` (N or 2·N, T, 2·C) → (rows of `keys_values`, C, h, w)."""
        _, _, height, width = hidden.shape
        tokens = self._tokens(self.norm(hidden))
        query, key, value = self.qkv(self.norms[0](tokens)).chunk(3, dim=-1)
        tokens = tokens + self.self_out(attention(query, key, value, self.heads))
        tokens, hidden = rows_like(tokens, keys_values), rows_like(hidden, keys_values)
        key, value = keys_values.chunk(2, dim=-1)
        tokens = tokens + self.cross_out(attention(self.query(self.norms[1](tokens)), key, value, self.heads))
        tokens = tokens + self.feed_forward(self.norms[2](tokens))
        return hidden + self._feature_map(tokens, height, width)

    def _tokens(self, hidden: Tensor) -> Tensor:
        if self.linear:
            return self.proj_in(hidden.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]
        return self.proj_in(hidden).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def _feature_map(self, tokens: Tensor, height: int, width: int) -> Tensor:
        if self.linear:
            return _to_grid(self.proj_out(tokens), height, width)
        return self.proj_out(_to_grid(tokens, height, width))  # type: ignore[no-any-return]


def _to_grid(tokens: Tensor, height: int, width: int) -> Tensor:
    """(N, h·w, C) → (N, C, h, w), without moving anything."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention; (N, T, C) each, the channels divided among heads."""
    query, key, value = (each.view(*each.shape[:2], heads, -1).transpose(1, 2) for each in (query, key, value))
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def rows_like(hidden: Tensor, other: Tensor) -> Tensor:
    """`hidden`, doubled if `other` already has a row each for the negative and the positive prompt."""
    return hidden if hidden.shape[0] == other.shape[0] else torch.cat([hidden, hidden])


def join_linears(*layers: nn.Linear) -> nn.Linear:
    """Linear layers of one input as one layer, whose outputs lie side by side."""
    weight = torch.cat([each.weight for each in layers])
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=layers[0].bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if layers[0].bias is not None:
        layer.bias = nn.Parameter(torch.cat([each.bias for each in layers]), requires_grad=False)
    return layer
