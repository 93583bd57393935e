"""The VAE between images and latents: diffusers' AutoencoderKL, tiled by SeeSR's rule where an image is large."""

import copy
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from srcache.errors import EngineError, WeightsError

from ..checkpoints import fit
from ..geometry import CELL
from .convolutions import make_exact
from .vae_steps import Step, decoder_steps, encoder_steps
from .vae_tiles import Measure, assemble, cut, lay_out, measure_moments, run_tiles

SCALING_FACTOR = 0.18215
"""What latents are multiplied by for the diffusion, unless the configuration says otherwise."""

ENCODER_PAD = 32
"""Pixels around an encoder's tile."""

_AT_WORK = 3
"""What the tile at work needs beside its state, in sizes of that: a convolution's input, result and workspace."""

DECODER_PAD = 11
"""Cells of latents around a decoder's tile."""

_KIND: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "act_fn": "silu",
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
"""What a configuration must say for the VAE to be one of Stable Diffusion's kind."""

Act = Callable[[Tensor], Tensor]
"""A call of networks, for one image or several of one size."""

_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

_OLD = re.compile(r"((?:encoder|decoder)\.mid_block\.attentions\.0\.)(query|key|value|proj_attn)(\.weight|\.bias)")
_NEW = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True, slots=True)
class _Half:
    """One half of the network, and how it is tiled: `pad` and `tile` in cells of its input.

    `block` is the resnet at which a tile's state is largest.
    """

    network: Any
    steps: Callable[[Any], Iterable[Step]]
    tile: int
    pad: int
    scale: Fraction
    block: Any

    @property
    def widest(self) -> int:
        """A waiting tile's values for each cell of the input, at most: its state, and what was branched off."""
        channels = self.block.conv1.in_channels + self.block.conv1.out_channels
        return int(channels * max(Fraction(1), self.scale) ** 2)

    def is_tiled(self, images: Tensor) -> bool:
        """Whether images (N, C, H, W) are larger than one tile with its margins."""
        return max(images.shape[-2:]) > self.tile + 2 * self.pad

    def run(self, image: Tensor, park: bool | None, measure: Measure) -> Tensor:
        """One image (1, C, H, W) in tiles.

        `park` is whether tiles wait in the host's memory; None: where they do not fit into the device's.
        """
        height, width = image.shape[-2:]
        tiles = lay_out(height, width, self.tile, self.pad)
        seen = cut(image, tiles)
        if park is None:
            bytes_each = [self.widest * each.element_size() * each[0, 0].numel() for each in seen]
            park = sum(bytes_each) + _AT_WORK * max(bytes_each) > _free_bytes(image.device)
        return assemble(run_tiles(self.steps(self.network), seen, park, measure), tiles, self.scale)


def _one_after_other(first: Act, second: Act) -> Act:
    def act(tensor: Tensor) -> Tensor:
        return second(first(tensor)).float()

    return act


def _free_bytes(device: torch.device) -> int:
    """How much of a device's memory tensors may still take; none where it cannot be asked."""
    if device.type != "cuda":
        return 0
    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + reserved)


class Autoencoder:
    """Stable Diffusion's VAE on a device, in a precision: encodes images to latents, decodes latents to images.

    Images go through it one by one, so that none depends on its batch; large ones in tiles.

    Attributes:
        together: how many cells of latents go through it in one call, as far as images are not tiled; up to the size of
            an image, one image. More than one image in a call moves values by rounding, and how many there are follows
            from their size and number alone. It has not been measured what this gains on a GPU.
        scaling_factor: what latents are multiplied by for the diffusion, and divided by before they are decoded.
        park: whether tiles wait in the host's memory for their turn, so that the device holds one at a time; None:
            where all of them do not fit into the device's memory. The results are the same.
        measure: finds a tile's moments; may be replaced by something that does the same.
    """

    def __init__(self, model: Any, scaling_factor: float, tiles: tuple[int, int], park: bool | None) -> None:
        self.scaling_factor = scaling_factor
        self.park, self.together = park, 0
        self.measure: Measure = measure_moments
        self._encoder, self._after = model.encoder, model.quant_conv
        self._decoder, self._before = model.decoder, model.post_quant_conv
        self._encoder_tile, self._decoder_tile = tiles
        self._exact: Any = None
        self._format = torch.contiguous_format
        self._faster: dict[str, Act] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: not the faster ways of running, which are of these networks."""
        return {**vars(self), "_faster": {}}

    def to(
        self,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Self:
        """Move to a device, a precision and a layout; returns itself."""
        for part in (self._encoder, self._after, self._before, self._decoder):
            part.to(device=device, dtype=dtype, memory_format=memory_format)
        self._exact, self._format, self._faster = None, memory_format, {}
        return self

    def run_by(self, wrap: Callable[[Act], Act]) -> None:
        """From now on run what is not tiled by what `wrap` makes of a function of one tensor, until `to` is called.

        That function knows the networks alone, so that what is made of it keeps nothing alive that keeps it alive.
        """
        encode, decode = _one_after_other(self._encoder, self._after), _one_after_other(self._before, self._decoder)
        self._faster = {"encode": wrap(encode), "decode": wrap(decode)}

    @property
    def precision(self) -> str:
        """The precision that `decode` computes in: fp32, bf16 or fp16."""
        return _PRECISIONS[self._decoder.conv_in.weight.dtype]

    def encode(self, images: Tensor) -> Tensor:
        """The moments of the latents of images.

        Args:
            images: float (N, 3, H, W) in [-1, 1], sides multiples of 8.

        Returns:
            float32 (N, 8, H/8, W/8): four channels of means, then of logarithms of variances; not scaled.

        Raises:
            EngineError: sides are not multiples of 8.
        """
        height, width = images.shape[-2:]
        if height % CELL or width % CELL:
            raise EngineError(f"the VAE takes images with sides that are multiples of {CELL}, but got {height}x{width}")
        block = self._encoder.down_blocks[0].resnets[0]
        half = _Half(self._encoder, encoder_steps, self._encoder_tile, ENCODER_PAD, Fraction(1, CELL), block)
        ready = self._prepared(images, self._encoder, half)
        act = self._faster.get("encode") or _one_after_other(self._encoder, self._after)
        if half.is_tiled(images):
            act = _one_after_other(partial(half.run, park=self.park, measure=self.measure), self._after)
        return self._in_calls(ready, act)[: len(images)]

    def decode(self, latents: Tensor) -> Tensor:
        """Images from latents.

        Args:
            latents: float (N, 4, h, w), already divided by `scaling_factor`.

        Returns:
            float32 (N, 3, 8h, 8w), about [-1, 1], not clamped.
        """
        act = self._faster.get("decode") or _one_after_other(self._before, self._decoder)
        return self._decode(latents, self._before, self._decoder, act)

    def decode32(self, latents: Tensor) -> Tensor:
        """Like `decode`, but computed in float32 whatever the weights' precision, for latents that half cannot hold.

        The decoder's weights are converted at the first call, and kept beside the others until `to` is called.
        """
        if self.precision == "fp32":
            return self.decode(latents)
        if self._exact is None:
            self._exact = [copy.deepcopy(part).float() for part in (self._before, self._decoder)]
        before, decoder = self._exact
        return self._decode(latents, before, decoder, _one_after_other(before, decoder))

    def _decode(self, latents: Tensor, before: Any, decoder: Any, act: Act) -> Tensor:
        block = decoder.up_blocks[-1].resnets[0]
        half = _Half(decoder, decoder_steps, self._decoder_tile, DECODER_PAD, Fraction(CELL), block)
        ready = self._prepared(latents, decoder, half)
        if half.is_tiled(latents):
            act = _one_after_other(before, partial(half.run, park=self.park, measure=self.measure))
        return self._in_calls(ready, act)[: len(latents)]

    def _in_calls(self, ready: list[Tensor], act: Act) -> Tensor:
        """The results of all calls for a batch, one after the other."""
        return torch.cat([act(some) for some in ready])

    def _prepared(self, batch: Tensor, network: Any, half: _Half) -> list[Tensor]:
        """The images of a batch as a network takes them, in calls of one size; its first image fills up the last."""
        place, count = network.conv_in.weight, len(batch)
        ready = batch.to(place.device, place.dtype).contiguous(memory_format=self._format)
        cells = batch[0, 0].numel() // (CELL**2 if half.scale < 1 else 1)
        most = 1 if half.is_tiled(ready) else max(1, self.together // cells)
        size = -(-count // -(-count // most))
        missing = -count % size
        if missing:
            ready = torch.cat([ready, ready[:1].expand(missing, -1, -1, -1)])
        return list(torch.split(ready, size))


def load_autoencoder(
    config: dict[str, Any],
    tensors: dict[str, Tensor],
    *,
    encoder_tile: int,
    decoder_tile: int,
    park: bool | None = False,
) -> Autoencoder:
    """The VAE of a checkpoint, on the CPU, in its tensors' precision.

    Args:
        config: as in a diffusers `config.json`; what AutoencoderKL does not know is ignored.
        tensors: by diffusers' names, or by those that it gave the attention before its version 0.18.
        encoder_tile: in pixels, a multiple of 8.
        decoder_tile: in cells of latents, at least 1.
        park: see `Autoencoder`.

    Raises:
        EngineError: a tile of another size.
        WeightsError: a VAE of another kind, or tensors that do not fit the configuration.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    if encoder_tile < CELL or encoder_tile % CELL or decoder_tile < 1:
        raise EngineError(
            f"the VAE's tiles must be multiples of {CELL} pixels to encode and at least 1 cell to decode, "
            f"but are {encoder_tile} and {decoder_tile}"
        )
    settings = {name: config[name] for name in inspect.signature(AutoencoderKL.__init__).parameters if name in config}
    _require_kind(settings)
    with torch.device("meta"):
        model = AutoencoderKL(**settings)
    fit(model, with_new_names(tensors), "the VAE's checkpoint")
    make_exact(model).requires_grad_(False).eval()
    factor = float(config.get("scaling_factor", SCALING_FACTOR))
    return Autoencoder(model, factor, (encoder_tile, decoder_tile), park)


def _require_kind(settings: dict[str, Any]) -> None:
    wrong = [
        f"{name} is {settings[name]!r} (expected {wanted!r})"
        for name, wanted in _KIND.items()
        if name in settings and settings[name] not in (wanted, tuple(wanted) if isinstance(wanted, list) else wanted)
    ]
    if wrong:
        raise WeightsError(f"the VAE is not of Stable Diffusion's kind: {'; '.join(wrong)}")


def with_new_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by diffusers' newer names; an attention that was stored as 1x1 convolutions becomes linear."""
    renamed = {}
    for name, tensor in tensors.items():
        new = _OLD.sub(lambda found: found[1] + _NEW[found[2]] + found[3], name)
        one_by_one = ".mid_block.attentions." in name and tensor.ndim == 4
        renamed[new] = tensor.flatten(1) if one_by_one and tensor.shape[2:] == (1, 1) else tensor
    return renamed
