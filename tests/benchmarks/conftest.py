"""What the tests of the benchmarks share: small networks on one thread of the CPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import loader_data
from benchmarks.loader_data import LoaderData, open_data
from benchmarks.seesr_gpu import RunSettings


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread while a test runs: small networks are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_run(one_thread: None, tmp_path: Path) -> RunSettings:
    """Settings with which every case of SeeSR runs in seconds."""
    return RunSettings(device=torch.device("cpu"), repeats=1, tiny=True, precision="fp32", out=tmp_path)


@pytest.fixture
def loader_photos(make_image, monkeypatch) -> None:
    """Three images in place of the photos that loaders' images are cut from."""
    shapes = [(40, 60), (90, 50), (64, 64)]
    monkeypatch.setattr(loader_data, "originals", lambda: [make_image(*shape, n) for n, shape in enumerate(shapes)])


@pytest.fixture
def tiny_loader_data(loader_photos: None, tmp_path: Path) -> LoaderData:
    """Twenty-four images for loaders, of 32×32 pixels."""
    return open_data(tmp_path / "loader data", 32, 24)
