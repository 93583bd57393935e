"""Files of small networks, made on the spot: the same bytes everywhere."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from srcache_plugins.stable_diffusion.tiny import CONFIGS, lora_shapes, random_tensor, shared_shapes, write_files


def test_files_are_the_same_each_time_and_numbers_follow_each_other(tmp_path):
    shapes = {"a/x.safetensors": {"w": (3, 4), "w.bias": (3,)}, "b.safetensors": {"w": (3, 4)}}
    for folder in ("one", "two"):
        write_files(tmp_path / folder, {"a/config.json": {"n": 1}}, shapes)
    for name in (*shapes, "a/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    first, second = (load_file(tmp_path / "one" / name) for name in shapes)
    assert first["w"].dtype == torch.float16
    assert not torch.equal(first["w"], second["w"])
    assert json.loads((tmp_path / "one/a/config.json").read_text(encoding="utf-8")) == {"n": 1}


def test_the_shared_networks_are_those_of_the_settings():
    found = shared_shapes()
    assert set(found) == {
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "ram/ram.safetensors",
        "ram/dape.safetensors",
    }
    channels = CONFIGS["vae/config.json"]["block_out_channels"]
    assert found["vae/diffusion_pytorch_model.safetensors"]["encoder.conv_in.weight"] == (channels[0], 3, 3, 3)
    assert found["ram/dape.safetensors"] == lora_shapes(found["ram/ram.safetensors"])


@pytest.mark.parametrize(("name", "wanted"), [("norm.weight", 1.0), ("conv.bias", 0.0)])
def test_norms_leave_things_as_they_are(name, wanted):
    assert random_tensor(np.random.RandomState(0), name, (5,)).tolist() == [wanted] * 5


def test_a_matrix_keeps_the_size_of_what_goes_through():
    matrix = random_tensor(np.random.RandomState(0), "x.weight", (64, 256)).float()
    assert 0.7 < (matrix @ torch.randn(256, 200)).std() < 1.4


def test_additions_are_faint_beside_the_weights_that_they_are_added_to():
    drawn = {each: random_tensor(np.random.RandomState(0), f"x.lora_{each}.y.weight", (64, 4)).float() for each in "AB"}
    assert drawn["B"].std() < drawn["A"].std() / 16
