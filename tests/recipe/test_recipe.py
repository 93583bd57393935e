"""Recipes as values: frozen fingerprints, and one name per meaning."""

import json
import pickle
import shutil
import subprocess
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_samples import FULL, FULL_JSON, ORPHANS, PLAIN, RECIPES

from srcache.engine.interface import Tiling
from srcache.recipe import recipe as recipes
from srcache.recipe.degradation import Degradation
from srcache.recipe.reading import load_recipe
from srcache.recipe.recipe import Recipe, suffix_for

OTHER = {
    "engine": "another",
    "numerics": 4,
    "options": {**FULL.options, "steps": 51},
    "weights": "cd" * 32,
    "degradation": Degradation(factor=6, filter="bicubic"),
    "scale": 2,
    "size": "scale",
    "tiling": Tiling(size=96, overlap=31),
    "precision": "bf16",
    "color_fix": "adain",
    "seed": 1,
    "codec": "webp:91",
    "color_profile": "srgb",
    "background": "#00ff7f",
}

LATE = replace(FULL, color_profile="srgb", background="black")
"""With the fields that came after the first release."""


def test_canonical_json_is_frozen():
    assert load_recipe("bicubic").canonical() == PLAIN, ORPHANS


def test_a_recipe_with_every_field_set_is_frozen():
    assert all(getattr(LATE, f.name) != f.default for f in fields(Recipe)), "set the new field in LATE too"
    assert FULL.canonical() == FULL_JSON, ORPHANS
    assert FULL.fingerprint == "ce70a74c38366331", ORPHANS
    assert json.loads(LATE.canonical()) == {**json.loads(FULL_JSON), "color_profile": "srgb", "background": "black"}
    assert LATE.fingerprint == "483ad26042e2559e", ORPHANS


@pytest.mark.skipif(not shutil.which("b2sum"), reason="b2sum is not on this machine")
@pytest.mark.parametrize("recipe", [FULL, load_recipe("lanczos")], ids=["full", "lanczos"])
def test_b2sum_of_the_canonical_json_is_the_fingerprint(recipe):
    run = subprocess.run(["b2sum", "-l", "64"], input=recipe.canonical().encode(), capture_output=True, check=True)
    assert run.stdout.decode().split()[0] == recipe.fingerprint


@pytest.mark.parametrize("name", [f.name for f in fields(Recipe) if f.name != "name"])
def test_any_other_value_of_any_field_is_another_fingerprint(name):
    changed = replace(FULL, **{name: OTHER[name]})
    assert changed != FULL
    assert changed.fingerprint != FULL.fingerprint


def test_the_name_is_for_people_only():
    renamed = replace(FULL, name="other")
    assert renamed == FULL
    assert renamed.fingerprint == FULL.fingerprint
    assert renamed.folder == f"other-{FULL.fingerprint}"


@pytest.mark.medium
@given(RECIPES, RECIPES)
def test_two_recipes_have_one_fingerprint_exactly_if_they_mean_the_same(one, other):
    assert (one.fingerprint == other.fingerprint) == (json.loads(one.canonical()) == json.loads(other.canonical()))


@pytest.mark.medium
@given(RECIPES, st.randoms(use_true_random=False))
def test_the_order_of_options_means_nothing(recipe, rng):
    shuffled = dict(rng.sample(list(recipe.options.items()), len(recipe.options)))
    assert replace(recipe, options=shuffled).canonical() == recipe.canonical()


@pytest.mark.parametrize("late", ["codec", "tiling", "degradation", "seed", "scale", "precision"])
def test_a_late_field_stays_out_while_it_holds_its_default(monkeypatch, late):
    plain = load_recipe("bicubic")
    monkeypatch.setattr(recipes, "LATE_FIELDS", recipes.LATE_FIELDS | {late})
    assert set(json.loads(plain.canonical())) == set(json.loads(PLAIN)) - {late}
    assert FULL.canonical() == FULL_JSON


def test_recipes_cross_process_borders():
    assert pickle.loads(pickle.dumps(FULL)) == FULL


def test_the_engine_gets_what_the_recipe_says():
    setup = FULL.setup("cuda")
    assert (setup.scale, setup.precision, setup.tiling) == (1.5, "fp16", Tiling(size=96, overlap=32))
    assert (setup.color_fix, setup.device, setup.options) == ("wavelet", "cuda", FULL.options)


def test_sizes_of_the_stored_image():
    assert replace(FULL, size="scale").output_size((5, 7), (30, 41)) == (8, 11)
    assert FULL.output_size((5, 7), (30, 41)) == (30, 41)


def test_defaults_are_frozen():
    assert json.loads(Recipe(name="x", engine="resample", options={"filter": "bicubic"}).canonical()) == json.loads(
        PLAIN
    )


@pytest.mark.parametrize(
    ("codec", "suffix"), [(None, ".png"), ("jpeg:95", ".jpg"), ("webp:1", ".webp"), ("webp:100", ".webp")]
)
def test_the_codec_decides_the_suffix_of_exported_files(codec, suffix):
    assert suffix_for(replace(FULL, codec=codec)) == suffix


def test_plain_values_are_what_yaml_and_json_can_hold():
    plain = replace(FULL, scale=2.0, options={"b": 1, "a": True}).to_dict()
    assert list(plain["options"]) == ["a", "b"]
    assert (plain["degradation"], plain["tiling"], plain["scale"]) == ("lanczos/6", "96/32", 2)
    assert type(plain["scale"]) is int
    assert json.loads(json.dumps(plain)) == plain
