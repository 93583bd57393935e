"""Settings of a fill, and its report: what is refused before anything is made, and what is left to do."""

from dataclasses import replace

import engines
import pytest
from fills import CPU, folder_of, recipe_of

from srcache.cache.manifest import create_cache
from srcache.catalog.scanning import scan
from srcache.errors import CacheError, ConfigError, DeviceError, EngineError, RecipeError
from srcache.fill.run import fill
from srcache.fill.settings import (
    FillInterrupted,
    FillReport,
    FillSettings,
    for_several,
    require_devices,
    require_possible,
)


@pytest.mark.parametrize(
    ("engine", "samples", "words"),
    [
        ("resample", 2, "engine resample draws no noise: 2 samples would all be the same; use 1"),
        ("test-noise", 0, "samples must be from 1 to 1000, but is 0"),
        ("test-noise", 1001, "samples must be from 1 to 1000, but is 1001"),
    ],
)
def test_numbers_of_samples_that_make_no_sense_are_refused_before_anything_is_made(
    photos, tmp_path, engine, samples, words
):
    with pytest.raises(RecipeError, match=words):
        fill(scan(photos), recipe_of(engine), tmp_path / "cache", FillSettings(device="cpu", samples=samples))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("bmp", "a codec is one of qoi, png, ppm, png:1–9, jpeg:1–100, webp:1–100, but got 'bmp'"),
        ("png:0", "a codec is one of"),
        ("jpeg:95", r"takes a lossless codec \(qoi, png, ppm, png:1–9\), but got 'jpeg:95'; .* --set codec=jpeg:95"),
    ],
)
def test_a_codec_that_there_is_not_or_that_changes_pixels_is_refused(photos, tmp_path, codec, words):
    with pytest.raises(ConfigError, match=words):
        fill(scan(photos), recipe_of("resample"), tmp_path / "cache", FillSettings(device="cpu", codec=codec))
    assert not (tmp_path / "cache").exists()


def test_a_lossless_codec_is_refused_where_the_recipe_names_a_lossy_one(photos, tmp_path):
    recipe = recipe_of("resample", codec="jpeg:90")
    with pytest.raises(
        RecipeError, match=r"stores its images as jpeg:90, so a lossless codec \(ppm\) cannot be chosen"
    ):
        fill(scan(photos), recipe, tmp_path / "cache", FillSettings(device="cpu", codec="ppm"))


@pytest.mark.medium
def test_compilation_is_asked_of_engines_that_make_use_of_it_and_noted(photos, tmp_path, monkeypatch):
    compiled = FillSettings(device="cpu", compiled=True)
    with pytest.raises(EngineError, match=r"engine test-noise makes no use of torch\.compile; leave --compile"):
        fill(scan(photos), recipe_of("test-noise"), tmp_path / "cache", compiled)
    asked = []

    class Compiling(engines.Noise):
        info = replace(engines.Noise.info, compiles=True)

        def __init__(self, setup):
            asked.append(setup.compiled)
            super().__init__(setup)

    monkeypatch.setattr(engines, "Noise", Compiling)
    recipe = recipe_of("test-noise")
    for number, settings in enumerate((compiled, CPU)):
        fill(scan(photos), recipe, tmp_path / str(number), settings)
    assert asked == [True, False]
    modes = [folder_of(tmp_path / str(number), recipe).receipts()[0]["mode"] for number in range(2)]
    assert modes == ["compiled", "eager"]


def test_a_recipe_for_another_engine_version_is_refused(photos, tmp_path, monkeypatch):
    recipe = recipe_of("test-noise")
    monkeypatch.setattr(engines.Noise, "info", replace(engines.Noise.info, numerics=99))
    with pytest.raises(RecipeError, match="version 3 of engine test-noise's arithmetic, but version 99"):
        fill(scan(photos), recipe, tmp_path / "cache", CPU)
    assert not (tmp_path / "cache").exists()


def test_what_is_left_is_what_is_neither_stored_nor_added(tmp_path):
    report = FillReport(folder=tmp_path, recipe="r", wanted=10, stored=3, added=5, skipped=1)
    assert report.left == 2
    assert FillReport(folder=tmp_path, recipe="r", wanted=10, stored=3).left == 7
    assert FillInterrupted(report).report is report
    assert isinstance(FillInterrupted(report), KeyboardInterrupt), "so that nothing catches it as an error"


@pytest.mark.parametrize("samples", [1, 2, 1000])
def test_as_many_samples_as_an_engine_can_draw_are_allowed(samples):
    require_possible(recipe_of("test-noise"), FillSettings(samples=samples))


# --- several processes ------------------------------------------------------------------------------------------------


def test_a_new_cache_that_several_fill_is_made_of_shards(tmp_path):
    assert for_several(tmp_path / "cache", FillSettings(samples=3)) == FillSettings(samples=3, store="shards")
    create_cache(tmp_path / "cache", "shards")
    assert for_several(tmp_path / "cache", FillSettings()).store == "shards"
    mistaken = for_several(tmp_path / "cache", FillSettings(store="lmdb"))
    with pytest.raises(CacheError, match="keeps its images in shards, not in lmdb"):
        create_cache(tmp_path / "cache", mistaken.store)


def test_lmdb_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(CacheError, match=r"use a cache with --store shards$"):
        for_several(tmp_path / "cache", FillSettings(store="lmdb"))
    create_cache(tmp_path / "cache", "lmdb")
    for settings in (FillSettings(), FillSettings(store="lmdb")):
        with pytest.raises(CacheError, match=r"export .*cache NEW --format shards` makes"):
            for_several(tmp_path / "cache", settings)


@pytest.mark.parametrize(
    ("devices", "message"),
    [((), "at least one device"), (("auto", "cpu"), "but got auto,cpu; name each one"), (("cpu", "tpu"), "'tpu'")],
)
def test_devices_are_named(devices, message):
    require_devices(["cpu", "cpu"])
    require_devices(["cpu", "cpu"], recipe_of("test-noise"))
    with pytest.raises(DeviceError, match="got 'mps', on which engine test-noise does not run"):
        require_devices(["cpu", "mps"], recipe_of("test-noise"))
    with pytest.raises(DeviceError, match=message):
        require_devices(devices)
