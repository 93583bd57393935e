"""How OSEDiff's networks come from files: every tensor has its place, and faults are reported in words."""

import json
from dataclasses import replace

import pytest
import torch
from osediff_fixtures import base, lora, parts
from safetensors.torch import load_file, save_file
from srcache_plugins.osediff.loading import NEEDED, check_parts, load_networks
from srcache_plugins.osediff.lora import merge_unet
from srcache_plugins.stable_diffusion.loading import Loading

from srcache.errors import WeightsError

HOW = Loading(device=torch.device("cpu"), dtype=torch.float32, encoder_tile=1024, decoder_tile=224, antialias=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return parts(tmp_path_factory.mktemp("parts"))


def test_a_complete_bundle_passes_and_all_that_one_lacks_is_named(files):
    check_parts(files)
    assert set(NEEDED) < set(files)
    lacking = {name: path for name, path in files.items() if name not in ("dape", "osediff")}
    for act in (check_parts, lambda given: load_networks(given, HOW)):
        with pytest.raises(WeightsError, match=r"OSEDiff needs a bundle .* lacks dape, osediff$"):
            act(lacking)


@pytest.mark.parametrize(
    ("part", "other", "words"),
    [
        ("unet", "vae", "the network under the additions .* has no conv_in.weight"),
        ("vae", "unet", "the network under the additions .* has no quant_conv.weight"),
        ("osediff", "vae", "expected OSEDiff's file, .* but got"),
        ("vae.config", "text.config", "does not say block_out_channels"),
        ("osediff", "vae.config", "cannot be read as safetensors"),
    ],
)
def test_parts_that_were_mixed_up_are_named(part, other, words, files):
    mixed = {**files, part: files[other]}
    for act in (check_parts, lambda given: load_networks(given, HOW)):
        with pytest.raises(WeightsError, match=words):
            act(mixed)


def test_a_base_of_another_width_is_refused(files, tmp_path):
    """As SeeSR's own UNet would be, or that of another Stable Diffusion."""
    tensors = load_file(files["unet"])
    tensors["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"] = torch.ones(32, 20).half()
    save_file(tensors, tmp_path / "unet.safetensors")
    with pytest.raises(WeightsError, match=r"attn2\.to_k\.lora_A.*\(4, 24\) and \(32, 4\) of a weight \(32, 20\)"):
        check_parts({**files, "unet": tmp_path / "unet.safetensors"})


def test_additions_that_are_no_numbers_are_refused_when_files_are_compared(files, tmp_path):
    tensors = lora()
    broken = {
        name: tensor if number else torch.full_like(tensor, torch.inf)
        for number, (name, tensor) in enumerate(tensors.items())
    }
    save_file(broken, tmp_path / "broken.safetensors")
    mixed = {**files, "osediff": tmp_path / "broken.safetensors"}
    for act in (check_parts, lambda given: load_networks(given, HOW)):
        with pytest.raises(
            WeightsError, match=r"values that are not finite: .*conv_in\.base_layer\.weight .*broken\.saf"
        ):
            act(mixed)


def test_a_schedule_that_does_not_reach_the_step_s_time_is_refused(files, tmp_path):
    config = json.loads(files["scheduler.config"].read_text(encoding="utf-8"))
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({**config, "num_train_timesteps": 100}), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"signal at time 999, but it has 100 times .*scheduler\.json"):
        check_parts({**files, "scheduler.config": path})


@pytest.mark.slow
def test_a_vae_with_old_names_gets_its_additions_too(files, tmp_path, osediff_networks):
    renamed = {}
    for name, tensor in load_file(files["vae"]).items():
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f"attentions.0.{new}", f"attentions.0.{old}")
        renamed[name] = tensor
    save_file(renamed, tmp_path / "vae.safetensors")
    found = load_networks({**files, "vae": tmp_path / "vae.safetensors"}, HOW)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(found.vae.encode(image), osediff_networks().vae.encode(image))


def test_additions_are_merged_before_weights_are_rounded(files):
    found = load_networks(files, replace(HOW, dtype=torch.float16)).unet
    wanted = merge_unet(base("unet"), lora())["mid_block.resnets.0.conv1.weight"].half()
    assert torch.equal(found.middle[0].resnet.conv1.weight, wanted)
