"""How SeeSR's networks come from files: every tensor has its place, and every fault of a file is reported in words."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from seesr_fixtures import GOLDEN, case, parts, weights
from srcache_plugins.seesr.checkpoints import fit, read_json, read_tensors
from srcache_plugins.seesr.loading import DTYPES, NEEDED, Loading, load_networks
from torch import nn

from srcache.errors import WeightsError

SCHEDULER = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]
HOW = Loading(
    device=torch.device("cpu"),
    dtype=torch.float32,
    conditioning_scale=1.0,
    encoder_tile=1024,
    decoder_tile=224,
    antialias=False,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return parts(tmp_path_factory.mktemp("parts"), SCHEDULER)


@pytest.fixture(scope="module")
def networks(files):
    return load_networks(files, HOW)


def model():
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def tensors():
    return {name: torch.ones(tensor.shape) for name, tensor in model().state_dict().items()}


def without(named, *names):
    return {name: tensor for name, tensor in named.items() if name not in names}


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
def test_a_checkpoint_that_does_not_fit_is_told_apart(change, words):
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


def test_all_that_a_bundle_lacks_is_named(files):
    with pytest.raises(WeightsError, match=r"lacks unet, dape$"):
        load_networks(without(files, "dape", "unet"), HOW)
    assert set(NEEDED) < set(files)


@pytest.mark.parametrize(
    ("part", "other", "words"),
    [
        ("unet", "controlnet", "UNet's checkpoint does not fit .*without a place: controlnet_"),
        ("controlnet", "unet", r"ControlNet's checkpoint does not fit .*without a place: .*conv_norm_out"),
        ("vae", "unet", "VAE.s checkpoint does not fit"),
        ("text", "vae", "text encoder does not fit"),
        ("ram", "dape", "DAPE does not fit RAM; .*without a place"),
        ("dape", "text", "DAPE does not fit RAM; .*missing"),
        ("unet.config", "controlnet.config", "not known: conditioning_embedding_out_channels"),
        ("text.config", "unet", "cannot be read as JSON"),
        ("vae", "vae.config", "cannot be read as safetensors"),
    ],
)
def test_parts_that_were_mixed_up_are_named(part, other, words, files):
    with pytest.raises(WeightsError, match=words):
        load_networks({**files, part: files[other]}, HOW)


def test_networks_are_what_the_files_say(networks):
    assert networks.scheduler == SCHEDULER
    assert networks.controlnet.scale == 1.0
    assert networks.vae.scaling_factor == 0.18215
    for network in (networks.unet, networks.controlnet):
        assert not network.training
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}
        assert not any(weight.requires_grad or weight.is_meta for weight in network.parameters())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_tagger_alone_stays_in_float32(precision, files):
    networks = load_networks(files, replace(HOW, dtype=DTYPES[precision], conditioning_scale=0.5))
    for network in (networks.unet, networks.controlnet):
        assert {weight.dtype for weight in network.parameters()} == {DTYPES[precision]}
    assert networks.controlnet.scale == 0.5
    assert networks.vae.precision == precision
    with torch.inference_mode():
        assert networks.text.encode(["cat"]).dtype == DTYPES[precision]
        _, embeds = networks.tagger(torch.zeros(1, 3, 20, 20))
    assert embeds.dtype == torch.float32


def test_image_transformers_may_come_from_a_file_of_their_own(networks, files, tmp_path):
    config, complete = weights("unet_A")
    plain = {name: tensor for name, tensor in complete.items() if "image_attentions" not in name}
    other = {name: tensor if "image_attentions" in name else tensor + 1 for name, tensor in complete.items()}
    save_file(plain, tmp_path / "turbo.safetensors")
    save_file(other, tmp_path / "seesr.safetensors")
    (tmp_path / "turbo.json").write_text(json.dumps(without(config, "use_image_cross_attention")), encoding="utf-8")
    turbo = {**files, "unet": tmp_path / "turbo.safetensors", "unet.config": tmp_path / "turbo.json"}
    found = load_networks({**turbo, "image_unet": tmp_path / "seesr.safetensors"}, HOW)
    wanted = networks.unet.state_dict()
    for name, tensor in found.unet.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name
    with pytest.raises(WeightsError, match=r"missing: .*image_attentions"):
        load_networks(turbo, HOW)
