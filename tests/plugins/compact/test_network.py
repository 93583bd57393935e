"""The network of `compact`: what an untrained one gives, how far it sees, and which files it takes."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from srcache_plugins.compact.network import CompactNet, enlarged, load_network

from srcache.images import from_tensor, resize, to_batch

REACH = 15
"""Input pixels to each side that an output pixel depends on, as the model card says: one per 3×3 convolution."""


def _small(scale, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CompactNet(scale, width=4, blocks=6).eval().requires_grad_(False)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_enlargement_is_pillows_bicubic_up_to_its_rounding(make_image, scale):
    rgb = make_image(12, 17)
    ours = from_tensor(enlarged(to_batch([rgb]), scale)[0]).astype(int)
    expected = resize(rgb, (12 * scale, 17 * scale), "bicubic").astype(int)
    assert np.abs(ours - expected).max() <= 1


@pytest.mark.parametrize("scale", [2, 4])
def test_only_the_difference_to_bicubic_is_learned(scale):
    network, images = _small(scale), torch.rand(2, 3, 6, 9)
    network.out.weight.zero_()
    assert torch.equal(network(images), enlarged(images, scale))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 5)])
def test_any_size_is_enlarged_by_the_scale(size):
    assert _small(2)(torch.rand(1, 3, *size)).shape == (1, 3, 2 * size[0], 2 * size[1])


def test_an_output_pixel_depends_on_fifteen_pixels_to_each_side_and_no_more():
    network, images = _small(2), torch.rand(1, 3, 3, 61)
    changed = images.clone()
    changed[..., 30] = 1 - changed[..., 30]
    columns = (network(changed) != network(images)).any(1).any(1)[0].nonzero()[:, 0] // 2
    assert int(columns.min()) >= 30 - REACH
    assert int(columns.max()) <= 30 + REACH
    assert int(columns.max() - columns.min()) > REACH, "it sees further than bicubic does"


def test_weights_of_one_scale_are_refused_by_the_network_of_another(tmp_path):
    shipped = files("srcache_plugins.compact") / "compact-x2.safetensors"
    assert load_network(shipped, 2).scale == 2
    with pytest.raises(RuntimeError, match="size mismatch for out"):
        load_network(shipped, 4)
    save_file({"head.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_network(tmp_path / "other.safetensors", 2)


def test_a_loaded_network_computes_in_float32_and_learns_nothing():
    network = load_network(files("srcache_plugins.compact") / "compact-x2.safetensors", 2)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
