"""From files to networks: every tensor of a checkpoint has its place, or there is an error that says which has not."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from srcache.errors import WeightsError

if TYPE_CHECKING:
    from .denoiser import ControlNet, UNet
    from .prompts import TextEncoder
    from .tagger import Tagger
    from .vae import Autoencoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

NEEDED = (
    *("unet.config", "unet", "controlnet.config", "controlnet", "vae.config", "vae", "text.config", "text"),
    *("tokenizer.vocab", "tokenizer.merges", "scheduler.config", "ram", "dape"),
)
"""Parts that a bundle must have. `image_unet`, if it is there, is the checkpoint that brings the image transformers
while `unet` is a plain one; `ram.config` and `ram.tags` are those of another tagger than RAM as it was published."""

_SHOWN = 8


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


def fit(model: nn.Module, tensors: dict[str, Tensor], what: str, surplus: Sequence[str] = ()) -> None:
    """Put a checkpoint's tensors into a model, which takes them over as they are.

    Args:
        model: may be on the meta device.
        tensors: by the model's own names.
        what: names the checkpoint in errors.
        surplus: patterns of names that may be in the checkpoint without a place in the model.

    Raises:
        WeightsError: tensors are missing, have another shape, or have no place and are not expected as surplus.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    strange = [name for name in tensors if name not in wanted and not any(re.fullmatch(each, name) for each in surplus)]
    shapes = [
        f"{name} {tuple(tensors[name].shape)} (expected {tuple(place.shape)})"
        for name, place in wanted.items()
        if name in tensors and tensors[name].shape != place.shape
    ]
    wrong = [
        f"{len(names)} {words}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        for words, names in (("missing", missing), ("without a place", strange), ("of another shape", shapes))
        if names
    ]
    if wrong:
        raise WeightsError(f"{what} does not fit its network; tensors " + "; ".join(wrong))
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=True, assign=True)


def read_json(path: Path) -> dict[str, Any]:
    """A part that is a JSON object.

    Raises:
        WeightsError: it is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise WeightsError(f"expected a JSON object in {path}, but got a {type(found).__name__}; fetch it again")
    return found


def read_tensors(path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """A part that is tensors, on the CPU, the floating ones in another dtype if one is given.

    They are copied out of the mapped file: where it has them, a CPU may find them askew, and sum in another order.

    Raises:
        WeightsError: it cannot be read as safetensors.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}); fetch it again") from error
    return {
        name: value.to(dtype if dtype is not None and value.is_floating_point() else value.dtype, copy=True)
        for name, value in tensors.items()
    }


def _unet(parts: Mapping[str, Path], how: Loading) -> "UNet":
    from .denoiser import UNet
    from .networks import load_unet

    images = read_tensors(parts["image_unet"], how.dtype) if "image_unet" in parts else None
    stock = load_unet(read_json(parts["unet.config"]), read_tensors(parts["unet"], how.dtype), images)
    network: UNet = _placed(UNet(stock), how)
    return network


def _controlnet(parts: Mapping[str, Path], how: Loading) -> "ControlNet":
    from .denoiser import ControlNet
    from .networks import load_controlnet

    stock = load_controlnet(read_json(parts["controlnet.config"]), read_tensors(parts["controlnet"], how.dtype))
    network: ControlNet = _placed(ControlNet(stock, how.conditioning_scale), how)
    return network


def _vae(parts: Mapping[str, Path], how: Loading) -> "Autoencoder":
    from .vae import load_autoencoder

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
    from .prompts import WIDTH, load_text_encoder

    files = parts["tokenizer.vocab"], parts["tokenizer.merges"]
    config, tensors = read_json(parts["text.config"]), read_tensors(parts["text"])
    width = 1 if how.device.type == "cpu" else WIDTH
    return load_text_encoder(config, tensors, *files, how.dtype, width).to(how.device)


def _tagger(parts: Mapping[str, Path], how: Loading) -> "Tagger":
    from .tagger import load_tagger

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
