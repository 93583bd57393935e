"""From a bundle's files to OSEDiff's networks: Stable Diffusion's, with the trained part added into UNet and VAE."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..stable_diffusion import loading as shared
from ..stable_diffusion.checkpoints import made_from, read_shapes, read_tensors
from ..stable_diffusion.loading import Loading
from ..stable_diffusion.loading import Networks as Networks
from ..stable_diffusion.networks.adapters import require_finite
from .lora import merge_unet, merge_vae

if TYPE_CHECKING:
    from torch import Tensor

NEEDED = (*shared.NEEDED, "osediff")
"""Parts that a bundle must have."""


def load_networks(parts: Mapping[str, Path], how: Loading) -> Networks:
    """Build all networks from a bundle's files, one after the other, so that only one at a time is in memory twice.

    Additions are merged in float32, whatever precision the networks then have.

    Raises:
        WeightsError: a part is missing, or does not fit; the message names its file.
    """
    from ..stable_diffusion.networks.denoiser import UNet

    shared.require_parts(parts, NEEDED, "OSEDiff")
    scheduler = shared.load_scheduler(parts)
    lora = read_tensors(parts["osediff"])
    with made_from("the UNet", parts["osediff"], parts["unet"], parts["unet.config"]):
        tensors = {name: each.to(how.dtype) for name, each in merge_unet(read_tensors(parts["unet"]), lora).items()}
        unet = UNet(_stock_unet(parts, tensors))
        del tensors
    with made_from("the VAE", parts["osediff"], parts["vae"]):
        vae = shared.load_vae(parts, how, lambda base: merge_vae(base, lora))
    return Networks(
        unet=shared.to_device(unet, how),
        vae=vae,
        text=shared.load_text(parts, how),
        tagger=shared.load_tags(parts, how),
        scheduler=scheduler,
    )


def check_parts(parts: Mapping[str, Path]) -> None:
    """Compare a bundle's files with what the networks expect, by their settings and the shapes of their tensors.

    Of the additions, which are a small file, the numbers are looked at, too; nothing is computed.

    Raises:
        WeightsError: a part is missing, or does not fit; the message names its file.
    """
    from .step import make_step

    shared.require_parts(parts, NEEDED, "OSEDiff")
    with made_from("the step", parts["scheduler.config"]):
        make_step(shared.load_scheduler(parts))
    with made_from("the additions", parts["osediff"]):
        lora = read_tensors(parts["osediff"])
        require_finite(lora)
    lora = {name: tensor.to("meta") for name, tensor in lora.items()}
    with made_from("the UNet", parts["osediff"], parts["unet"], parts["unet.config"]):
        _stock_unet(parts, merge_unet(read_shapes(parts["unet"]), lora))
    with made_from("the VAE", parts["osediff"], parts["vae"]):
        shared.check_shared(parts, lambda base: merge_vae(base, lora))


def _stock_unet(parts: Mapping[str, Path], tensors: "dict[str, Tensor]") -> Any:
    from diffusers import UNet2DConditionModel

    from ..stable_diffusion.networks.stock import load_stock

    config = shared.read_settings(parts, "unet.config")
    return load_stock(UNet2DConditionModel, config, tensors, "the UNet's checkpoint")
