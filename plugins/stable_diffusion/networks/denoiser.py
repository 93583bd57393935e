"""One prediction of noise by Stable Diffusion's UNet, computing at each step only what is new in it.

What stays is made once: the projected time embeddings of all steps, and the keys and values of the text for all
cross-attentions of a network, which are one matrix product. Behind a transformer for the text, a network may have one
for embeddings of images, as SeeSR's has.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import Resnet, Transformer, join_linears, rows_like


class Conditioning(NamedTuple):
    """What one of the two networks is conditioned on: the time of the step, the prompts and the images, all projected.

    Attributes:
        time: (S,) the projections of one time embedding for all resnets, side by side; a row of
            `DenoisingNetwork.times`.
        text: (N, 77, K) keys and values of the prompts, from `DenoisingNetwork.text`.
        images: (N, T, K) keys and values of the tagger's image embeddings, from `DenoisingNetwork.images`, for networks
            that attend to them.
    """

    time: Tensor
    text: Tensor
    images: Tensor | None = None


class Layer(nn.Module):
    """A resnet, and transformers behind it if the block attends: one to the text, and perhaps one to the images."""

    def __init__(self, resnet: Any, transformers: Sequence[Any], time: slice, keys: slice) -> None:
        super().__init__()
        self.resnet = Resnet(resnet)
        self.transformers = nn.ModuleList(Transformer(each) for each in transformers)
        self.time, self.keys = time, keys

    def forward(self, hidden: Tensor, conditioning: Conditioning) -> Tensor:
        """(N, C, h, w) → (N or 2·N, C', h, w)."""
        hidden = self.resnet(hidden, conditioning.time[self.time])
        for transformer, tables in zip(self.transformers, (conditioning.text, conditioning.images), strict=False):
            hidden = transformer(hidden, tables[..., self.keys])  # type: ignore[index]
        return hidden


class DenoisingNetwork(nn.Module):
    """The down path and middle of a UNet, taken from a stock model; a ControlNet has them, too."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._times = self._keys = 0
        self.conv_in, self.time_sinusoid, self.time_embedding = model.conv_in, model.time_proj, model.time_embedding
        self.down = nn.ModuleList(nn.ModuleList(self._layers(block)) for block in model.down_blocks)
        self.downsamplers = nn.ModuleList(
            block.downsamplers[0] if block.downsamplers else nn.Identity() for block in model.down_blocks
        )
        self.middle = nn.ModuleList(self._layers(model.mid_block))
        self.up = nn.ModuleList(nn.ModuleList(self._layers(block)) for block in getattr(model, "up_blocks", ()))
        self.time = join_linears(*(resnet.time_emb_proj for resnet in _resnets(model)))
        attending = zip(*(found for block in _blocks(model) for found in _transformers(block)), strict=True)
        self.text, *images = (join_linears(*_keys_and_values(each)) for each in attending)
        self.images = images[0] if images else None

    def times(self, timesteps: Sequence[int]) -> Tensor:
        """The projected time embeddings of some steps, (steps, S)."""
        device, dtype = self.time.weight.device, self.time.weight.dtype
        sinusoids = self.time_sinusoid(torch.tensor(list(timesteps), device=device))
        return self.time(functional.silu(self.time_embedding(sinusoids.to(dtype))))  # type: ignore[no-any-return]

    def descend(self, hidden: Tensor, conditioning: Conditioning) -> tuple[Tensor, list[Tensor]]:
        """From the first convolution's output to that of the middle; also what each layer hands to the up path."""
        skips = [hidden]
        for layers, downsampler in zip(self.down, self.downsamplers, strict=True):
            for layer in layers:  # type: ignore[attr-defined]
                hidden = layer(hidden, conditioning)
                skips.append(hidden)
            if not isinstance(downsampler, nn.Identity):
                hidden = downsampler(hidden)
                skips.append(hidden)
        for layer in self.middle:
            hidden = layer(hidden, conditioning)
        return hidden, skips

    def _layers(self, block: Any) -> list[Layer]:
        """A block's layers, each with its slice of the `Conditioning`."""
        behind = _transformers(block)
        behind += [()] * (len(block.resnets) - len(behind))
        return [self._layer(resnet, transformers) for resnet, transformers in zip(block.resnets, behind, strict=True)]

    def _layer(self, resnet: Any, transformers: Sequence[Any]) -> Layer:
        time = slice(self._times, self._times + resnet.out_channels)
        keys = slice(self._keys, self._keys + (2 * transformers[0].inner_dim if transformers else 0))
        self._times, self._keys = time.stop, keys.stop
        return Layer(resnet, transformers, time, keys)


class UNet(DenoisingNetwork):
    """Stable Diffusion's UNet: predicts the noise in a latent.

    Args:
        model: a stock UNet2DConditionModel, with image transformers or without; its modules are taken over.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.upsamplers = nn.ModuleList(
            block.upsamplers[0].conv if block.upsamplers else nn.Identity() for block in model.up_blocks
        )
        self.norm_out, self.conv_out = model.conv_norm_out, model.conv_out

    def forward(self, latent: Tensor, conditioning: Conditioning, residuals: Sequence[Tensor] = ()) -> Tensor:
        """The predicted noise (rows of `conditioning`, 4, h, w).

        Args:
            latent: (B, 4, h, w).
            conditioning: of B rows, or of 2·B with the negative prompts' first.
            residuals: from the ControlNet; empty for a prediction without it.
        """
        hidden, skips = self.descend(self.conv_in(latent), conditioning)
        if residuals:
            skips = [skip + residual for skip, residual in zip(skips, residuals[:-1], strict=True)]
            hidden = hidden + residuals[-1]
        for layers, upsampler in zip(self.up, self.upsamplers, strict=True):
            for layer in layers:  # type: ignore[attr-defined]
                hidden = layer(torch.cat([hidden, rows_like(skips.pop(), hidden)], dim=1), conditioning)
            if not isinstance(upsampler, nn.Identity):
                hidden = upsampler(functional.interpolate(hidden, size=skips[-1].shape[-2:], mode="nearest"))
        return self.conv_out(functional.silu(self.norm_out(hidden)))  # type: ignore[no-any-return]


def _blocks(model: Any) -> list[Any]:
    """In the order in which `DenoisingNetwork` takes them apart."""
    return [*model.down_blocks, model.mid_block, *getattr(model, "up_blocks", ())]


def _resnets(model: Any) -> Iterator[Any]:
    for block in _blocks(model):
        yield from block.resnets


def _transformers(block: Any) -> list[tuple[Any, ...]]:
    """The transformers behind each resnet that has any: the text's, and the images' if the block has them."""
    if not getattr(block, "has_cross_attention", False):
        return []
    return list(zip(block.attentions, *filter(None, [getattr(block, "image_attentions", None)]), strict=True))


def _keys_and_values(transformers: Sequence[Any]) -> Iterator[Any]:
    for transformer in transformers:
        attention = transformer.transformer_blocks[0].attn2
        yield from (attention.to_k, attention.to_v)
