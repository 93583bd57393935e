"""SeeSR's networks at their real size, with random weights: no download, made on the device that they run on.

Configurations are those of the published files, as `tests/golden/seesr/full/configs.json` has them; `tiny` are those
of the plug-in's own small bundle, with which every benchmark can be tried on any machine. Weights keep the size of
what goes through them, so that half precision overflows nowhere.
"""

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from srcache_plugins.seesr.loading import DTYPES, Networks
from srcache_plugins.seesr.networks.controlnet import ControlNet
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet, with_image_transformers
from srcache_plugins.seesr.tiny import CONFIGS, write_weights
from srcache_plugins.stable_diffusion.networks.convolutions import make_exact
from srcache_plugins.stable_diffusion.networks.denoiser import UNet
from srcache_plugins.stable_diffusion.networks.stock import known_settings
from srcache_plugins.stable_diffusion.networks.tagger import Tagger, load_tagger, published_shapes
from srcache_plugins.stable_diffusion.networks.text import WIDTH, TextEncoder, load_text_encoder
from srcache_plugins.stable_diffusion.networks.vae import Autoencoder, load_autoencoder
from srcache_plugins.stable_diffusion.tiny import lora_shapes
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

FULL = Path(__file__).parents[1] / "tests/golden/seesr/full"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The configurations of all networks; `turbo` is the scheduler of sd-turbo."""

    unet: dict[str, Any]
    controlnet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    scheduler: dict[str, Any]
    turbo: dict[str, Any]
    ram: dict[str, Any] = field(default_factory=dict)
    tags: tuple[list[str], list[float]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StockNetworks:
    """diffusers' own UNet and ControlNet, as the authors' program runs them; their weights are those of `Networks`."""

    unet: Any
    controlnet: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The device and precision of networks; with `like_cuda` they are laid out as on a GPU, whatever the device.

    `park` is that of the VAE there.
    """

    device: torch.device
    precision: str
    like_cuda: bool
    park: bool | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all networks but the tagger."""
        return DTYPES[self.precision]

    @property
    def layout(self) -> torch.memory_format:
        """The layout that `plugins/stable_diffusion/loading.py` would choose."""
        return torch.channels_last if self.like_cuda else torch.contiguous_format


def placement(device: str, precision: str) -> Placement:
    """A placement by the names of device and precision; on `meta`, networks are laid out as on a GPU."""
    kind = torch.device(device)
    return Placement(device=kind, precision=precision, like_cuda=kind.type != "cpu")


@cache
def full() -> Sizes:
    """The sizes of the published networks."""
    found = {
        name: part.get("config", {})
        for name, part in json.loads((FULL / "configs.json").read_text(encoding="utf-8")).items()
        if isinstance(part, dict)
    }
    return Sizes(
        unet=found["unet"],
        controlnet=found["controlnet"],
        vae=found["vae"],
        text=found["text_encoder"],
        scheduler=found["scheduler"],
        turbo=found["scheduler_sd_turbo"],
    )


@cache
def tiny() -> Sizes:
    """The sizes of `seesr-tiny`."""
    tags = CONFIGS["ram/tags.json"]
    scheduler = CONFIGS["scheduler/scheduler_config.json"]
    return Sizes(
        unet=CONFIGS["unet/config.json"],
        controlnet=CONFIGS["controlnet/config.json"],
        vae=CONFIGS["vae/config.json"],
        text=CONFIGS["text_encoder/config.json"],
        scheduler=scheduler,
        turbo={**scheduler, "timestep_spacing": "trailing"},
        ram=CONFIGS["ram/config.json"],
        tags=(tags["tags"], tags["thresholds"]),
    )


def networks(sizes: Sizes, where: Placement, *, turbo: bool = False) -> Networks:
    """All networks of the engine, on their device."""
    stock = denoisers(sizes, where)
    unet, controlnet = own_networks(stock, where)
    return Networks(
        unet=unet,
        controlnet=controlnet,
        vae=autoencoder(sizes, where),
        text=text_encoder(sizes, where),
        tagger=tagger(sizes, where),
        scheduler=sizes.turbo if turbo else sizes.scheduler,
    )


def denoisers(sizes: Sizes, where: Placement) -> StockNetworks:
    """UNet and ControlNet as diffusers makes them, with SeeSR's image transformers, contiguous."""
    with torch.device("meta"):
        unet = with_image_transformers(UNet2DConditionModel(**known_settings(UNet2DConditionModel, sizes.unet)))
        controlnet = with_image_transformers(ControlNetModel(**known_settings(ControlNetModel, sizes.controlnet)))
    return StockNetworks(
        unet=load_unet(sizes.unet, random_tensors(shapes_of(unet), where.device, where.dtype)),
        controlnet=load_controlnet(sizes.controlnet, random_tensors(shapes_of(controlnet), where.device, where.dtype)),
    )


def own_networks(stock: StockNetworks, where: Placement) -> tuple[UNet, ControlNet]:
    """The project's own UNet and ControlNet over the same modules, which are moved to the layout of the placement."""
    unet, controlnet = UNet(stock.unet), ControlNet(stock.controlnet, 1.0)
    return placed(unet, where), placed(controlnet, where)


def placed(network: Any, where: Placement) -> Any:
    """A denoising network on its device, in the layout of the placement."""
    return make_exact(network).to(device=where.device, memory_format=where.layout).eval()


def autoencoder(sizes: Sizes, where: Placement, *, tiles: tuple[int, int] = (1024, 224)) -> Autoencoder:
    """The VAE; tiles as in the engine's options."""
    with torch.device("meta"):
        shapes = shapes_of(AutoencoderKL(**sizes.vae))
    vae = load_autoencoder(
        sizes.vae,
        random_tensors(shapes, where.device, where.dtype),
        encoder_tile=tiles[0],
        decoder_tile=tiles[1],
        park=where.park if where.like_cuda else False,
    )
    return vae.to(where.device, where.dtype, where.layout)


def text_encoder(sizes: Sizes, where: Placement) -> TextEncoder:
    """CLIP's, with the vocabulary of `seesr-tiny`."""
    with torch.device("meta"):
        shapes = shapes_of(CLIPTextModel(CLIPTextConfig(**sizes.text)))
    with tempfile.TemporaryDirectory() as folder:
        write_weights(Path(folder))
        files = Path(folder, "tokenizer/vocab.json"), Path(folder, "tokenizer/merges.txt")
        tensors, width = random_tensors(shapes, where.device, where.dtype), WIDTH if where.like_cuda else 1
        return load_text_encoder(sizes.text, tensors, *files, where.dtype, width).to(where.device)


TAGS = 10
"""About as many as RAM finds in a photograph."""


class _TenTags(Tagger):
    """A tagger that tells the likeliest tags: of random weights, thresholds would let through none or thousands."""

    def chosen(self, probabilities: Tensor) -> Tensor:
        best = probabilities.topk(min(TAGS, probabilities.shape[1]), dim=1).indices
        return torch.zeros_like(probabilities, dtype=torch.bool).scatter_(1, best, True)


def tagger(sizes: Sizes, where: Placement) -> Tagger:
    """RAM with additions of zeros, in float32; it tells as many tags as the real one does."""
    shapes = published_shapes(sizes.ram)
    ram = random_tensors(shapes, where.device, torch.float32)
    dape = {name: torch.zeros(shape, device=where.device) for name, shape in lora_shapes(shapes).items()}
    made = load_tagger(ram, dape, sizes.ram, sizes.tags).to(where.device)
    made.__class__ = _TenTags
    return made


def shapes_of(model: nn.Module) -> Shapes:
    """The shapes of a model's tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def random_tensors(shapes: Shapes, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Norms' weights are 1 and biases 0; others are uniform, of a spread that keeps the size of what goes through.

    In every dtype they are the same numbers of torch's generator, rounded.
    """
    return {name: _tensor(name, shape, device, dtype) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    if len(shape) < 2:
        return torch.full(shape, float(name.endswith("weight")), device=device, dtype=dtype)
    reach = 1 if name.endswith(("label_embed", "embedding.weight")) else math.sqrt(3 / math.prod(shape[1:]))
    return torch.empty(shape, device=device).uniform_(-reach, reach).to(dtype)
