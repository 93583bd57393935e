"""OSEDiff as an engine: what it promises, what it refuses, and its way into a cache; on the small networks."""

import gc
import json
import sys
import weakref
from functools import cache

import caches
import pytest
import torch
from PIL import Image
from srcache_plugins.osediff import OPTIONS, OSEDiff, loading
from srcache_plugins.osediff.loading import load_networks

from srcache.catalog.scanning import scan
from srcache.conformance import check_engine
from srcache.engine.interface import Failure, Setup
from srcache.engine.registry import open_engine
from srcache.errors import EngineError, MissingExtraError, RecipeError, WeightsError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import to_batch
from srcache.recipe.reading import load_recipe

QUICK = {"options.process_size": 32, "options.decoder_tile": 8, "options.encoder_tile": 64}
"""Changes that make the small recipe smaller still."""


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("osediff-tiny", QUICK)


@pytest.fixture(scope="module")
def _shared():
    return cache(lambda files, how: load_networks(dict(files), how))


@pytest.fixture
def open_changed(_shared, monkeypatch):
    """Opens the small engine with changes to its recipe; recipes that load the same networks share them."""

    def act(**changes):
        monkeypatch.setattr(loading, "load_networks", lambda files, how: _shared(tuple(files.items()), how))
        return open_engine("osediff", load_recipe("osediff-tiny", {**QUICK, **changes}).setup("cpu"))

    return act


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"tiling": "8/2"}, {"tiling": None, "options.parity": True, "scale": 2}])
def test_it_keeps_the_promises_of_an_engine(changes):
    setup = load_recipe("osediff-tiny", {**QUICK, **changes}).setup("cpu")
    assert len(check_engine("osediff", setup, batch=2, size=(17, 22))) >= 19


def test_every_image_s_tags_prompt_and_way_of_computing_are_in_its_record(recipe, make_image, tmp_path):
    for number in range(3):
        Image.fromarray(make_image(16 + 4 * (number == 2), 20, number)).save(tmp_path / f"{number}.png")
    report = fill(scan(tmp_path), recipe, tmp_path / "cache", FillSettings(device="cpu"))
    assert (report.added, report.failed) == (3, {})
    with caches.opened(tmp_path / "cache", "osediff-tiny") as store:
        records = [store.record(name) for name in store.names()]
    for record in records:
        notes = record["notes"]
        assert notes["prompt"] == f"{notes['tags']}, ,"
        assert (notes["mode"], notes["batch"], notes["decoded_in"], notes["windows"]) == ("eager", 1, "fp32", 1)
    assert sorted(record["notes"]["network"] for record in records) == [[64, 80], [64, 80], [80, 80]]


def test_the_result_has_the_size_that_was_asked_for_whatever_the_networks_have(open_changed, make_image):
    for scale, side in ((1, (41, 33)), (4, (5, 9)), (3, (21, 30))):
        (made,) = open_changed(scale=scale).upscale(to_batch([make_image(*side)]), [1])
        assert tuple(made.image.shape[1:]) == (scale * side[0], scale * side[1])


def test_on_a_cpu_images_go_one_by_one_and_on_a_gpu_by_shape(open_changed):
    engine = open_changed(**{"options.process_size": 512, "tiling": None})
    assert engine.batch_width(64, 64) == 1
    engine._one_by_one = False  # as on a GPU
    assert engine.batch_width(64, 64) == 16
    assert engine.batch_width(190, 190) == 7
    tiled = open_changed(**{"options.process_size": 512})
    tiled._one_by_one = False
    assert tiled.batch_width(64, 64) == 1, "windows of 24 cells"


def test_what_is_predicted_is_what_a_call_on_a_cpu_takes(open_changed):
    engine = open_changed()
    assert engine.predicted_memory(16, 16, 1) == engine.predicted_memory(16, 16, 8) > 0
    assert engine.predicted_memory(64, 64, 1) > engine.predicted_memory(16, 16, 1)


def test_an_engine_leaves_the_process_s_settings_alone_and_goes_at_once(recipe, make_image, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("cuDNN's settings are those of the process")

    monkeypatch.setattr(torch.backends.cudnn, "set_flags", refused)
    engine = open_engine("osediff", recipe.setup("cpu"))
    engine.upscale(to_batch([make_image(16, 16)]), [1])
    engine.predicted_memory(16, 16, 1)
    networks = engine._pipeline.networks
    modules = [networks.unet, networks.vae._decoder, networks.text.model, networks.tagger.network]
    weights = [weakref.ref(next(module.parameters())) for module in modules]
    gc.disable()
    try:
        del engine, networks, modules
        assert [weight() for weight in weights] == [None] * 4, "its memory is free when it is dropped, not later"
    finally:
        gc.enable()


def test_a_failure_of_one_image_does_not_touch_the_others(open_changed, make_image):
    (outcome,) = open_changed(tiling="8/7").upscale(to_batch([make_image(8, 40)]), [1])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "too_narrow"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("options.prompt", "a"),
        ("options.posterior", "mean"),
        pytest.param("color_fix", "adain", marks=pytest.mark.slow),
        pytest.param("color_fix", None, marks=pytest.mark.slow),
    ],
)
def test_every_setting_changes_the_image_and_the_recipe(name, changed, recipe, open_changed, make_image):
    image = to_batch([make_image(16, 20)])
    plain, other = open_changed(), open_changed(**{name: changed})
    assert not torch.equal(plain.upscale(image, [3])[0].image, other.upscale(image, [3])[0].image)
    assert load_recipe("osediff-tiny", {**QUICK, name: changed}).fingerprint != recipe.fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options.process_size": 16}, "options of osediff: process_size must be at least 32, but is 16"),
        ({"options.encoder_tile": 100}, "multiples of 8"),
        (
            {"options.encoder_tile": 8, "options.decoder_tile": 0},
            "encoder_tile must be at least 64.*; decoder_tile",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, words):
    setup = load_recipe("osediff-tiny", {**QUICK, **changes}).setup("cpu")
    with pytest.raises(EngineError, match=words):
        open_engine("osediff", setup)


def test_options_of_another_kind_are_refused_with_the_recipe():
    with pytest.raises(RecipeError, match="posterior must be one of sample, mean"):
        load_recipe("osediff-tiny", {"options.posterior": "mode"})


def test_a_bundle_that_is_not_here_is_named_with_what_brings_it():
    with pytest.raises(WeightsError, match=r"no bundle of weights .*srcache models fetch"):
        open_engine("osediff", Setup(scale=4, weights="0" * 64))


def test_a_missing_extra_is_named(recipe, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for act in (lambda: OSEDiff(recipe.setup("cpu")), lambda: OSEDiff.make_weights("osediff-tiny", tmp_path)):
        with pytest.raises(MissingExtraError, match=r"engine osediff needs diffusers, .*\.\[osediff\]"):
            act()


def test_defaults_are_the_reference_s():
    assert json.loads(json.dumps({name: option.default for name, option in OPTIONS.items()})) == {
        "prompt": "",
        "process_size": 512,
        "encoder_tile": 1024,
        "decoder_tile": 224,
        "antialias": False,
        "posterior": "sample",
        "parity": False,
    }, "a released default never changes: it is in the fingerprint of every cache that was made with it"
