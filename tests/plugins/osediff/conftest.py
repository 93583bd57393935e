"""Networks that many tests of OSEDiff need: each kind is loaded once for all of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from osediff_fixtures import parts, tiny_files
from srcache_plugins.osediff.loading import Networks, load_networks
from srcache_plugins.osediff.tiny import write_weights
from srcache_plugins.stable_diffusion.loading import DTYPES, Loading

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def osediff_networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Networks]:
    """The golden networks, by the settings that they are loaded with; all settings have defaults."""
    files = parts(tmp_path_factory.mktemp("golden"))

    @cache
    def load(
        precision: str = "fp32", encoder_tile: int = 1024, decoder_tile: int = 224, antialias: bool = True
    ) -> Networks:
        tiles = {"encoder_tile": encoder_tile, "decoder_tile": decoder_tile}
        how = Loading(device=CPU, dtype=DTYPES[precision], antialias=antialias, **tiles)
        with torch.inference_mode():
            return load_networks(files, how)

    return load


@pytest.fixture(scope="session")
def osediff_tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `osediff-tiny`, as they are made on the spot."""
    folder = tmp_path_factory.mktemp("tiny")
    write_weights(folder)
    return folder


@pytest.fixture(scope="session")
def osediff_tiny_networks(osediff_tiny_folder: Path) -> Networks:
    """The networks of `osediff-tiny`."""
    how = Loading(device=CPU, dtype=torch.float32, encoder_tile=256, decoder_tile=32, antialias=False)
    return load_networks({part: osediff_tiny_folder / file["path"] for part, file in tiny_files().items()}, how)
