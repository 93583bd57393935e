"""SeeSR's UNet and ControlNet: diffusers' stock classes with an image transformer behind every text transformer.

The modules carry the names of the published checkpoints, so those load as they are. How they are run is in `denoiser`,
which takes them apart; here they are only built and given their weights.
"""

from collections.abc import Mapping
from typing import Any

from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from ...stable_diffusion.networks.stock import load_stock

IMAGE_WIDTH = 512
"""Channels of the tagger's image embeddings, which the image transformers attend to."""


def load_unet(config: Mapping[str, Any], tensors: dict[str, Tensor], images: dict[str, Tensor] | None = None) -> Any:
    """The UNet with a checkpoint's tensors.

    Args:
        config: as in the checkpoint's config.json.
        tensors: all tensors; or, with `images`, those of a plain Stable Diffusion UNet.
        images: SeeSR's checkpoint, of which then only the image transformers are taken (as for sd-turbo).

    Raises:
        WeightsError: the checkpoint does not fit.
    """
    if images is not None:
        tensors = tensors | {name: value for name, value in images.items() if "image_attentions" in name}
    return load_stock(UNet2DConditionModel, config, tensors, "the UNet's checkpoint", with_image_transformers)


def load_controlnet(config: Mapping[str, Any], tensors: dict[str, Tensor]) -> Any:
    """The ControlNet with a checkpoint's tensors; arguments and errors as `load_unet`."""
    return load_stock(ControlNetModel, config, tensors, "the ControlNet's checkpoint", with_image_transformers)


def with_image_transformers(model: Any) -> Any:
    """Add an image transformer, with the same settings, behind every text transformer of a stock UNet or ControlNet."""
    for block in [*model.down_blocks, model.mid_block, *getattr(model, "up_blocks", [])]:
        if getattr(block, "has_cross_attention", False):
            block.image_attentions = nn.ModuleList(_image_transformer(text) for text in block.attentions)
    return model


def _image_transformer(text: Any) -> Any:
    settings = {name: value for name, value in text.config.items() if not name.startswith("_")}
    return Transformer2DModel(**{**settings, "cross_attention_dim": IMAGE_WIDTH})
