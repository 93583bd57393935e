"""Bundles of weights: found wherever they lie, hashed once, never mistaken for others, made where nobody has them."""

import hashlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from srcache.weights import find_bundle, locate, weights_folder
from srcache.weights.manifests import bundle_digest

MANIFEST = """
summary: two networks and a list
engine: test-bundled
parts: {net: mine, net.config: mine, tags: words, other: mine/spare}
sources:
  mine:
    licence: MIT
    link: https://example.org/mine
    folders: [preset/models/mine]
    files: {net: unet/net.safetensors, net.config: unet/config.json, spare: spare.pth}
  words:
    folders: [preset/models, .]
    files: {tags: words.txt}
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SRCACHE_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def manifest(tmp_path):
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


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _published(models):
    """The SHA-256 of each part's file as it was published."""
    files = {
        "net": "mine/unet/net.safetensors",
        "net.config": "mine/unet/config.json",
        "other": "mine/spare.pth",
        "tags": "words.txt",
    }
    return {part: _sha256(models / path) for part, path in files.items()}


def test_the_digest_is_over_the_published_files_and_is_frozen(manifest, models):
    lines = "".join(f"{part} {digest}\n" for part, digest in sorted(_published(models).items()))
    assert locate(manifest, [models]) == hashlib.sha256(lines.encode()).hexdigest()
    frozen = "cf12aed8575273a7be967d90b40eeab1b9bea66b904f38ee59a107d6eeb713bf"
    assert bundle_digest({"b": "1" * 64, "a": "0" * 64}) == frozen, "this change orphans every cache in the field"


def test_what_was_located_is_found_by_its_digest(manifest, models):
    digest = locate(manifest, [models])
    found = find_bundle(digest)
    assert set(found) == {"net", "net.config", "tags", "other"}
    assert found["net"] == models / "mine/unet/net.safetensors"
    assert found["other"].parent == weights_folder(), "what was pickled is converted"
    assert torch.equal(load_file(found["other"])["b"], torch.ones(2, 2))
    assert locate(manifest) == digest, "what was found once needs no folder any more"
