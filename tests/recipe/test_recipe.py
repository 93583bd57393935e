"""Recipes: frozen fingerprints, one name per meaning, every mistake told at once."""

import json
import pickle
import shutil
import subprocess
from dataclasses import fields, replace

import pytest
from engines import Noise
from hypothesis import given
from hypothesis import strategies as st

from srcache.engine.interface import Tiling
from srcache.errors import EngineError, RecipeError
from srcache.images import FILTERS
from srcache.recipe import recipe as recipes
from srcache.recipe.degradation import Degradation
from srcache.recipe.reading import dump, load_recipe, resolve, restore, shipped_recipes
from srcache.recipe.recipe import Recipe

ORPHANS = "this change orphans every cache in the field"

SHIPPED = {
    ("bicubic", 4): "448c49d273210155",
    ("bicubic", 2): "acbb464ab9619f0b",
    ("lanczos", 4): "6936bf7950937a0c",
    ("lanczos", 2): "d9b6f661a66b48ba",
    ("compact", 2): "9cf25f43f86823df",
    ("compact", 4): "f8460286fc9f81fe",
    ("realesrgan", 4): "8a22693af4d1fe59",
    ("seesr-tiny", 4): "b2c3ba67a103dd3a",
}
PLAIN = (
    '{"codec":null,"color_fix":null,"degradation":null,"engine":"resample","numerics":1,"options":{"filter":"bicubic"},'
    '"precision":"fp32","scale":4,"seed":0,"size":"scale","tiling":null,"weights":null}'
)
FULL = Recipe(
    name="full",
    engine="some-engine",
    numerics=3,
    options={"strength": 0.25, "steps": 50, "whole": 5.0, "invert": True, "prompt": "größer, “clean”"},
    weights="ab" * 32,
    degradation=Degradation(factor=6, filter="lanczos"),
    scale=1.5,
    size="source",
    tiling=Tiling(size=96, overlap=32),
    precision="fp16",
    color_fix="wavelet",
    seed=2**63 - 1,
    codec="webp:90",
)
FULL_JSON = (
    '{"codec":"webp:90","color_fix":"wavelet","degradation":"lanczos/6","engine":"some-engine","numerics":3,'
    '"options":{"invert":true,"prompt":"gr\\u00f6\\u00dfer, \\u201cclean\\u201d","steps":50,"strength":0.25,"whole":5},'
    '"precision":"fp16","scale":1.5,"seed":9223372036854775807,"size":"source","tiling":"96/32",'
    '"weights":"abababababababababababababababababababababababababababababababab"}'
)
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
}

WORDS = st.sampled_from(
    [
        "",
        "a",
        " x ",
        "null",
        "~",
        "yes",
        "1e3",
        "0x1F",
        "1:30",
        "2024-01-01",
        "a: b",
        "# c",
        "- d",
        "{}",
        "日本",
        "\n",
        "'",
        "\t",
    ]
)
OPTION = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), WORDS)
RECIPES = st.builds(
    Recipe,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
    engine=WORDS,
    numerics=st.integers(0, 9),
    options=st.dictionaries(WORDS, OPTION, max_size=4),
    weights=st.none() | st.just("ab" * 32),
    degradation=st.none() | st.builds(Degradation, factor=st.integers(2, 9), filter=st.sampled_from(sorted(FILTERS))),
    scale=st.integers(1, 64) | st.floats(0.01, 64).map(lambda value: int(value) if value.is_integer() else value),
    size=st.sampled_from(["scale", "source"]),
    tiling=st.none() | st.builds(Tiling, size=st.integers(64, 96), overlap=st.integers(0, 63)),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    color_fix=st.none() | st.just("wavelet"),
    seed=st.integers(0, 2**63 - 1),
    codec=st.none() | st.sampled_from(["jpeg:95", "webp:1"]),
)


def _noise(**changes):
    return resolve({"name": "noise", "engine": "test-noise", **changes})


def test_the_names_of_the_shipped_recipes_are_frozen():
    assert {"bicubic", "compact", "lanczos", "realesrgan"} <= set(shipped_recipes())
    found = {(name, scale): load_recipe(name, {"scale": scale}).fingerprint for name, scale in SHIPPED}
    assert found == SHIPPED, ORPHANS
    assert load_recipe("bicubic").folder == "bicubic-448c49d273210155", ORPHANS


def test_canonical_json_is_frozen():
    assert load_recipe("bicubic").canonical() == PLAIN, ORPHANS


def test_a_recipe_with_every_field_set_is_frozen():
    assert all(getattr(FULL, f.name) != f.default for f in fields(Recipe)), "set the new field in FULL too"
    assert FULL.canonical() == FULL_JSON, ORPHANS
    assert FULL.fingerprint == "ce70a74c38366331", ORPHANS


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


@given(RECIPES)
def test_what_a_cache_keeps_is_read_back_whole(recipe):
    back = restore(dump(recipe), "recipe.yaml")
    assert back == recipe
    assert back.name == recipe.name
    assert back.fingerprint == recipe.fingerprint
    assert {name: type(value) for name, value in back.options.items()} == {
        name: type(value) for name, value in recipe.options.items()
    }


@given(RECIPES, RECIPES)
def test_two_recipes_have_one_fingerprint_exactly_if_they_mean_the_same(one, other):
    assert (one.fingerprint == other.fingerprint) == (json.loads(one.canonical()) == json.loads(other.canonical()))


@given(RECIPES, st.randoms(use_true_random=False))
def test_the_order_of_options_means_nothing(recipe, dice):
    shuffled = dict(dice.sample(list(recipe.options.items()), len(recipe.options)))
    assert replace(recipe, options=shuffled).canonical() == recipe.canonical()


@given(st.integers(1, 10**6))
def test_five_and_five_point_nought_are_the_same(number):
    whole, point = _noise(options={"strength": number}), _noise(options={"strength": float(number)})
    assert whole == point
    assert _noise(options={"steps": number}).fingerprint == _noise(options={"steps": float(number)}).fingerprint
    assert whole.fingerprint == point.fingerprint
    assert load_recipe("bicubic", {"scale": 4.0}).fingerprint == SHIPPED["bicubic", 4]


def test_defaults_named_or_left_out_are_the_same_recipe():
    named = _noise(
        options={"strength": 0.2, "steps": 2, "invert": False, "tint": "none", "gain": 1.0},
        numerics=3,
        degradation="none",
        weights=None,
        scale=4,
        size="scale",
        tiling=None,
        precision="fp32",
        color_fix="none",
        seed=0,
        codec=None,
    )
    assert named.canonical() == _noise().canonical()


def test_options_are_stored_resolved_so_that_a_later_default_cannot_move_them():
    assert _noise().options == {"invert": False, "steps": 2, "strength": 0.2, "tint": "none"}


def test_a_late_option_stays_out_while_it_holds_its_default():
    assert "gain" not in _noise(options={"gain": 1}).options
    assert _noise(options={"gain": 1.5}).options["gain"] == 1.5
    assert _noise(options={"gain": 1.5}).fingerprint != _noise().fingerprint


@pytest.mark.parametrize("late", ["codec", "tiling", "degradation", "seed", "scale", "precision"])
def test_a_late_field_stays_out_while_it_holds_its_default(monkeypatch, late):
    plain = load_recipe("bicubic")
    monkeypatch.setattr(recipes, "LATE_FIELDS", frozenset({late}))
    assert set(json.loads(plain.canonical())) == set(json.loads(PLAIN)) - {late}
    assert FULL.canonical() == FULL_JSON


def test_the_largest_seed_is_taken():
    assert _noise(seed=2**63 - 1).seed == 2**63 - 1


def test_recipes_cross_process_borders():
    assert pickle.loads(pickle.dumps(FULL)) == FULL


def test_the_engine_gets_what_the_recipe_says():
    setup = FULL.setup("cuda")
    assert (setup.scale, setup.precision, setup.tiling) == (1.5, "fp16", Tiling(size=96, overlap=32))
    assert (setup.color_fix, setup.device, setup.options) == ("wavelet", "cuda", FULL.options)


def test_sizes_of_the_stored_image():
    assert replace(FULL, size="scale").output_size((5, 7), (30, 41)) == (8, 11)
    assert FULL.output_size((5, 7), (30, 41)) == (30, 41)


def test_a_recipe_refuses_an_engine_that_would_compute_something_else():
    recipe = _noise()
    recipe.require(Noise.info)
    with pytest.raises(RecipeError, match=r"made for version 3 .* but version 4 is installed; resolve"):
        recipe.require(replace(Noise.info, numerics=4))
    with pytest.raises(RecipeError, match=r"names weights None, but engine test-noise .* ffff; install"):
        recipe.require(replace(Noise.info, weights="ffff"))
    with pytest.raises(RecipeError, match="made for version 2"):
        _noise(numerics=2)
    with pytest.raises(RecipeError, match="names weights abc"):
        _noise(weights="abc")


def test_a_file_becomes_a_recipe_named_after_it(tmp_path):
    path = tmp_path / "my-x2.yaml"
    path.write_text("engine: resample\nscale: 2\noptions: {filter: lanczos}\n")
    assert load_recipe(path).fingerprint == SHIPPED["lanczos", 2]
    assert load_recipe(path).name == "my-x2"
    changed = load_recipe(str(path), {"scale": 4, "options.filter": "bicubic", "name": "other"})
    assert changed.folder == f"other-{SHIPPED['bicubic', 4]}"
    path.write_text("engine: resample\n")
    assert load_recipe(path, {"options.filter": "lanczos"}).fingerprint == SHIPPED["lanczos", 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "must be a YAML mapping"),
        ("", "must be a YAML mapping"),
        ("1: 2\n", "must be a YAML mapping"),
        ("engine: [", "is not YAML"),
        ("scale: 4\n", "engine is missing"),
        ("name: Ä\nengine: resample\n", "name must be of lower-case letters"),
        ("name:\nengine: resample\n", "name must be of lower-case letters"),
        ("engine: resample\noptions: [filter]\n", "options must be a mapping"),
        ("engine: resample\noptions: {filter: {a: b}}\n", "an option's value is a finite number"),
        ("engine: test-noise\noptions: {strength: .nan}\n", "an option's value is a finite number"),
        ("engine: test-noise\noptions: {strength: -.inf}\n", "an option's value is a finite number"),
        ("engine: test-noise\noptions: {strength: strong}\n", "option strength must be of type float"),
        ("engine: test-noise\noptions: {steps: 2.5}\n", "option steps must be of type int"),
        ("engine: test-noise\noptions: {steps: true}\n", "option steps must be of type int"),
        ("engine: test-noise\noptions: {strength: 1" + 400 * "0" + "}\n", "option strength must be a finite number"),
        ("engine: test-noise\noptions: {invert: 1}\n", "option invert must be of type bool"),
        ("engine: test-noise\noptions: {tint: green}\n", "option tint must be one of none, red, blue"),
        ("engine: test-noise\noptions: {colour: 1}\n", "has no option colour; it has: gain, invert"),
        ("engine: test-noise\nscale: 3\n", "scale must be one of 2, 4 for engine test-noise, but is 3"),
        ("engine: test-noise\nprecision: fp16\n", "computes in fp32, bf16, not in fp16"),
        ("engine: test-noise\nprecision: int8\n", "precision must be one of fp32, bf16, fp16"),
        ("engine: test-noise\ncolor_fix: wavelet\n", "has color fixes mean"),
        ("engine: test-noise\ntiling: 96\n", "tiling must be a text"),
        ("engine: test-noise\ntiling: 96x32\n", "tiling is written size/overlap"),
        ("engine: test-noise\ntiling: 32/32\n", "overlap must be at least 0 and below its size 32"),
        ("engine: test-noise\nseed: -1\n", "seed must be a whole number from 0"),
        ("engine: test-noise\nseed: 1.5\n", "seed must be a whole number from 0"),
        ("engine: test-noise\nseed: 9223372036854775808\n", "seed must be a whole number from 0"),
        ("engine: resample\nseed: 1\n", "draws no noise; leave seed out"),
        ("engine: resample\ntiling: 96/32\n", "does not tile; leave tiling out"),
        ("engine: resample\ncolor_fix: mean\n", "has color fixes none"),
        ("engine: resample\nsize: source\n", "size: source needs a degradation"),
        ("engine: resample\nsize: huge\n", "size must be one of scale, source"),
        ("engine: resample\nscale: 0\n", "scale must be a number above 0"),
        ("engine: resample\nscale: .nan\n", "scale must be a number above 0"),
        ("engine: resample\nscale: true\n", "scale must be a number above 0"),
        ("engine: resample\nscale: 65\n", "scale must be a number above 0"),
        ("engine: resample\nscale: four\n", "scale must be a number above 0"),
        ("engine: resample\ncodec: png\n", "png is lossless, which is what leaving it out means"),
        ("engine: resample\ncodec: jpeg\n", "a codec is one of"),
        ("engine: resample\ncodec: jpeg:101\n", "a codec is one of"),
        ("engine: resample\ncodec: 95\n", "codec must be a text"),
        ("engine: resample\ndegradation: 4\n", "degradation must be a text"),
        ("engine: resample\ndegradation: bicubic\n", "a degradation is written filter/factor"),
        ("engine: resample\nsharpness: 2\n", "unknown field sharpness; known: name, engine"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, text, words):
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


def test_all_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("engine: resample\nscale: -1\nseed: x\nsize: tiny\nfoo: 1\noptions: {filter: cubic, a: 1}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith("recipe 'wrong' cannot be used:\n  - ")
    for words in ("scale must", "seed must", "size must", "unknown field foo", "has no option a"):
        assert words in message
    assert message.count("\n  - ") == 5


def test_changes_to_options_that_are_no_mapping_are_told_as_such(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("engine: resample\noptions: [filter]\n")
    with pytest.raises(RecipeError, match="options must be a mapping"):
        load_recipe(path, {"options.filter": "box"})


def test_recipes_that_are_not_there(tmp_path):
    with pytest.raises(RecipeError, match=r"no recipe is named 'bicubik'; use one of bicubic, .* or a \.yaml file"):
        load_recipe("bicubik")
    with pytest.raises(RecipeError, match=r"none\.yaml cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("engine: ä".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.yaml cannot be read"):
        load_recipe(tmp_path / "latin.yaml")


def test_resolve_needs_a_name_and_an_engine():
    with pytest.raises(RecipeError, match="name is missing"):
        resolve({"engine": "resample"})
    with pytest.raises(RecipeError, match="name and engine is missing"):
        resolve({})
    with pytest.raises(EngineError, match=r"no engine is named 'nobody'; installed: .*resample, .*spandrel"):
        resolve({"name": "x", "engine": "nobody"})


def test_an_engine_without_the_default_precision_wants_one_named(monkeypatch):
    monkeypatch.setattr(Noise, "info", replace(Noise.info, precisions=("fp16",)))
    with pytest.raises(RecipeError, match="computes in fp16, not in fp32"):
        _noise()
    assert _noise(precision="fp16").precision == "fp16"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engine: gone\n", "name is missing"),
        ("name: x\n", "engine is missing"),
        ("name: x\nengine: gone\nfuture: 1\n", "unknown field future"),
        ("name: x\nengine: gone\noptions: {a: 2024-01-01}\n", "an option's value"),
        ("name: ../x\nengine: gone\n", "name must be of lower-case"),
        ("[1]", "must be a YAML mapping"),
    ],
)
def test_a_damaged_recipe_in_a_cache_is_refused(text, words):
    with pytest.raises(RecipeError, match=words):
        restore(text, "CACHE/x/recipe.yaml")


def test_a_cache_is_read_without_its_engine():
    assert restore("name: x\nengine: gone\n", "recipe.yaml") == Recipe(name="x", engine="gone")


def test_defaults_are_frozen():
    assert json.loads(Recipe(name="x", engine="resample", options={"filter": "bicubic"}).canonical()) == json.loads(
        PLAIN
    )
