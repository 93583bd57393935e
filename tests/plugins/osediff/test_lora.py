"""OSEDiff's trained part in the networks: the reference program's merged tensors, and what is refused."""

import json
import math

import pytest
import torch
from diffusers import UNet2DConditionModel
from osediff_fixtures import GOLDEN, base, case, lora
from seesr_fixtures import GOLDEN as SEESR
from srcache_plugins.osediff.lora import ALPHA, UNET, VAE, merge_unet, merge_vae, unet_adapters, vae_adapters
from srcache_plugins.osediff.tiny import lora_shapes
from srcache_plugins.stable_diffusion.networks.stock import load_stock
from srcache_plugins.stable_diffusion.networks.vae import load_autoencoder, with_new_names

from srcache.errors import WeightsError
from srcache.weights.checkpoint import adopt, load_tensors

META, WANTED = case("a_merge_A")
MERGES = {"unet": merge_unet, "vae": merge_vae}


@pytest.fixture(scope="module")
def merged():
    return {name: merge(base(name), lora()) for name, merge in MERGES.items()}


@pytest.mark.parametrize("name", MERGES)
def test_merged_tensors_are_the_references(name, merged):
    before, changed = base(name), 0
    assert set(merged[name]) == set(before)
    for own, tensor in merged[name].items():
        total, waved, differs = META["sums"][f"{name}.{own}"]
        values = tensor.double().flatten()
        wave = torch.cos(0.7 * torch.arange(len(values), dtype=torch.float64))
        limit = META["tolerance"]["sums_abs"]
        assert math.isclose(values.sum(), total, abs_tol=limit), own
        assert math.isclose((values * wave).sum(), waved, abs_tol=limit), own
        assert torch.equal(tensor, before[own]) != bool(differs), own
        changed += differs
    assert changed == META["changed"][name]


def test_whole_tensors_are_the_references(merged):
    for name, wanted in WANTED.items():
        _, network, own = name.split(".", 2)
        assert (merged[network][own] - wanted).abs().max() <= META["tolerance"]["tensor_max_abs"], name


def test_the_published_files_modules_are_those_of_the_rule():
    full = json.loads((GOLDEN / "full/osediff_params.json").read_text(encoding="utf-8"))
    for network, adapters in (("unet", unet_adapters), ("vae", vae_adapters)):
        shapes = full[f"state_dict_{network}"]
        found = {name.partition(".lora_A.")[::2] for name in shapes if ".lora_A." in name}
        assert len(found) == {"unet": 258, "vae": 32}[network]
        others = ["time_embedding.linear_1", "down_blocks.0.resnets.0.time_emb_proj", "conv_norm_out"]
        if network == "vae":
            others += ["encoder.conv_norm_out", "post_quant_conv", "decoder.conv_in"]
        names = [f"{module}.weight" for module in (*(module for module, _ in found), *others)]
        assert adapters(names).items() == {(module, rest.removesuffix(".weight")) for module, rest in found}


def test_the_published_file_fits_the_published_networks():
    """All names and shapes of Stable Diffusion 2.1 and of the published file, without a number."""
    configs = json.loads((SEESR / "full/configs.json").read_text(encoding="utf-8"))
    rows = {kind: json.loads((SEESR / f"full/{kind}_params.json").read_text())["rows"] for kind in ("unet", "vae")}
    unet = {name: shape for name, shape, _ in rows["unet"] if "image_attentions" not in name}  # those are SeeSR's own
    vae = with_new_names({name: torch.empty(shape, device="meta") for name, shape, _ in rows["vae"]})
    published = json.loads((GOLDEN / "full/osediff_params.json").read_text(encoding="utf-8"))
    shapes = {f"{network}{name}": shape for network in (UNET, VAE) for name, shape in published[network[:-1]].items()}
    ours = lora_shapes(unet, {name: tuple(tensor.shape) for name, tensor in vae.items()})
    assert {name: list(shape) for name, shape in ours.items()} == shapes
    given = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    merged = merge_unet({name: torch.empty(shape, device="meta") for name, shape in unet.items()}, given)
    load_stock(UNet2DConditionModel, configs["unet"]["config"], merged, "the UNet")
    load_autoencoder(configs["vae"]["config"], merge_vae(vae, given), encoder_tile=64, decoder_tile=64)


def test_the_authors_lists_of_modules_are_those_of_the_rule():
    listed = json.loads((GOLDEN / "osediff_A.json").read_text(encoding="utf-8"))
    found = unet_adapters(base("unet"))
    for group in ("encoder", "decoder", "others"):
        wanted = set(listed[f"unet_lora_{group}_modules"])
        assert {name for name, adapter in found.items() if adapter == f"default_{group}"} == wanted
    assert set(vae_adapters(base("vae"))) == set(listed["vae_lora_encoder_modules_unique"])
    assert listed["lora_alpha"] == ALPHA


def test_each_network_has_its_own_rank():
    given = {name: tensor.float() for name, tensor in lora().items()}
    halved = dict(given)
    for name, tensor in given.items():
        if name.startswith("state_dict_vae.") and ".lora_" in name:
            halved[name] = tensor[:2] if ".lora_A." in name else tensor[:, :2]
    module, adapter = "quant_conv", "default_encoder"
    weight, merged = base("vae")["quant_conv.weight"], merge_vae(base("vae"), halved)["quant_conv.weight"]
    a, b = (halved[f"state_dict_vae.{module}.lora_{side}.{adapter}.weight"].flatten(1) for side in "AB")
    torch.testing.assert_close(merged, weight + ALPHA / 2 * (b @ a).view_as(weight))
    both = [merge_unet(base("unet"), each)["mid_block.resnets.0.conv1.weight"] for each in (halved, given)]
    assert torch.equal(*both)


def test_the_authors_file_becomes_safetensors_as_tensors_alone():
    said = []
    digest = adopt(GOLDEN / "osediff_A.pkl", said.append)
    found = load_tensors(digest)
    assert set(found) == set(lora())
    assert all(torch.equal(found[name], tensor) for name, tensor in lora().items())
    assert "rank_unet" in said[0]


def changed(**given):
    """The file with tensors left out (None) or in other places; names without their network's."""
    tensors = lora()
    for name, value in given.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    return tensors


A = "state_dict_unet.mid_block.resnets.0.conv1.lora_A.default_others.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({A: None}, r"1 missing: mid_block\.resnets\.0\.conv1\.lora_A"),
        ({"state_dict_unet.conv_in.base_layer.bias": None}, r"1 missing: conv_in\.base_layer\.bias"),
        ({A.replace("conv1", "conv9"): torch.zeros(1)}, r"1 without a place: mid_block\.resnets\.0\.conv9"),
        ({A.replace("default_others", "other"): torch.zeros(1)}, "1 without a place: .*lora_A.other"),
        ({A: torch.zeros(4, 32, 1, 1)}, r"1 of another shape: mid_block\.resnets\.0\.conv1.* \(4, 32, 1, 1\)"),
        ({"state_dict_unet.conv_in.base_layer.bias": torch.zeros(3)}, r"conv_in\.base_layer\.bias \(3,\)"),
        ({A: torch.tensor(1.0)}, r"1 of another shape: mid_block\.resnets\.0\.conv1.* \(\) and"),
        ({A: torch.zeros(0, 32, 3, 3)}, r"1 of another shape: mid_block\.resnets\.0\.conv1.* \(0, 32, 3, 3\)"),
        ({A: torch.full((4, 32, 3, 3), math.nan)}, r"not finite: mid_block\.resnets\.0\.conv1\.lora_A"),
        ({"state_dict_discriminator.x": torch.zeros(1)}, "begin with .* but got state_dict_discriminator.x"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(WeightsError, match=words):
        merge_unet(base("unet"), changed(**change))


def test_ranks_within_a_network_agree():
    b = A.replace("lora_A", "lora_B")
    other = {A: lora()[A][:2], b: lora()[b][:, :2]}
    with pytest.raises(WeightsError, match=r"ranks 2 \(mid_block\.resnets\.0\.conv1\), 4 \(.*; expected one for all"):
        merge_unet(base("unet"), changed(**other))
