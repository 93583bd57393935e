"""How SeeSR's networks come from files: every tensor has its place, and every fault of a file is reported in words."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from seesr_fixtures import case, parts, weights
from srcache_plugins.seesr.loading import DTYPES, NEEDED, Loading, check_parts, load_networks

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


def without(named, *names):
    return {name: tensor for name, tensor in named.items() if name not in names}


def some(cases, every):
    """Cases, of which one in so many is in the quick suite; all that they are made of is in one of those."""
    return [pytest.param(*case, marks=[pytest.mark.slow] * (number % every > 0)) for number, case in enumerate(cases)]


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


CONFIGS = ("unet.config", "controlnet.config", "vae.config", "text.config", "scheduler.config")
READERS = [check_parts, pytest.param(lambda files: load_networks(files, HOW), marks=pytest.mark.slow)]


TEXTS = [
    "",
    "{}",
    "[]",
    "<!DOCTYPE html><html>",
    '{"_class_name": "UNet2DCond',
    '{"sample_size": 64}',
    '{"hidden_size": "a"}',
]


@pytest.mark.parametrize("act", READERS)
@pytest.mark.parametrize(("part", "text"), some([(part, text) for part in CONFIGS for text in TEXTS], every=3))
def test_settings_that_are_cut_empty_a_page_or_anothers_are_refused_with_their_file(part, text, act, files, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError) as caught:
        act({**files, part: tmp_path / "config.json"})
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "fetch it again: delete" in str(caught.value)


@pytest.mark.parametrize("act", READERS)
@pytest.mark.parametrize(
    ("part", "other"), some([(one, other) for one in CONFIGS for other in CONFIGS if one != other], every=3)
)
def test_settings_of_another_network_are_refused_with_their_file(part, other, act, files, tmp_path):
    mixed = tmp_path / "mixed.json"
    mixed.write_bytes(files[other].read_bytes())
    with pytest.raises(WeightsError, match=re.escape(str(mixed))):
        act({**files, part: mixed})


@pytest.mark.parametrize("act", READERS)
@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("tokenizer.merges", lambda text: "", "merges.* lacks"),
        ("tokenizer.merges", lambda text: text[: len(text) // 2].rpartition("\n")[0], r"lacks \d+ merges"),
        ("tokenizer.merges", lambda text: "<html><body>Sign in, please</body></html>", "is no list of merges"),
        ("tokenizer.vocab", lambda text: json.dumps(dict(list(json.loads(text).items())[:-60])), "lacks"),
        ("tokenizer.vocab", lambda text: text[:200], "cannot be read as JSON"),
        ("tokenizer.vocab", lambda text: '{"a": "b"}', "is no vocabulary"),
        ("tokenizer.vocab", lambda text: "{}", "is no vocabulary"),
    ],
)
def test_a_tokenizer_that_is_cut_or_a_page_is_refused_with_its_file(part, change, words, act, files, tmp_path):
    broken = tmp_path / files[part].name
    broken.write_text(change(files[part].read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(WeightsError, match=words) as caught:
        act({**files, part: broken})
    assert str(broken) in str(caught.value)


def test_a_network_of_zeros_is_refused(files, tmp_path):
    zeros = {name: torch.zeros_like(tensor) for name, tensor in load_file(files["unet"]).items()}
    save_file(zeros, tmp_path / "zeros.safetensors")
    with pytest.raises(WeightsError, match=r"all numbers in .*zeros\.safetensors are zero"):
        load_networks({**files, "unet": tmp_path / "zeros.safetensors"}, HOW)


def test_files_that_are_good_are_found_good_without_reading_them(files):
    check_parts(files)
    with pytest.raises(WeightsError, match="UNet's checkpoint does not fit"):
        check_parts({**files, "unet": files["controlnet"]})
    with pytest.raises(WeightsError, match="lacks dape"):
        check_parts(without(files, "dape"))


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
