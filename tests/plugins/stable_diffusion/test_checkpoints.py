"""How a checkpoint's files are read, and how its tensors come into a module: every fault is reported in words."""

import doctest

import pytest
import torch
from safetensors.torch import save_file
from seesr_fixtures import GOLDEN
from srcache_plugins.seesr.loading import DTYPES
from srcache_plugins.stable_diffusion import checkpoints
from srcache_plugins.stable_diffusion.checkpoints import fit, read_json, read_tensors
from torch import nn

from srcache.errors import WeightsError


def without(named, *names):
    return {name: tensor for name, tensor in named.items() if name not in names}


def model():
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def tensors():
    return {name: torch.ones(tensor.shape) for name, tensor in model().state_dict().items()}


def test_a_model_takes_a_checkpoints_tensors_as_they_are():
    network, given = model(), tensors()
    fit(network, given, "it")
    for name, place in network.state_dict().items():
        assert place.data_ptr() == given[name].data_ptr()


def test_a_model_takes_their_dtype_too():
    network = model()
    fit(network, {name: tensor.half() for name, tensor in tensors().items()}, "it")
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float16}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda given: without(given, "0.bias"), r"tensors 1 missing: 0\.bias$"),
        (lambda given: {}, r"tensors 4 missing: 0\.weight, 0\.bias, 1\.weight, 1\.bias$"),
        (lambda given: given | {"2.bias": torch.ones(1)}, r"tensors 1 without a place: 2\.bias$"),
        (lambda given: given | {"0.bias": torch.ones(4)}, r"1 of another shape: 0\.bias \(4,\) \(expected \(3,\)\)$"),
        (lambda given: given | {"1.bias": torch.ones(())}, r"1 of another shape: 1\.bias \(\) \(expected \(1,\)\)$"),
        (
            lambda given: without(given, "0.bias") | {"x": torch.ones(1), "1.bias": torch.ones(2)},
            r"1 missing: 0\.bias; 1 without a place: x; 1 of another shape: 1\.bias",
        ),
        (
            lambda given: given | {f"more.{number}": torch.ones(1) for number in range(12)},
            r"12 without a place: more\.0, .*more\.7 … and 4 more$",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_described(change, words):
    network = model()
    with pytest.raises(WeightsError, match=r"the cat's checkpoint does not fit its network; .*" + words):
        fit(network, change(tensors()), "the cat's checkpoint")
    assert all(tensor.is_meta for tensor in network.state_dict().values())


def test_what_is_expected_as_surplus_is_left_out():
    extra = {"position_ids": torch.ones(1), "deep.position_ids": torch.ones(1)}
    fit(model(), tensors() | extra, "it", (r"(deep\.)?position_ids",))
    with pytest.raises(WeightsError, match=r"1 without a place: deep\.position_ids$"):
        fit(model(), tensors() | extra, "it", ("position_ids",))


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}", b"{'a': 1}"])
def test_a_part_that_is_not_json_is_named(content, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json cannot be read as JSON .*; fetch it again"):
        read_json(path)


@pytest.mark.parametrize("read", [read_json, read_tensors])
def test_a_part_that_is_not_there_is_named(read, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.bin cannot be read .*; fetch it again"):
        read(tmp_path / "none.bin")


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_file_that_broke_off_is_named(cut, tmp_path):
    complete = (GOLDEN / "weights_vae_A.safetensors").read_bytes()
    path = tmp_path / "vae.safetensors"
    path.write_bytes(complete[:cut])
    with pytest.raises(WeightsError, match=r"vae\.safetensors cannot be read as safetensors .*; fetch it again"):
        read_tensors(path)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "unet.safetensors"
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_tensors(path)


@pytest.mark.parametrize("dtype", [None, *DTYPES.values()])
def test_numbers_that_count_keep_their_type(dtype, tmp_path):
    stored = {"real": torch.ones(2).half(), "integer": torch.arange(3)}
    save_file(stored, tmp_path / "some")
    found = read_tensors(tmp_path / "some", dtype)
    assert found["real"].dtype == (dtype or torch.float16)
    assert found["integer"].dtype == torch.int64
    assert torch.equal(found["integer"], stored["integer"])


def test_a_part_that_is_json_but_no_object_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"expected a JSON object in .*config\.json, but got a list; fetch it again"):
        read_json(path)


def test_the_examples_are_true():
    assert doctest.testmod(checkpoints) == (0, 1)
