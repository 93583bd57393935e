"""The networks of `seesr-tiny` as fixtures, for the tests of SeeSR and of what it shares."""

from pathlib import Path

import pytest
import torch
from seesr_fixtures import TINY_FILES
from srcache_plugins.seesr.loading import Loading, Networks, load_networks
from srcache_plugins.seesr.tiny import write_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `seesr-tiny`, as they are made on the spot."""
    folder = tmp_path_factory.mktemp("tiny")
    write_weights(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_networks_read(tiny_folder: Path) -> Networks:
    """The networks of `seesr-tiny`, in whatever state the last test left them."""
    how = Loading(
        device=CPU,
        dtype=torch.float32,
        conditioning_scale=1.0,
        encoder_tile=256,
        decoder_tile=32,
        antialias=False,
    )
    return load_networks({part: tiny_folder / file["path"] for part, file in TINY_FILES.items()}, how)


@pytest.fixture
def tiny_networks(tiny_networks_read: Networks) -> Networks:
    """The networks of `seesr-tiny`, whose text encoder has read nothing yet."""
    tiny_networks_read.text.to(CPU)
    return tiny_networks_read
