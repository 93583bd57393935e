"""From a bundle's files to networks on their device: every tensor has its place, or an error says which has none."""

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
"""Parts that a bundle must have. `image_unet`, if it is there, is the checkpoint of the image transformers, while
`unet` is a plain one; `ram.config` and `ram.tags` belong to another tagger than RAM as it was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """All networks of a bundle, on their device, and the settings of its scheduler."""

    unet: "UNet"
    controlnet: "ControlNet"
    vae: "Autoencoder"
    text: "TextEncoder"
    tagger: "Tagger"
    scheduler: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How networks are loaded.

    Attributes:
        device: where they run.
        dtype: of all networks but the tagger, which is float32.
        conditioning_scale: the weight of the ControlNet's outputs.
        encoder_tile: the side of the VAE's tiles when it encodes, in pixels.
        decoder_tile: the side of its tiles when it decodes, in cells of 8 pixels.
        antialias: whether the tagger smooths images that it shrinks.
    """

    device: torch.device
    dtype: torch.dtype
    conditioning_scale: float
    encoder_tile: int
    decoder_tile: int
    antialias: bool


def load_networks(parts: Mapping[str, Path], how: Loading) -> Networks:
    """Build all networks from a bundle's files, one after the other, so that only one at a time is in memory twice.

    Raises:
        WeightsError: a part is missing, or does not fit.
    """
    missing = [name for name in NEEDED if name not in parts]
    if missing:
        raise WeightsError(f"SeeSR needs a bundle with all its parts, but this one lacks {', '.join(missing)}")
    return Networks(
        unet=_load_unet(parts, how),
        controlnet=_load_controlnet(parts, how),
        vae=_load_vae(parts, how),
        text=_load_text(parts, how),
        tagger=_load_tagger(parts, how),
        scheduler=read_json(parts["scheduler.config"]),
    )


def _load_unet(parts: Mapping[str, Path], how: Loading) -> "UNet":
    from .networks.denoiser import UNet
    from .networks.stock import load_unet

    images = read_tensors(parts["image_unet"], how.dtype) if "image_unet" in parts else None
    stock = load_unet(read_json(parts["unet.config"]), read_tensors(parts["unet"], how.dtype), images)
    network: UNet = _to_device(UNet(stock), how)
    return network


def _load_controlnet(parts: Mapping[str, Path], how: Loading) -> "ControlNet":
    from .networks.denoiser import ControlNet
    from .networks.stock import load_controlnet

    stock = load_controlnet(read_json(parts["controlnet.config"]), read_tensors(parts["controlnet"], how.dtype))
    network: ControlNet = _to_device(ControlNet(stock, how.conditioning_scale), how)
    return network


def _load_vae(parts: Mapping[str, Path], how: Loading) -> "Autoencoder":
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


def _load_text(parts: Mapping[str, Path], how: Loading) -> "TextEncoder":
    from .networks.text import WIDTH, load_text_encoder

    files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
    config, tensors = read_json(parts["text.config"]), read_tensors(parts["text"])
    width = 1 if how.device.type == "cpu" else WIDTH
    return load_text_encoder(config, tensors, *files, how.dtype, width).to(how.device)


def _load_tagger(parts: Mapping[str, Path], how: Loading) -> "Tagger":
    from .networks.tagger import load_tagger

    config = read_json(parts["ram.config"]) if "ram.config" in parts else None
    listed = read_json(parts["ram.tags"]) if "ram.tags" in parts else None
    tags = (listed["tags"], listed["thresholds"]) if listed else None
    ram, dape = read_tensors(parts["ram"]), read_tensors(parts["dape"])
    return load_tagger(ram, dape, config, tags, antialias=how.antialias).to(how.device)


def _to_device(network: Any, how: Loading) -> Any:
    return network.to(device=how.device, memory_format=_layout(how)).eval()


def _layout(how: Loading) -> torch.memory_format:
    """Convolutions on a GPU are faster with channels last."""
    return torch.channels_last if how.device.type == "cuda" else torch.contiguous_format
