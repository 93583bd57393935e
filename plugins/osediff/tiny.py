"""The bundle `osediff-tiny`, which is made on the spot: see `stable_diffusion.tiny`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..stable_diffusion import tiny
from .lora import UNET, VAE, unet_adapters, vae_adapters

RANK = 4
CONFIGS: dict[str, dict[str, Any]] = {"unet/config.json": {**tiny.UNET, **tiny.UNET_IMAGE}, **tiny.CONFIGS}
"""All settings of the bundle, by the paths of their files."""

Shapes = Mapping[str, tuple[int, ...]]


def write_weights(folder: Path) -> None:
    """Write all files of the bundle under a folder."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = tiny.shapes_of(UNet2DConditionModel(**CONFIGS["unet/config.json"]))
    shared = tiny.shared_shapes()
    vae = shared["vae/diffusion_pytorch_model.safetensors"]
    shapes = {
        "unet/diffusion_pytorch_model.safetensors": unet,
        **shared,
        "osediff/osediff.safetensors": lora_shapes(unet, vae),
    }
    tiny.write_files(folder, CONFIGS, shapes)


def lora_shapes(unet: Shapes, vae: Shapes, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of OSEDiff's file, converted, from those of the networks."""
    own = ("weight", "bias")
    found = {f"{UNET}conv_in.base_layer.{name}": unet[f"conv_in.{name}"] for name in own}
    for network, shapes, adapters in ((UNET, unet, unet_adapters(unet)), (VAE, vae, vae_adapters(vae))):
        for module, adapter in adapters.items():
            out, *inner = shapes[f"{module}.weight"]
            found[f"{network}{module}.lora_A.{adapter}.weight"] = (rank, *inner)
            found[f"{network}{module}.lora_B.{adapter}.weight"] = (out, rank, *[1] * (len(inner) - 1))
    return found
