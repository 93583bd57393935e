"""Recipes read from YAML and written to it: shipped ones, changes, and every mistake reported at once."""

from dataclasses import replace

import pytest
from engines import Noise
from hypothesis import given
from hypothesis import strategies as st
from recipe_samples import ORPHANS, RECIPES, noise_recipe

from srcache.errors import EngineError, RecipeError
from srcache.recipe.reading import dump, load_recipe, require_engine, resolve, restore, shipped_recipes
from srcache.recipe.recipe import Recipe

SHIPPED = {
    ("bicubic", 4): "448c49d273210155",
    ("bicubic", 2): "acbb464ab9619f0b",
    ("lanczos", 4): "6936bf7950937a0c",
    ("lanczos", 2): "d9b6f661a66b48ba",
    ("compact", 2): "9cf25f43f86823df",
    ("compact", 4): "f8460286fc9f81fe",
    ("realesrgan", 4): "8a22693af4d1fe59",
    ("seesr-tiny", 4): "b2c3ba67a103dd3a",
    ("osediff-tiny", 4): "ec5b3b444346dc5d",
}


@pytest.mark.medium
def test_the_names_of_the_shipped_recipes_are_frozen():
    assert {"bicubic", "compact", "lanczos", "realesrgan"} <= set(shipped_recipes())
    found = {(name, scale): load_recipe(name, {"scale": scale}).fingerprint for name, scale in SHIPPED}
    assert found == SHIPPED, ORPHANS
    assert load_recipe("bicubic").folder == "bicubic-448c49d273210155", ORPHANS


@pytest.mark.medium
@given(RECIPES)
def test_what_a_cache_keeps_is_read_back_completely(recipe):
    back = restore(dump(recipe), "recipe.yaml")
    assert back == recipe
    assert back.name == recipe.name
    assert back.fingerprint == recipe.fingerprint
    assert {name: type(value) for name, value in back.options.items()} == {
        name: type(value) for name, value in recipe.options.items()
    }


@pytest.mark.medium
@given(st.integers(1, 10**6))
def test_five_and_five_point_nought_are_the_same(number):
    integer, point = noise_recipe(options={"strength": number}), noise_recipe(options={"strength": float(number)})
    assert integer == point
    assert (
        noise_recipe(options={"steps": number}).fingerprint
        == noise_recipe(options={"steps": float(number)}).fingerprint
    )
    assert integer.fingerprint == point.fingerprint
    assert load_recipe("bicubic", {"scale": 4.0}).fingerprint == SHIPPED["bicubic", 4]


def test_defaults_named_or_left_out_are_the_same_recipe():
    named = noise_recipe(
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
    assert named.canonical() == noise_recipe().canonical()


def test_options_are_stored_resolved_so_that_a_later_default_cannot_move_them():
    assert noise_recipe().options == {"invert": False, "steps": 2, "strength": 0.2, "tint": "none"}


def test_a_late_option_stays_out_while_it_holds_its_default():
    assert "gain" not in noise_recipe(options={"gain": 1}).options
    assert noise_recipe(options={"gain": 1.5}).options["gain"] == 1.5
    assert noise_recipe(options={"gain": 1.5}).fingerprint != noise_recipe().fingerprint


def test_the_largest_seed_is_taken():
    assert noise_recipe(seed=2**63 - 1).seed == 2**63 - 1


def test_a_recipe_refuses_an_engine_that_would_compute_something_else():
    recipe = noise_recipe()
    require_engine(recipe, Noise.info)
    with pytest.raises(RecipeError, match=r"made for version 3 .* but version 4 is installed; resolve"):
        require_engine(recipe, replace(Noise.info, numerics=4))
    with pytest.raises(RecipeError, match=r"names weights None, but engine test-noise .* ffff; install"):
        require_engine(recipe, replace(Noise.info, weights="ffff"))
    with pytest.raises(RecipeError, match="made for version 2"):
        noise_recipe(numerics=2)
    with pytest.raises(RecipeError, match="names weights abc"):
        noise_recipe(weights="abc")


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
        ("engine: test-noise\noptions: {strength: 1" + 400 * "0" + "}\n", "too large a number"),
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
        ("engine: test-noise\nseed: -1\n", "seed must be an integer from 0"),
        ("engine: test-noise\nseed: 1.5\n", "seed must be an integer from 0"),
        ("engine: test-noise\nseed: 9223372036854775808\n", "seed must be an integer from 0"),
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
        ("engine: resample\nfilter: box\n", "filter is an option of engine resample: write options.filter"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, text, words):
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


def test_all_mistakes_are_reported_at_once(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("engine: resample\nscale: -1\nseed: x\nsize: tiny\nfoo: 1\noptions: {filter: cubic, a: 1}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith("recipe 'wrong' cannot be used:\n  - ")
    for words in ("scale must", "seed must", "size must", "unknown field foo", "has no option a"):
        assert words in message
    assert message.count("\n  - ") == 5


def test_changes_to_options_that_are_no_mapping_are_reported_as_such(tmp_path):
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
        noise_recipe()
    assert noise_recipe(precision="fp16").precision == "fp16"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engine: gone\n", "name is missing"),
        ("name: x\n", "engine is missing"),
        ("name: x\nengine: gone\nfuture: 1\n", "unknown field future"),
        ("name: x\nengine: gone\noptions: {a: [1]}\n", "an option's value"),
        ("name: ../x\nengine: gone\n", "name must be of lower-case"),
        ("[1]", "must be a YAML mapping"),
    ],
)
def test_a_damaged_recipe_in_a_cache_is_refused(text, words):
    with pytest.raises(RecipeError, match=words):
        restore(text, "CACHE/x/recipe.yaml")


def test_a_cache_is_read_without_its_engine():
    assert restore("name: x\nengine: gone\n", "recipe.yaml") == Recipe(name="x", engine="gone")
