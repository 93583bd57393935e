"""From a bundle's files to SeeSR's networks: what it has beside Stable Diffusion's, in `stable_diffusion.loading`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..stable_diffusion import loading as shared
from ..stable_diffusion.checkpoints import made_from, read_shapes, read_tensors
from ..stable_diffusion.loading import DTYPES

if TYPE_CHECKING:
    from ..stable_diffusion.networks.denoiser import UNet
    from .networks.controlnet import ControlNet

__all__ = ["DTYPES", "NEEDED", "Loading", "Networks", "check_parts", "load_networks"]

NEEDED = (*shared.NEEDED, "controlnet.config", "controlnet")
"""Parts that a bundle must have. `image_unet`, if it is there, is the checkpoint of the image transformers, while
`unet` is a plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks(shared.Networks):
    """All networks of a bundle, on their device, and the settings of its scheduler."""

    controlnet: "ControlNet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading(shared.Loading):
    """How networks are loaded; `conditioning_scale` is the weight of the ControlNet's outputs."""

    conditioning_scale: float


def load_networks(parts: Mapping[str, Path], how: Loading) -> Networks:
    """Build all networks from a bundle's files, one after the other, so that only one at a time is in memory twice.

    Raises:
        WeightsError: a part is missing, or does not fit; the message names its file.
    """
    shared.require_parts(parts, NEEDED, "SeeSR")
    scheduler = shared.load_scheduler(parts)
    return Networks(
        unet=_load_unet(parts, how),
        controlnet=_load_controlnet(parts, how),
        vae=shared.load_vae(parts, how),
        text=shared.load_text(parts, how),
        tagger=shared.load_tags(parts, how),
        scheduler=scheduler,
    )


def check_parts(parts: Mapping[str, Path]) -> None:
    """Compare a bundle's files with what the networks expect, by their settings and the shapes of their tensors.

    No large file is read, and nothing is computed.

    Raises:
        WeightsError: a part is missing, or does not fit; the message names its file.
    """
    from .networks.stock import load_controlnet, load_unet

    shared.require_parts(parts, NEEDED, "SeeSR")
    images = read_shapes(parts["image_unet"]) if "image_unet" in parts else None
    with made_from("the UNet", parts["unet.config"], parts["unet"]):
        load_unet(shared.read_settings(parts, "unet.config"), read_shapes(parts["unet"]), images)
    with made_from("the ControlNet", parts["controlnet.config"], parts["controlnet"]):
        load_controlnet(shared.read_settings(parts, "controlnet.config"), read_shapes(parts["controlnet"]))
    shared.check_shared(parts)


def _load_unet(parts: Mapping[str, Path], how: Loading) -> "UNet":
    from ..stable_diffusion.networks.denoiser import UNet
    from .networks.stock import load_unet

    with made_from("the UNet", parts["unet.config"], parts["unet"]):
        images = read_tensors(parts["image_unet"], how.dtype) if "image_unet" in parts else None
        config, tensors = shared.read_settings(parts, "unet.config"), read_tensors(parts["unet"], how.dtype)
        network = UNet(load_unet(config, tensors, images))
    return shared.to_device(network, how)  # type: ignore[no-any-return]


def _load_controlnet(parts: Mapping[str, Path], how: Loading) -> "ControlNet":
    from .networks.controlnet import ControlNet
    from .networks.stock import load_controlnet

    with made_from("the ControlNet", parts["controlnet.config"], parts["controlnet"]):
        config = shared.read_settings(parts, "controlnet.config")
        tensors = read_tensors(parts["controlnet"], how.dtype)
        network = ControlNet(load_controlnet(config, tensors), how.conditioning_scale)
    return shared.to_device(network, how)  # type: ignore[no-any-return]
