"""What tests of spandrel's engines share: a folder of small networks as files, made once."""

import pytest


@pytest.fixture(scope="session")
def _files(tmp_path_factory):
    import torch
    from safetensors.torch import save_file
    from spandrel_nets import NETS, tensors

    folder = tmp_path_factory.mktemp("nets")
    for name, net in NETS.items():
        found = tensors(net.home, net.arguments)
        save_file({key: value.contiguous() for key, value in found.items()}, folder / f"{name}.safetensors")
        torch.save({"params_ema": found, "iteration": 7}, folder / f"{name}.pth")
    return folder


@pytest.fixture
def nets(_files, tmp_path, monkeypatch):
    """A folder with every network as `.safetensors` and `.pth`; and a home of one's own."""
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    import torch

    torch.set_num_threads(1)
    return _files
