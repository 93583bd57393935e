"""SeeSR's tagger against what the reference program computed with the same small networks."""

import json
import re

import pytest
import torch
from seesr_fixtures import GOLDEN, case, cases
from seesr_tagger import close, logits, noise, parts, pixels, small
from srcache_plugins.stable_diffusion.networks import tagger as module
from srcache_plugins.stable_diffusion.networks.lora import merge_dape
from srcache_plugins.stable_diffusion.networks.tagger import Size, TaggerNetwork, load_tagger

from srcache.errors import WeightsError

RUNS = [(name, kind) for name in cases("f_ram_") for kind in ("no_antialias", "antialias")]


@pytest.mark.parametrize(("name", "kind"), RUNS)
def test_images_embeddings_logits_and_tags_are_the_reference_s(name, kind):
    meta, tensors = case(name)
    tagger = small(name[6], antialias=kind == "antialias")
    images = pixels(tensors)

    def wanted(what):  # where an image is only enlarged, antialiasing changes nothing and is stored once
        return tensors.get(f"expect.{kind}.{what}", tensors[f"expect.no_antialias.{what}"])

    tags, embeds = tagger(images)
    tolerance = meta["tolerance"]
    assert tags == [meta["results"][kind]["tags"]]
    assert embeds.dtype == torch.float32
    assert close(embeds, wanted("image_embeds"), tolerance["image_embeds_max_abs"])
    assert close(logits(tagger, embeds), wanted("logits"), tolerance["logits_max_abs"])
    every_4th = tagger.prepared(images)[..., ::4, ::4]
    assert close(every_4th, wanted("preprocessed_every_4th"), tolerance["preprocessed_max_abs"])


@pytest.mark.parametrize("name", cases("g_e2e_"))
def test_embeddings_in_the_reference_script_are_the_reference_s(name):
    meta, tensors = case(name)
    tags, embeds = small("A", antialias=meta["args"]["ram_resize_antialias"])(pixels(tensors))
    assert meta["prompt"].startswith(f"{tags[0]}, {meta['args']['user_prompt']},")
    assert close(embeds, tensors["expect.ram_embeds"], meta["tolerance"]["ram_embeds_max_abs"])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 700), (224, 224), (300, 257)])
def test_the_resize_is_torchvision_s(height, width, antialias):
    from torchvision.transforms.functional import normalize, resize

    images = noise(2, height, width)
    oracle = resize(images, [224, 224], antialias=antialias)
    oracle = normalize(oracle, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.equal(small(antialias=antialias).prepared(images), oracle)


def test_an_image_is_tagged_alike_wherever_it_stands_in_a_batch_of_one_width():
    tagger = small()
    images = noise(3, 40, 30)
    tags, embeds = tagger(images)
    turned_tags, turned = tagger(images.flip(0))
    filled_tags, filled = tagger(images[1:2].expand(3, -1, -1, -1))
    assert turned_tags == tags[::-1]
    assert filled_tags == [tags[1]] * 3
    assert torch.equal(turned.flip(0), embeds)
    assert torch.equal(filled[0], embeds[1])
    assert torch.equal(logits(tagger, turned).flip(0), logits(tagger, embeds))


def test_a_batch_gets_the_tags_of_each_image_alone():
    tagger = small()
    images = noise(3, 40, 30)
    tags, embeds = tagger(images)
    alone = [tagger(image[None]) for image in images]
    assert tags == [words[0] for words, _ in alone]
    assert close(embeds, torch.cat([each for _, each in alone]), 2e-5)


def test_an_image_without_tags_has_none_and_still_embeddings():
    ram, dape, config, (names, thresholds) = parts("B")
    tags, embeds = load_tagger(ram, dape, config, (names, [1.0] * len(thresholds)))(noise(2, 20, 20))
    assert tags == ["", ""]
    assert embeds.shape == (2, 50, 512)


def test_a_tag_is_assigned_above_its_threshold_and_not_at_it():
    ram, dape, config, (names, _) = parts("B")
    image = noise(1, 30, 30)
    reached = logits(small(), small()(image)[1]).sigmoid()[0].tolist()
    always, never = float("-inf"), float("inf")
    at = load_tagger(ram, dape, config, (names, [reached[0], always, *[never] * 15]))
    assert at(image)[0] == [names[1]]


def test_a_single_pixel_can_be_tagged():
    tags, embeds = small()(torch.ones(1, 3, 1, 1))
    assert len(tags) == 1
    assert embeds.isfinite().all()


def test_autocast_around_it_changes_nothing():
    tagger = small()
    images = noise(1, 40, 30)
    wanted = tagger(images)[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = tagger(images)[1]
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


def test_a_checkpoint_in_float16_is_computed_in_float32():
    ram, dape, _, _ = parts("B")
    halved = small(ram={k: v.half() for k, v in ram.items()}, dape={k: v.half() for k, v in dape.items()})
    images = noise(1, 40, 30)
    assert {tensor.dtype for tensor in halved.network.state_dict().values()} == {torch.float32}
    assert torch.equal(halved(images)[1], small()(images)[1])


def test_an_own_list_of_tags_must_have_the_network_s_length():
    names, thresholds = parts("B")[3]
    for listed in [(names[1:], thresholds[1:]), (names, thresholds[1:])]:
        with pytest.raises(WeightsError, match="has 17 tags, but the list has"):
            small(tags=listed)


def test_what_ram_s_file_lacks_or_has_too_much_is_named():
    ram, *_ = parts("B")
    with pytest.raises(WeightsError, match=r"RAM does not fit.*1 missing: fc\.bias"):
        small(ram={name: tensor for name, tensor in ram.items() if name != "fc.bias"})
    with pytest.raises(WeightsError, match=r"1 without a place: vision_proj\.weight"):
        small(ram=ram | {"vision_proj.weight": torch.zeros(2)})
    with pytest.raises(WeightsError, match=r"1 of another shape: fc\.bias"):
        small(ram=ram | {"fc.bias": torch.zeros(2)})
    with pytest.raises(WeightsError, match="expected one of them"):
        small(ram=ram | {name.replace("vision_multi", "tagging_head"): tensor for name, tensor in ram.items()})


def test_what_follows_from_the_sizes_may_be_in_ram_s_file():
    ram, *_ = parts("B")
    extra = {f"visual_encoder.layers.0.blocks.0.attn{end}": torch.ones(3) for end in (".relative_position_index",)}
    small(ram=ram | extra | {"visual_encoder.layers.1.blocks.1.attn_mask": torch.ones(3)})


@pytest.mark.parametrize("field", [{"hidden_act": "relu"}, {"vision_width": 100}, {"depth": 2}])
def test_a_configuration_that_is_no_ram_is_refused(field):
    with pytest.raises(WeightsError, match=next(iter(field))):
        small(config=parts("B")[2] | field)


def full_network():
    with torch.device("meta"):
        return TaggerNetwork(Size())


def test_the_published_model_s_tensors_all_have_their_place():
    facts = json.loads((GOLDEN / "full" / "ram_swin_l_lora_params.json").read_text(encoding="utf-8"))
    known = {name: tuple(shape) for name, shape, _ in facts["rows"]}
    base = {name: shape for name, shape in known.items() if ".lora_" not in name}
    places = {name: tuple(tensor.shape) for name, tensor in full_network().state_dict().items()}
    used = {
        module._timm_name(name): shape
        for name, shape in base.items()
        if not any(re.fullmatch(each, name) for each in module._SURPLUS)
    }
    assert used == places
    in_use = tuple(facts["used_at_inference"])
    added = {name: shape for name, shape in known.items() if ".lora_" in name and name.startswith(in_use)}
    counts = [torch.Size(shape).numel() for shape in [*used.values(), *added.values()]]
    assert sum(counts) == facts["used_param_count"]
    on_meta = {name: torch.empty(shape, device="meta") for name, shape in known.items()}
    dape = {name: tensor for name, tensor in on_meta.items() if ".lora_" in name}
    assert sorted(dape) == sorted(facts["lora_names"])
    plain = merge_dape({name: on_meta[name] for name in base}, dape, 8, 1)
    assert {name: tuple(tensor.shape) for name, tensor in plain.items()} == base


def test_the_sizes_are_the_published_model_s():
    facts = json.loads((GOLDEN / "full" / "configs.json").read_text(encoding="utf-8"))
    config = facts["ram_swin_l"]["config"]
    assert module._size({name: tuple(v) if isinstance(v, list) else v for name, v in config.items()}) == Size()


def test_the_tags_that_come_along_are_ram_s_in_its_order():
    wanted = json.loads((GOLDEN / "full" / "ram_tags.json").read_text(encoding="utf-8"))
    assert module._own_tags() == (wanted["tags"], wanted["thresholds"])
    assert len(wanted["tags"]) == Size().num_tags
    content = json.loads(module.TAGS.read_text(encoding="utf-8"))
    assert "recognize-anything" in content["source"]
    assert "Apache-2.0" in content["source"]


def test_without_a_list_the_tagger_has_ram_s_tags():
    ram, dape, config, _ = parts("B")
    ram = ram | {"label_embed": ram["label_embed"].repeat(270, 1)[:4585]}
    found = load_tagger(ram, dape, config | {"num_tags": 4585})(noise(1, 9, 9))[0][0]
    names = module._own_tags()[0]
    assert set(found.split(", ")) <= set(names)
    with pytest.raises(WeightsError, match="has 17 tags, but the list has 4585"):
        load_tagger(*parts("B")[:3])


def test_a_tagger_whose_labels_are_as_wide_as_its_head_needs_no_projection_of_them():
    torch.manual_seed(1)
    ram, dape, config, tags = parts("B")
    config = config | {"bert_hidden": 512, "bert_intermediate": 8, "bert_layers": 1}
    with torch.device("meta"):
        places = TaggerNetwork(Size(**config)).state_dict()
    assert not any(name.startswith("wordvec_proj") for name in places)
    head = {name: torch.randn(each.shape) / 8 for name, each in places.items() if name.startswith(("tagging", "fc"))}
    kept = {name: each for name, each in ram.items() if name.startswith(("visual", "image_proj", "label"))}
    query = "tagging_head.encoder.layer.0.crossattention.self"
    sides = {f"{query}.{kind}.lora_{side}" for kind in ("query", "key") for side in "AB"}
    none = {name: torch.zeros((8, 512) if name.endswith("A") else (512, 8)) for name in sides}
    visual = {name: each for name, each in dape.items() if name.startswith("visual")}
    tagger = load_tagger(kept | head, visual | none, config, tags)
    assert torch.equal(tagger.network.labels[0], ram["label_embed"])
    assert tagger(noise(1, 9, 9))[1].isfinite().all()
