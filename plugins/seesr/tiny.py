"""The bundle `seesr-tiny`, which is made on the spot: see `stable_diffusion.tiny`."""

from pathlib import Path
from typing import Any

import torch

from ..stable_diffusion import tiny

_IMAGES = {"use_image_cross_attention": True}
CONFIGS: dict[str, dict[str, Any]] = {
    "unet/config.json": {**tiny.UNET, **_IMAGES, **tiny.UNET_IMAGE},
    "controlnet/config.json": {
        **tiny.UNET,
        **_IMAGES,
        "in_channels": 4,
        "conditioning_embedding_out_channels": [8, 8, 16, 16],
    },
    **tiny.CONFIGS,
}
"""All settings of the bundle, by the paths of their files."""


def write_weights(folder: Path) -> None:
    """Write all files of the bundle under a folder."""
    tiny.write_files(folder, CONFIGS, _shapes())


def _shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of every file's tensors, by their names in published checkpoints."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    from ..stable_diffusion.networks.stock import known_settings
    from .networks.stock import with_image_transformers

    with torch.device("meta"):
        unet = UNet2DConditionModel(**known_settings(UNet2DConditionModel, CONFIGS["unet/config.json"]))
        controlnet = ControlNetModel(**known_settings(ControlNetModel, CONFIGS["controlnet/config.json"]))
    return {
        "unet/diffusion_pytorch_model.safetensors": tiny.shapes_of(with_image_transformers(unet)),
        "controlnet/diffusion_pytorch_model.safetensors": tiny.shapes_of(with_image_transformers(controlnet)),
        **tiny.shared_shapes(),
    }
