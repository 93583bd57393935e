"""DAPE's additions to RAM: what is merged, what a file lacks, and the tags and logits of the reference program."""

import re

import pytest
import torch
from seesr_fixtures import case, cases
from seesr_tagger import close, logits, noise, parts, pixels, small
from srcache_plugins.stable_diffusion.networks.lora import merge_dape

from srcache.errors import WeightsError


def without(dape, start):
    return {name: tensor for name, tensor in dape.items() if not name.startswith(start)}


@pytest.mark.parametrize("name", cases("f_ram_"))
def test_empty_additions_leave_ram_as_it_was(name):
    meta, tensors = case(name)
    dape = {key: tensor * (not key.endswith("lora_B")) for key, tensor in parts(name[6])[1].items()}
    tagger = small(name[6], dape=dape)
    tags, embeds = tagger(pixels(tensors))
    assert tags == [meta["tags_without_dape"]]
    wanted = tensors["expect.no_antialias.logits_without_dape"]
    assert close(logits(tagger, embeds), wanted, meta["tolerance"]["logits_max_abs"])


@pytest.mark.parametrize("name", cases("f_ram_"))
def test_the_tied_module_s_product_is_part_of_the_weights(name):
    _, tensors = case(name)
    tagger = small(name[6], dape=without(parts(name[6])[1], "tag_encoder."))
    found = logits(tagger, tagger(pixels(tensors))[1])
    missed = (found - tensors["expect.no_antialias.logits"]).abs().max()
    assert 0.004 < missed < 0.03, "the reference misses by 0.005 to 0.02 if the second product is left out"


QKV = "visual_encoder.layers.0.blocks.0.attn.qkv"


QUERY = "crossattention.self.query"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{QKV}.lora_A": None}, rf"1 missing: {QKV}\.lora_A"),
        ({f"tagging_head.encoder.layer.1.{QUERY}.lora_B": None}, r"1 missing: tagging_head\..*lora_B"),
        ({f"tag_encoder.encoder.layer.1.{QUERY}.lora_B": None}, r"1 missing: tag_encoder\..*lora_B"),
        ({f"{QKV}.lora_C": torch.zeros(1)}, r"1 without a place: .*lora_C"),
        ({"elsewhere.lora_A": torch.zeros(1)}, r"1 without a place: elsewhere"),
        ({f"{QKV}.lora_A": torch.zeros(8, 16)}, r"shapes \(8, 16\) and \(32, 8\), but its weight is \(48, 16\)"),
    ],
)
def test_what_dape_s_file_lacks_or_has_too_much_is_named(change, words):
    dape = parts("B")[1] | change
    with pytest.raises(WeightsError, match=words):
        small(dape={name: tensor for name, tensor in dape.items() if tensor is not None})


def test_an_empty_dape_is_refused():
    with pytest.raises(WeightsError, match=r"22 missing: .* …"):
        small(dape={})


def test_additions_of_modules_that_do_not_tag_are_left_aside():
    _, dape, _, _ = parts("B")
    image = noise(1, 30, 30)
    less = {name: tensor for name, tensor in dape.items() if not re.match(r"text_decoder|tag_enc.*\.attention", name)}
    assert len(less) < len(dape)
    assert torch.equal(small(dape=less)(image)[1], small()(image)[1])


def test_merging_changes_query_and_value_but_no_key_and_not_what_it_was_given():
    ram, dape, _, _ = parts("A")
    before = {name: tensor.clone() for name, tensor in ram.items()}
    plain = merge_dape(ram, dape, 8, 1)
    query, key, value = (plain[f"{QKV}.weight"] - ram[f"{QKV}.weight"]).chunk(3)
    a, b = dape[f"{QKV}.lora_A"], dape[f"{QKV}.lora_B"]
    assert close(query, b[:8] @ a[:8] / 8, 1e-6)
    assert close(value, b[8:] @ a[8:] / 8, 1e-6)
    assert not key.any()
    assert query.any()
    assert all(torch.equal(ram[name], before[name]) for name in before)
    assert all(torch.equal(merge_dape(ram, dape, 8, 2)[name], plain[name]) for name in plain if "bias" in name)
