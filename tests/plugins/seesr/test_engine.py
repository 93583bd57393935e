"""SeeSR as an engine: what it promises, what it refuses, and its way into a cache; on the small networks."""

import gc
import json
import sys
import weakref
from functools import cache, partial

import caches
import numpy as np
import pytest
import torch
from PIL import Image
from srcache_plugins.seesr import OPTIONS, SeeSR, loading
from srcache_plugins.seesr.loading import load_networks

from srcache.catalog.scanning import scan
from srcache.conformance import check_engine
from srcache.engine.interface import Failure, Setup, Upscaled
from srcache.engine.registry import open_engine
from srcache.errors import EngineError, MissingExtraError, RecipeError, WeightsError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import to_batch
from srcache.recipe.reading import load_recipe

QUICK = {"options.steps": 1, "options.process_size": 32, "options.decoder_tile": 8, "options.encoder_tile": 64}
"""Changes that make the small recipe smaller still."""


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("seesr-tiny", QUICK)


@pytest.fixture(scope="module")
def engine(recipe):
    return open_engine("seesr", recipe.setup("cpu"))


@pytest.fixture(scope="module")
def _shared():
    return cache(lambda files, how: load_networks(dict(files), how))


@pytest.fixture
def open_changed(_shared, monkeypatch):
    """Opens the small engine with changes to its recipe; recipes that load the same networks share them."""

    def load(files, how):
        return _shared(tuple(files.items()), how)

    def act(**changes):
        monkeypatch.setattr(loading, "load_networks", load)
        return open_engine("seesr", load_recipe("seesr-tiny", {**QUICK, **changes}).setup("cpu"))

    return act


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"tiling": "8/2"},
        pytest.param({"tiling": None, "options.parity": True, "scale": 2}, marks=pytest.mark.slow),
    ],
)
def test_it_keeps_the_promises_of_an_engine(changes):
    setup = load_recipe("seesr-tiny", {**QUICK, **changes}).setup("cpu")
    assert len(check_engine("seesr", setup, batch=2, size=(17, 22))) >= 19


def test_every_image_s_tags_prompt_and_way_of_computing_are_in_its_record(recipe, make_image, tmp_path):
    for number in range(3):
        Image.fromarray(make_image(16 + 4 * (number == 2), 20, number)).save(tmp_path / f"{number}.png")
    report = fill(scan(tmp_path), recipe, tmp_path / "cache", FillSettings(device="cpu"))
    assert (report.added, report.failed) == (3, {})
    with caches.opened(tmp_path / "cache", "seesr-tiny") as store:
        records = [store.record(name) for name in store.names()]
    for record in records:
        notes = record["notes"]
        assert notes["prompt"] == f"{notes['tags']}, ,clean, high-resolution, 8k"
        assert (notes["mode"], notes["batch"], notes["decoded_in"], notes["windows"]) == ("eager", 1, "fp32", 1)
    assert sorted(record["notes"]["network"] for record in records) == [[64, 80], [64, 80], [80, 80]]


def test_on_a_cpu_images_go_one_by_one_and_on_a_gpu_by_shape(open_changed):
    engine = open_changed(**{"options.process_size": 512})
    assert engine.batch_width(64, 64) == 1
    engine._one_by_one = False  # as on a GPU
    assert engine.batch_width(64, 64) == 1, "windows of 24 cells"
    engine = open_changed(**{"options.process_size": 512, "tiling": None})
    engine._one_by_one = False
    assert engine.batch_width(64, 64) == 8


def test_an_engine_leaves_the_process_s_settings_alone_and_goes_at_once(recipe, make_image, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("cuDNN's settings are those of the process")

    monkeypatch.setattr(torch.backends.cudnn, "set_flags", refused)
    engine = open_engine("seesr", recipe.setup("cpu"))
    engine.upscale(to_batch([make_image(16, 16)]), [1])
    networks = engine._pipeline.networks
    modules = [networks.unet, networks.controlnet, networks.vae._decoder, networks.text.model, networks.tagger.network]
    weights = [weakref.ref(next(module.parameters())) for module in modules]
    gc.disable()
    try:
        del engine, networks, modules
        assert [weight() for weight in weights] == [None] * 5, "its memory is free when it is dropped, not later"
    finally:
        gc.enable()


def test_a_failure_of_one_image_does_not_touch_the_others(open_changed, make_image):
    narrow = open_changed(tiling="8/7")
    (outcome,) = narrow.upscale(to_batch([make_image(8, 40)]), [1])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "too_narrow"
    assert "smaller overlap" in outcome.detail


def test_the_seed_decides_and_parity_says_what_the_reference_would_need(open_changed, make_image):
    engine = open_changed(**{"options.parity": True})
    image = to_batch([make_image(16, 16)])
    first, again, other = (engine.upscale(image, [seed])[0] for seed in (2**40 + 5, 5, 6))
    assert first.notes["reference_seed"] == 5
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


CHANGED = {"guidance": 2, "conditioning_scale": 0.5, "start": "noise", "prompt": "a", "negative_prompt": "b"}
CHANGED |= {"solver": "dpm++", "guided_share": 0.0}


@pytest.mark.parametrize(("name", "changed"), [*CHANGED.items(), ("added_prompt", "c")])
def test_every_setting_of_the_sampler_changes_the_image(name, changed, engine, open_changed, make_image):
    other = open_changed(**{f"options.{name}": changed})
    image = to_batch([make_image(16, 20)])
    assert not torch.equal(engine.upscale(image, [3])[0].image, other.upscale(image, [3])[0].image)


@pytest.mark.parametrize(("fix", "precision"), [("adain", "fp32"), (None, "fp32"), ("wavelet", "bf16")])
def test_colour_fixes_and_precisions_are_other_recipes(fix, precision, recipe, engine, make_image):
    changes = {**QUICK, "color_fix": fix, "precision": precision}
    other = load_recipe("seesr-tiny", changes)
    assert other.fingerprint != recipe.fingerprint
    image = to_batch([make_image(16, 20)])
    plain, found = engine.upscale(image, [3])[0], open_engine("seesr", other.setup("cpu")).upscale(image, [3])[0]
    assert isinstance(found, Upscaled)
    assert not torch.equal(plain.image, found.image)
    if precision == "bf16":
        assert np.abs((plain.image - found.image).numpy()).mean() < 8 / 255


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options.steps": 0}, "steps must be at least 1"),
        ({"options.steps": 1001}, "steps must be from 1 to 1000"),
        ({"options.process_size": 16}, "process_size must be at least 32"),
        ({"options.encoder_tile": 100}, "multiples of 8"),
        ({"options.encoder_tile": 8}, "encoder_tile must be at least 64"),
        ({"options.decoder_tile": 0}, "decoder_tile must be at least"),
        ({"options.guided_share": 1.5}, "guided_share must be from 0 to 1"),
        ({"options.solver": "dpm++", "options.steps": 1000}, "must be from 1 to 999"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, words):
    setup = load_recipe("seesr-tiny", {**QUICK, **changes}).setup("cpu")
    with pytest.raises(EngineError, match=words):
        open_engine("seesr", setup)


def test_a_faster_way_is_another_recipe_and_its_default_is_none(recipe):
    for changes in ({"options.solver": "dpm++"}, {"options.guided_share": 0.8}):
        assert load_recipe("seesr-tiny", {**QUICK, **changes}).fingerprint != recipe.fingerprint
    same = load_recipe("seesr-tiny", {**QUICK, "options.solver": "ddpm", "options.guided_share": 1})
    assert same.fingerprint == recipe.fingerprint


def test_options_of_another_kind_are_refused_with_the_recipe():
    with pytest.raises(RecipeError, match="start must be one of lr, noise"):
        load_recipe("seesr-tiny", {"options.start": "grey"})
    with pytest.raises(RecipeError, match="color fixes adain, wavelet"):
        load_recipe("seesr-tiny", {"color_fix": "histogram"})


def test_a_bundle_that_is_not_here_is_named_with_what_brings_it():
    with pytest.raises(WeightsError, match=r"no bundle of weights .*srcache models fetch"):
        open_engine("seesr", Setup(scale=4, weights="0" * 64))


@pytest.mark.parametrize("package", ["diffusers", "timm", "transformers"])
def test_a_missing_extra_is_named(package, recipe, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    for act in (lambda: SeeSR(recipe.setup("cpu")), lambda: SeeSR.make_weights("seesr-tiny", tmp_path)):
        with pytest.raises(MissingExtraError, match=rf"engine seesr needs {package}, .*\.\[seesr\]"):
            act()


def test_defaults_are_the_reference_s():
    released = {name: option.default for name, option in OPTIONS.items() if not option.late}
    assert released == {
        "steps": 50,
        "guidance": 5.5,
        "conditioning_scale": 1.0,
        "start": "lr",
        "prompt": "",
        "added_prompt": "clean, high-resolution, 8k",
        "negative_prompt": "dotted, noise, blur, lowres, smooth",
        "process_size": 512,
        "encoder_tile": 1024,
        "decoder_tile": 224,
        "antialias": False,
        "parity": False,
    }, "a released default never changes: it is in the fingerprint of every cache that was made with it"
    assert json.loads(json.dumps(released)) == released
    assert {name: option.default for name, option in OPTIONS.items() if option.late} == {
        "solver": "ddpm",
        "guided_share": 1.0,
    }, "later ones compute by default what was computed before"


@pytest.mark.slow
def test_a_compiled_fill_takes_any_number_of_shapes(recipe, make_image, monkeypatch, tmp_path):
    """torch limits compilations by thread, and the service's thread is not the one that opens the engine."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    for number in range(10):
        Image.fromarray(make_image(16, 16 + 2 * number, number)).save(tmp_path / f"{number}.png")
    report = fill(scan(tmp_path), recipe, tmp_path / "cache", FillSettings(device="cpu", compiled=True))
    assert (report.added, report.failed, report.mode) == (10, {}, "compiled")
