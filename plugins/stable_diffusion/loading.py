"""From a bundle's files to the networks that all engines over Stable Diffusion have, on their device.

Every tensor has its place, or an error says which has none. What an engine has beside these networks, it loads itself
with the same functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from srcache.errors import WeightsError

from .checkpoints import made_from, read_json, read_shapes, read_tensors, require_settings
from .networks.convolutions import make_exact
from .schedule import require_schedule

if TYPE_CHECKING:
    from .networks.denoiser import UNet
    from .networks.tagger import Tagger
    from .networks.text import TextEncoder
    from .networks.vae import Autoencoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NEEDED = (
    *("unet.config", "unet", "vae.config", "vae", "text.config", "text", "tokenizer.vocab", "tokenizer.merges"),
    *("scheduler.config", "ram", "dape"),
)
"""Parts that a bundle of any of these engines must have; `ram.config` and `ram.tags` belong to another tagger than RAM
as it was published."""

STOCK = ("block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim", "norm_num_groups")
"""What the settings of a UNet or ControlNet must say themselves: of the rest, libraries' defaults are what published
models have."""

_SAID_BY_VAE = ("block_out_channels", "layers_per_block", "latent_channels")
_SAID_BY_TEXT = ("hidden_size", "num_attention_heads", "num_hidden_layers", "hidden_act", "vocab_size")
_TILE = 64

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""What an engine makes of a checkpoint's tensors before they go into their network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How networks are loaded.

    Attributes:
        device: where they run.
        dtype: of all networks but the tagger, which is float32.
        encoder_tile: the side of the VAE's tiles when it encodes, in pixels.
        decoder_tile: the side of its tiles when it decodes, in cells of 8 pixels.
        antialias: whether the tagger smooths images that it shrinks.
    """

    device: torch.device
    dtype: torch.dtype
    encoder_tile: int
    decoder_tile: int
    antialias: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The networks of a bundle, on their device, and the settings of its scheduler; an engine may have more."""

    unet: "UNet"
    vae: "Autoencoder"
    text: "TextEncoder"
    tagger: "Tagger"
    scheduler: Mapping[str, Any]


def require_parts(parts: Mapping[str, Path], needed: Sequence[str], engine: str) -> None:
    """Refuse a bundle that lacks parts.

    Raises:
        WeightsError: it names all of them.
    """
    missing = [name for name in needed if name not in parts]
    if missing:
        raise WeightsError(f"{engine} needs a bundle with all its parts, but this one lacks {', '.join(missing)}")


def read_settings(parts: Mapping[str, Path], name: str, said: Sequence[str] = STOCK) -> dict[str, Any]:
    """A part of settings, which says what is not to be guessed; raises as `require_settings`."""
    config = read_json(parts[name])
    require_settings(parts[name], config, said)
    return config


def load_scheduler(parts: Mapping[str, Path]) -> dict[str, Any]:
    """The scheduler's settings; raises as `require_schedule`, with the file's name."""
    scheduler = read_json(parts["scheduler.config"])
    with made_from("the sampler's schedule", parts["scheduler.config"]):
        require_schedule(scheduler)
    return scheduler


def load_vae(parts: Mapping[str, Path], how: Loading, change: Change | None = None) -> "Autoencoder":
    """The VAE on its device; with `change`, of other tensors than the file's, to which it is given in newer names."""
    from .networks.vae import load_autoencoder, with_new_names

    with made_from("the VAE", parts["vae.config"], parts["vae"]):
        tensors = read_tensors(parts["vae"], torch.float32)
        vae = load_autoencoder(
            read_settings(parts, "vae.config", _SAID_BY_VAE),
            change(with_new_names(tensors)) if change else tensors,
            encoder_tile=how.encoder_tile,
            decoder_tile=how.decoder_tile,
            park=False if how.device.type == "cpu" else None,
        )
    return vae.to(how.device, how.dtype, layout(how))


def load_text(parts: Mapping[str, Path], how: Loading) -> "TextEncoder":
    """The text encoder on its device."""
    from .networks.text import WIDTH, load_text_encoder

    files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
    width = 1 if how.device.type == "cpu" else WIDTH
    with made_from("the text encoder", parts["text.config"], parts["text"], *files):
        config, tensors = read_settings(parts, "text.config", _SAID_BY_TEXT), read_tensors(parts["text"])
        encoder = load_text_encoder(config, tensors, *files, how.dtype, width)
    return encoder.to(how.device)


def load_tags(parts: Mapping[str, Path], how: Loading) -> "Tagger":
    """The tagger on its device, with DAPE's additions in it."""
    from .networks.tagger import load_tagger

    own = [parts[name] for name in ("ram.config", "ram.tags") if name in parts]
    with made_from("the tagger", parts["ram"], parts["dape"], *own):
        listed = read_json(parts["ram.tags"]) if "ram.tags" in parts else None
        tags = (listed["tags"], listed["thresholds"]) if listed else None
        ram, dape = read_tensors(parts["ram"]), read_tensors(parts["dape"])
        tagger = load_tagger(ram, dape, _tagger_config(parts), tags, antialias=how.antialias)
    return tagger.to(how.device)


def check_shared(parts: Mapping[str, Path], change_vae: Change | None = None) -> None:
    """Compare the files of these networks with what they expect: settings, and shapes of tensors; none is read.

    Raises:
        WeightsError: a part does not fit; the message names its file.
    """
    from .networks.lora import merge_dape
    from .networks.tagger import tagger_rank
    from .networks.text import load_text_encoder
    from .networks.vae import load_autoencoder, with_new_names

    load_scheduler(parts)
    with made_from("the VAE", parts["vae.config"], parts["vae"]):
        tensors = read_shapes(parts["vae"])
        changed = change_vae(with_new_names(tensors)) if change_vae else tensors
        config = read_settings(parts, "vae.config", _SAID_BY_VAE)
        load_autoencoder(config, changed, encoder_tile=_TILE, decoder_tile=_TILE)
    with made_from("the text encoder", parts["text.config"], parts["text"], parts["tokenizer.vocab"]):
        files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
        config = read_settings(parts, "text.config", _SAID_BY_TEXT)
        load_text_encoder(config, read_shapes(parts["text"]), *files, torch.float32)
    with made_from("the tagger", parts["ram"], parts["dape"]):
        merge_dape(read_shapes(parts["ram"]), read_shapes(parts["dape"]), *tagger_rank(_tagger_config(parts)))


def _tagger_config(parts: Mapping[str, Path]) -> dict[str, Any] | None:
    return read_json(parts["ram.config"]) if "ram.config" in parts else None


def to_device(network: Any, how: Loading) -> Any:
    """A denoising network on its device, in its layout, with convolutions that are the same bits each time."""
    return make_exact(network).to(device=how.device, memory_format=layout(how)).eval()


def layout(how: Loading) -> torch.memory_format:
    """Convolutions on a GPU are faster with channels last."""
    return torch.channels_last if how.device.type == "cuda" else torch.contiguous_format
