"""The halves of a VAE as flat sequences of steps, for a tile that has to stop wherever the network normalises.

The modules are diffusers'. Only what lies between them is written here: residual sums, activations, and the attention,
which normalises in its midst.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu


@dataclass(frozen=True, slots=True)
class Shared:
    """Wait for all tiles, and normalise with the statistics that they have in common.

    Attributes:
        norm: has the groups, the weights and epsilon.
        branch: what is kept of the tensor as it came, for the sum at the end of a residual path.
    """

    norm: nn.GroupNorm
    branch: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, slots=True)
class JoinedSteps:
    """Add what was branched off, at the end of a residual path."""


Step = Callable[[Tensor], Tensor] | Shared | JoinedSteps


def encoder_steps(encoder: Any) -> Iterator[Step]:
    """What diffusers' VAE encoder does, step by step."""
    yield encoder.conv_in
    for block in encoder.down_blocks:
        yield from _block_steps(block, block.downsamplers)
    yield from _middle_steps(encoder.mid_block)
    yield from _last_steps(encoder)


def decoder_steps(decoder: Any) -> Iterator[Step]:
    """What diffusers' VAE decoder does, step by step."""
    yield decoder.conv_in
    yield from _middle_steps(decoder.mid_block)
    for block in decoder.up_blocks:
        yield from _block_steps(block, block.upsamplers)
    yield from _last_steps(decoder)


def _block_steps(block: Any, resamplers: Any) -> Iterator[Step]:
    for resnet in block.resnets:
        yield from _resnet_steps(resnet)
    yield from resamplers or ()


def _middle_steps(block: Any) -> Iterator[Step]:
    first, *others = block.resnets
    yield from _resnet_steps(first)
    for attention, resnet in zip(block.attentions, others, strict=True):
        yield from (Shared(attention.group_norm, _same), _Attention(attention), JoinedSteps())
        yield from _resnet_steps(resnet)


def _resnet_steps(block: Any) -> Iterator[Step]:
    yield from (Shared(block.norm1, block.conv_shortcut or _same), _silu, block.conv1)
    yield from (Shared(block.norm2), _silu, block.conv2, JoinedSteps())


def _last_steps(network: Any) -> Iterator[Step]:
    yield from (Shared(network.conv_norm_out), _silu, network.conv_out)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _silu(normalised: Tensor) -> Tensor:
    return silu(normalised, inplace=True)


@dataclass(frozen=True, slots=True)
class _Attention:
    """One-headed self-attention over the cells of a tile, without its normalisation and its residual sum."""

    module: Any

    def __call__(self, normalised: Tensor) -> Tensor:
        tokens = normalised.flatten(2).transpose(1, 2)
        query, key, value = (part(tokens)[:, None] for part in (self.module.to_q, self.module.to_k, self.module.to_v))
        mixed: Tensor = self.module.to_out[0](scaled_dot_product_attention(query, key, value)[:, 0])
        return torch.empty_like(normalised).copy_(mixed.transpose(1, 2).reshape(normalised.shape))
