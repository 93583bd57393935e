"""Networks that many tests of SeeSR need: each kind is loaded once for all of them."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from seesr_fixtures import case, parts, weights
from seesr_networks import tiny_folder as tiny_folder
from seesr_networks import tiny_networks as tiny_networks
from seesr_networks import tiny_networks_read as tiny_networks_read
from seesr_oracle import stock
from srcache_plugins.seesr.loading import DTYPES, Loading, Networks, load_networks
from srcache_plugins.seesr.networks.controlnet import ControlNet
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet
from srcache_plugins.stable_diffusion.networks.denoiser import UNet

CPU = torch.device("cpu")
SCHEDULER = case("g_e2e_tiled_all_72x50")[0]["scheduler"]


@pytest.fixture(scope="session")
def denoisers() -> Callable[..., tuple[UNet, ControlNet]]:
    """SeeSR's UNet and ControlNet over the golden weights of a letter: denoisers(letter, scale=1.0)."""

    @cache
    def models(letter: str) -> tuple[object, object]:
        return load_unet(*weights(f"unet_{letter}")), load_controlnet(*weights(f"controlnet_{letter}"))

    def pair(letter: str, scale: float = 1.0) -> tuple[UNet, ControlNet]:
        unet, controlnet = models(letter)
        return UNet(unet), ControlNet(controlnet, scale)

    return pair


@pytest.fixture(scope="session")
def stock_denoisers() -> Callable[[str], tuple[object, object]]:
    """diffusers' own UNet and ControlNet with the golden weights of a letter, run the plain way."""
    return cache(stock)


@pytest.fixture(scope="session")
def golden_networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Networks]:
    """All golden networks A, by the settings that they are loaded with; all settings have defaults."""
    files = parts(tmp_path_factory.mktemp("golden"), SCHEDULER)

    @cache
    def load(
        precision: str = "fp32",
        scale: float = 1.0,
        encoder_tile: int = 1024,
        decoder_tile: int = 224,
        antialias: bool = True,
    ) -> Networks:
        how = Loading(
            device=CPU,
            dtype=DTYPES[precision],
            conditioning_scale=scale,
            encoder_tile=encoder_tile,
            decoder_tile=decoder_tile,
            antialias=antialias,
        )
        with torch.inference_mode():
            return load_networks(files, how)

    return load
