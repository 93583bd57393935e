"""From files to networks: every tensor of a checkpoint has its place, or there is an error that says which has not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from srcache.errors import WeightsError

from .checkpoints import read_json, read_tensors

if TYPE_CHECKING:
    from .networks.denoiser import ControlNet, UNet
    from .networks.tagger import Tagger
    from .networks.text import TextEncoder
    from .networks.vae import Autoencoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NEEDED = (
    *("unet.config", "unet", "controlnet.config", "controlnet", "vae.config", "vae", "text.config", "text"),
    *("tokenizer.vocab", "tokenizer.merges", "scheduler.config", "ram", "dape"),
)
"""Parts that a bundle must have. `image_unet`, if it is there, is the checkpoint that brings the image transformers
while `unet` is a plain one; `ram.config` and `ram.tags` are those of another tagger than RAM as it was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """All that a bundle makes, and its scheduler's settings."""

    unet: "UNet"
    controlnet: "ControlNet"
    vae: "Autoencoder"
    text: "TextEncoder"
    tagger: "Tagger"
    scheduler: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How to load: the dtype of all networks but the tagger (which is float32), and what a recipe says of them."""

    device: torch.device
    dtype: torch.dtype
    conditioning_scale: float
    encoder_tile: int
    decoder_tile: int
    antialias: bool


def load_networks(parts: Mapping[str, Path], how: Loading) -> Networks:
    """Build all networks from a bundle's files, one after the other, so that no more than one is twice in memory.

    Raises:
        WeightsError: a part is missing, or does not fit.
    """
    missing = [name for name in NEEDED if name not in parts]
    if missing:
        raise WeightsError(f"SeeSR needs a bundle with all its parts, but this one lacks {', '.join(missing)}")
    return Networks(
        unet=_unet(parts, how),
        controlnet=_controlnet(parts, how),
        vae=_vae(parts, how),
        text=_text(parts, how),
        tagger=_tagger(parts, how),
        scheduler=read_json(parts["scheduler.config"]),
    )


def _unet(parts: Mapping[str, Path], how: Loading) -> "UNet":
    from .networks.denoiser import UNet
    from .networks.stock import load_unet

    images = read_tensors(parts["image_unet"], how.dtype) if "image_unet" in parts else None
    stock = load_unet(read_json(parts["unet.config"]), read_tensors(parts["unet"], how.dtype), images)
    network: UNet = _placed(UNet(stock), how)
    return network


def _controlnet(parts: Mapping[str, Path], how: Loading) -> "ControlNet":
    from .networks.denoiser import ControlNet
    from .networks.stock import load_controlnet

    stock = load_controlnet(read_json(parts["controlnet.config"]), read_tensors(parts["controlnet"], how.dtype))
    network: ControlNet = _placed(ControlNet(stock, how.conditioning_scale), how)
    return network


def _vae(parts: Mapping[str, Path], how: Loading) -> "Autoencoder":
    from .networks.vae import load_autoencoder

    tensors = read_tensors(parts["vae"], torch.float32)
    vae = load_autoencoder(
        read_json(parts["vae.config"]),
        tensors,
        encoder_tile=how.encoder_tile,
        decoder_tile=how.decoder_tile,
        park=how.device.type != "cpu",
    )
    return vae.to(how.device, how.dtype, _layout(how))


def _text(parts: Mapping[str, Path], how: Loading) -> "TextEncoder":
    from .networks.text import WIDTH, load_text_encoder

    files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
    config, tensors = read_json(parts["text.config"]), read_tensors(parts["text"])
    width = 1 if how.device.type == "cpu" else WIDTH
    return load_text_encoder(config, tensors, *files, how.dtype, width).to(how.device)


def _tagger(parts: Mapping[str, Path], how: Loading) -> "Tagger":
    from .networks.tagger import load_tagger

    config = read_json(parts["ram.config"]) if "ram.config" in parts else None
    listed = read_json(parts["ram.tags"]) if "ram.tags" in parts else None
    tags = (listed["tags"], listed["thresholds"]) if listed else None
    ram, dape = read_tensors(parts["ram"]), read_tensors(parts["dape"])
    return load_tagger(ram, dape, config, tags, antialias=how.antialias).to(how.device)


def _placed(network: Any, how: Loading) -> Any:
    return network.to(device=how.device, memory_format=_layout(how)).eval()


def _layout(how: Loading) -> torch.memory_format:
    """Convolutions on a GPU are faster with channels last."""
    return torch.channels_last if how.device.type == "cuda" else torch.contiguous_format
