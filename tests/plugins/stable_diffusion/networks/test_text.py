"""SeeSR's prompts and its text encoder against what the reference program wrote and computed."""

import json

import pytest
import torch
from seesr_fixtures import GOLDEN, case, cases, weights
from srcache_plugins.stable_diffusion.networks import text as module
from srcache_plugins.stable_diffusion.networks.text import load_text_encoder, prompt_text

from srcache.errors import WeightsError

FOLDER = GOLDEN / "tokenizer_A"
ROWS = case("f_prompts")[0]["rows"]
ODD = ["", "hello! wow!!", "<|endoftext|> cat", "Ünï  ÇAT 猫 🐈 it's 8k's", "a\n\tb", "cat " * 100, "tree, " * 38]


def encoder(dtype=torch.float32, width=module.WIDTH, tensors=None, vocab=FOLDER / "vocab.json", **changed):
    config, own = weights("text_A")
    return load_text_encoder(config | changed, tensors or own, vocab, FOLDER / "merges.txt", dtype, width)


def golden():
    meta, tensors = case("d_loop_8steps_g5.5_lr_text")
    return [meta["negative_prompt"], meta["prompt"]], tensors


@pytest.mark.parametrize("row", ROWS, ids=[row["tag_string"] for row in ROWS])
def test_the_prompt_is_the_reference_s(row):
    assert prompt_text(row["tag_string"], row["user_prompt"], row["added_prompt"]) == row["final_prompt"]


@pytest.mark.parametrize("name", cases("g_e2e_"))
def test_the_prompt_of_the_reference_script_is_the_reference_s(name):
    meta, _ = case(name)
    user, added = meta["args"]["user_prompt"], meta["args"]["added_prompt"]
    tags = meta["prompt"].removesuffix(f", {user},{added}")
    assert prompt_text(tags, user, added) == meta["prompt_file"]


def test_tokens_and_embeddings_are_the_reference_s():
    prompts, tensors = golden()
    text = encoder()
    assert torch.equal(text.tokens(prompts), tensors["expect.input_ids_neg_pos"])
    found, wanted = text.encode(prompts), tensors["expect.text_embeds_neg_pos"]
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 2e-5


@pytest.mark.parametrize("prompt", ODD)
def test_tokens_are_those_of_the_tokenizer_read_from_its_folder(prompt):
    from transformers import CLIPTokenizer

    oracle = CLIPTokenizer.from_pretrained(FOLDER)
    wanted = oracle(prompt, padding="max_length", truncation=True, max_length=77).input_ids
    assert encoder().tokens([prompt]).tolist() == [wanted]


def test_an_empty_prompt_is_begin_end_and_filling_and_a_long_one_keeps_its_end():
    empty, long = encoder().tokens(["", "cat " * 200]).tolist()
    assert empty == [567, 568, *[0] * 75]
    assert long == [567, *[551] * 75, 568]


def test_what_is_beyond_77_tokens_changes_nothing():
    text = encoder()
    long, longer = text.encode(["cat " * 75, "cat " * 75 + ", clean, high-resolution, 8k"])
    assert torch.equal(long, longer)


def test_a_prompt_s_embeddings_are_the_same_bits_in_any_company():
    many = [*golden()[0], *ODD, "building", "flower, tree"]
    together = encoder().encode(many)
    for start in range(len(many)):
        turned = many[start:] + many[:start]
        assert torch.equal(encoder().encode(turned), torch.roll(together, -start, 0))
    for number, prompt in enumerate(many):
        assert torch.equal(encoder().encode([prompt])[0], together[number])


def test_each_different_prompt_is_encoded_once():
    text = encoder(width=2)
    first = text.encode(["cat", "tree", "cat", "", "cat"])
    assert text.encoded == 3
    again = text.encode(["", "tree", "flower"])
    assert text.encoded == 4
    assert torch.equal(first[0], first[2])
    assert torch.equal(again[0], first[3])
    assert torch.equal(again[1], first[1])


def test_the_prompts_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    text = encoder()
    text.encode(["negative", "a"])
    for prompt in ["b", "c", "d", "e"]:
        text.encode(["negative", prompt])
    assert text.encoded == 6
    text.encode(["negative", "e", "d"])
    assert text.encoded == 6
    assert len(text.encode(["a", "b", "c", "d", "e", "negative"])) == 6
    assert text.encoded == 9
    assert len(text._kept) == 3


def test_what_is_given_out_is_not_what_is_kept():
    text = encoder()
    with torch.inference_mode():
        text.encode(["cat"]).zero_()
    assert text.encode(["cat"]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embeddings_have_the_model_s_dtype_even_under_autocast(dtype):
    plain = encoder(dtype).encode(["cat, tree"])
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder(dtype).encode(["cat, tree"])
    assert plain.dtype == inside.dtype == dtype
    assert torch.equal(plain, inside)
    assert plain.isfinite().all()


def test_names_may_come_with_or_without_prefix_and_with_position_ids():
    _, tensors = weights("text_A")
    bare = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    wanted = encoder().encode(["cat"])
    for given in (bare, tensors | positions, {name: tensor.half() for name, tensor in tensors.items()}):
        assert torch.equal(encoder(tensors=given).encode(["cat"]), wanted)


def test_what_the_file_lacks_or_has_too_much_is_named():
    _, tensors = weights("text_A")
    with pytest.raises(WeightsError, match=r"text encoder does not fit.*1 missing: final_layer_norm\.bias"):
        encoder(tensors={name: tensor for name, tensor in tensors.items() if "final_layer_norm.bias" not in name})
    with pytest.raises(WeightsError, match=r"1 without a place: text_projection\.weight"):
        encoder(tensors=tensors | {"text_projection.weight": torch.zeros(2)})


def test_a_vocabulary_that_is_not_the_model_s_is_refused(tmp_path):
    numbers = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
    for changed, words in [
        (numbers | {"zebra</w>": 569}, "numbers to 569 of 569, and lacks no token"),
        ({name: number for name, number in numbers.items() if name != "!"}, "lacks !"),
    ]:
        path = tmp_path / "vocab.json"
        path.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(WeightsError, match=words):
            encoder(vocab=path)


def test_a_vocabulary_that_broke_off_is_named(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text((FOLDER / "vocab.json").read_text(encoding="utf-8")[:100], encoding="utf-8")
    with pytest.raises(WeightsError, match=r"vocab\.json cannot be read as JSON .*; fetch it again"):
        encoder(vocab=path)


def test_what_was_kept_can_be_forgotten():
    text = encoder()
    first = text.encode(["cat"])
    text.forget()
    assert torch.equal(text.encode(["cat"]), first)
    assert text.encoded == 2


def test_the_published_encoder_s_tensors_all_have_their_place():
    facts = json.loads((GOLDEN / "full" / "text_encoder_params.json").read_text(encoding="utf-8"))
    config = json.loads((GOLDEN / "full" / "configs.json").read_text(encoding="utf-8"))["text_encoder"]["config"]
    tensors = {name: torch.empty(shape, device="meta") for name, shape, _ in facts["rows"]}
    text = load_text_encoder(config, tensors, FOLDER / "vocab.json", FOLDER / "merges.txt", torch.float16)
    assert sum(each.numel() for each in text.model.parameters()) == facts["param_count"]
