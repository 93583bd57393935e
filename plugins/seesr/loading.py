"""From a bundle's files to networks on their device: every tensor has its place, or an error says which has none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from srcache.errors import WeightsError

from .checkpoints import made_from, read_json, read_shapes, read_tensors, require_settings
from .networks.convolutions import make_exact
from .sampling.schedule import require_schedule

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

_STOCK = ("block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim", "norm_num_groups")
SAID = {
    "unet.config": _STOCK,
    "controlnet.config": _STOCK,
    "vae.config": ("block_out_channels", "layers_per_block", "latent_channels"),
    "text.config": ("hidden_size", "num_attention_heads", "num_hidden_layers", "hidden_act", "vocab_size"),
}
"""What settings must say themselves: of the rest, libraries' defaults are what the published models have."""
_TILE = 64


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
        WeightsError: a part is missing, or does not fit; the message names its file.
    """
    _require_parts(parts)
    scheduler = read_json(parts["scheduler.config"])
    with made_from("the sampler's schedule", parts["scheduler.config"]):
        require_schedule(scheduler)
    return Networks(
        unet=_load_unet(parts, how),
        controlnet=_load_controlnet(parts, how),
        vae=_load_vae(parts, how),
        text=_load_text(parts, how),
        tagger=_load_tagger(parts, how),
        scheduler=scheduler,
    )


def check_parts(parts: Mapping[str, Path]) -> None:
    """Compare a bundle's files with what the networks expect, by their settings and the shapes of their tensors.

    No large file is read, and nothing is computed.

    Raises:
        WeightsError: a part is missing, or does not fit; the message names its file.
    """
    from .networks.lora import merge_dape
    from .networks.stock import load_controlnet, load_unet
    from .networks.tagger import tagger_rank
    from .networks.text import load_text_encoder
    from .networks.vae import load_autoencoder

    _require_parts(parts)
    with made_from("the sampler's schedule", parts["scheduler.config"]):
        require_schedule(read_json(parts["scheduler.config"]))
    images = read_shapes(parts["image_unet"]) if "image_unet" in parts else None
    with made_from("the UNet", parts["unet.config"], parts["unet"]):
        load_unet(_settings(parts, "unet.config"), read_shapes(parts["unet"]), images)
    with made_from("the ControlNet", parts["controlnet.config"], parts["controlnet"]):
        load_controlnet(_settings(parts, "controlnet.config"), read_shapes(parts["controlnet"]))
    with made_from("the VAE", parts["vae.config"], parts["vae"]):
        load_autoencoder(
            _settings(parts, "vae.config"), read_shapes(parts["vae"]), encoder_tile=_TILE, decoder_tile=_TILE
        )
    with made_from("the text encoder", parts["text.config"], parts["text"], parts["tokenizer.vocab"]):
        files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
        load_text_encoder(_settings(parts, "text.config"), read_shapes(parts["text"]), *files, torch.float32)
    with made_from("the tagger", parts["ram"], parts["dape"]):
        merge_dape(read_shapes(parts["ram"]), read_shapes(parts["dape"]), *tagger_rank(_tagger_config(parts)))


def _require_parts(parts: Mapping[str, Path]) -> None:
    missing = [name for name in NEEDED if name not in parts]
    if missing:
        raise WeightsError(f"SeeSR needs a bundle with all its parts, but this one lacks {', '.join(missing)}")


def _settings(parts: Mapping[str, Path], name: str) -> dict[str, Any]:
    """A part of settings that says what is not to be guessed."""
    config = read_json(parts[name])
    require_settings(parts[name], config, SAID[name])
    return config


def _load_unet(parts: Mapping[str, Path], how: Loading) -> "UNet":
    from .networks.denoiser import UNet
    from .networks.stock import load_unet

    with made_from("the UNet", parts["unet.config"], parts["unet"]):
        images = read_tensors(parts["image_unet"], how.dtype) if "image_unet" in parts else None
        network = UNet(load_unet(_settings(parts, "unet.config"), read_tensors(parts["unet"], how.dtype), images))
    return _to_device(network, how)  # type: ignore[no-any-return]


def _load_controlnet(parts: Mapping[str, Path], how: Loading) -> "ControlNet":
    from .networks.denoiser import ControlNet
    from .networks.stock import load_controlnet

    with made_from("the ControlNet", parts["controlnet.config"], parts["controlnet"]):
        config, tensors = _settings(parts, "controlnet.config"), read_tensors(parts["controlnet"], how.dtype)
        network = ControlNet(load_controlnet(config, tensors), how.conditioning_scale)
    return _to_device(network, how)  # type: ignore[no-any-return]


def _load_vae(parts: Mapping[str, Path], how: Loading) -> "Autoencoder":
    from .networks.vae import load_autoencoder

    with made_from("the VAE", parts["vae.config"], parts["vae"]):
        vae = load_autoencoder(
            _settings(parts, "vae.config"),
            read_tensors(parts["vae"], torch.float32),
            encoder_tile=how.encoder_tile,
            decoder_tile=how.decoder_tile,
            park=False if how.device.type == "cpu" else None,
        )
    return vae.to(how.device, how.dtype, _layout(how))


def _load_text(parts: Mapping[str, Path], how: Loading) -> "TextEncoder":
    from .networks.text import WIDTH, load_text_encoder

    files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
    width = 1 if how.device.type == "cpu" else WIDTH
    with made_from("the text encoder", parts["text.config"], parts["text"], *files):
        config, tensors = _settings(parts, "text.config"), read_tensors(parts["text"])
        encoder = load_text_encoder(config, tensors, *files, how.dtype, width)
    return encoder.to(how.device)


def _load_tagger(parts: Mapping[str, Path], how: Loading) -> "Tagger":
    from .networks.tagger import load_tagger

    own = [parts[name] for name in ("ram.config", "ram.tags") if name in parts]
    with made_from("the tagger", parts["ram"], parts["dape"], *own):
        listed = read_json(parts["ram.tags"]) if "ram.tags" in parts else None
        tags = (listed["tags"], listed["thresholds"]) if listed else None
        ram, dape = read_tensors(parts["ram"]), read_tensors(parts["dape"])
        tagger = load_tagger(ram, dape, _tagger_config(parts), tags, antialias=how.antialias)
    return tagger.to(how.device)


def _tagger_config(parts: Mapping[str, Path]) -> dict[str, Any] | None:
    return read_json(parts["ram.config"]) if "ram.config" in parts else None


def _to_device(network: Any, how: Loading) -> Any:
    return make_exact(network).to(device=how.device, memory_format=_layout(how)).eval()


def _layout(how: Loading) -> torch.memory_format:
    """Convolutions on a GPU are faster with channels last."""
    return torch.channels_last if how.device.type == "cuda" else torch.contiguous_format
