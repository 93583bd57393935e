"""A home of its own for each test, and the manifest and files of a small bundle."""

import contextlib
import hashlib
from dataclasses import replace

import pytest
import torch
from bundles import MADE, MANIFEST, make_small
from engines import Noise
from safetensors.torch import save_file

from srcache.weights.manifest import load_manifest


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SRCACHE_WEIGHTS", raising=False)
    with contextlib.suppress(ImportError):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def manifest(tmp_path):
    """`MANIFEST` as a file."""
    path = tmp_path / "mine.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def models(tmp_path):
    """A folder as upstream wants it: preset/models with the files of `MANIFEST`."""
    folder = tmp_path / "upstream/preset/models"
    (folder / "mine/unet").mkdir(parents=True)
    save_file({"a": torch.arange(6.0)}, folder / "mine/unet/net.safetensors")
    (folder / "mine/unet/config.json").write_text("{}")
    torch.save({"model": {"b": torch.ones(2, 2)}}, folder / "mine/spare.pth")
    (folder / "words.txt").write_text("cat\ndog\n")
    return folder


@pytest.fixture
def made(monkeypatch):
    """A shipped bundle, `small`, which the engine test-noise makes."""
    text = MADE.replace("NET", hashlib.sha256(b"net of small").hexdigest())
    text = text.replace("WORDS", hashlib.sha256(b"cat").hexdigest())
    monkeypatch.setattr("srcache.weights.manifest.shipped_texts", lambda folder: {"small": text})
    monkeypatch.setattr(Noise, "make_weights", staticmethod(make_small), raising=False)
    return load_manifest("small")


@pytest.fixture
def loads(monkeypatch):
    """The engine test-noise takes weights that a recipe names."""
    monkeypatch.setattr(Noise, "info", replace(Noise.info, loads=True))


@pytest.fixture
def tensors():
    """A small network's."""
    rng = torch.Generator().manual_seed(3)
    return {"b.weight": torch.rand(4, 3, generator=rng), "a.bias": torch.rand(4, generator=rng)}
