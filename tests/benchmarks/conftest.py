"""What the tests of the benchmarks share: small networks on one thread of the CPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
