"""Dry runs: bytes are exact where everything was probed, hours follow from the probe, and nothing is written."""

import time
from array import array
from dataclasses import replace

import engines
import numpy as np
import pytest
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.catalog.parts import Part
from srcache.catalog.scanning import scan
from srcache.errors import CacheError, DeviceError, RecipeError
from srcache.fill import estimate as work
from srcache.fill.estimate import FillEstimate, _seconds_each, _spread, estimate
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import load_recipe, resolve

CPU = FillSettings(device="cpu")


def test_bytes_are_exact_when_everything_was_probed(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    found = estimate(catalog, recipe, tmp_path / "cache", CPU)
    assert not (tmp_path / "cache").exists()
    assert (found.wanted, found.stored, found.missing, found.probed, found.failed) == (12, 0, 12, 12, {})
    store = open_cache(fill(catalog, recipe, tmp_path / "cache", CPU).folder.parent).find(recipe).store()
    assert found.bytes == sum(len(store.get(name)) for name in store.names())
    assert found.seconds_each > 0
    assert found.hours == (found.startup_seconds + 12 * found.seconds_each) / 3600


@pytest.mark.parametrize("settings", [{"codec": "ppm"}, {"store": "shards"}, {"store": "shards", "codec": "qoi"}])
def test_bytes_are_those_of_the_codec_that_will_be_written(photos, tmp_path, settings):
    catalog, recipe, how = scan(photos), load_recipe("bicubic"), FillSettings(device="cpu", **settings)
    found = estimate(catalog, recipe, tmp_path / "cache", how)
    store = open_cache(fill(catalog, recipe, tmp_path / "cache", how).folder.parent).find(recipe).store()
    assert found.bytes == sum(len(store.get(name)) for name in store.names())


def test_a_large_data_set_is_probed_all_over_and_scaled_up(make_image, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for number in range(50):
        Image.fromarray(make_image(6, 6, number)).save(tmp_path / "photos" / f"{number:03d}.png")
    catalog, loaded = scan(tmp_path / "photos"), set()
    load = type(catalog).load

    def noting(self, index, **how):
        loaded.add(index)
        return load(self, index, **how)

    monkeypatch.setattr(type(catalog), "load", noting)
    found = estimate(catalog, load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert (found.missing, found.probed) == (50, 50), "as many as the time allows"
    assert loaded == set(range(50))
    loaded.clear()
    monkeypatch.setattr(work, "PROBE_SECONDS", 0.0)
    found = estimate(catalog, load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert (found.missing, found.probed, loaded) == (50, 2, {0, 32}), "however long one takes, two are measured"
    assert found.bytes == round(50 * found.bytes_each)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 50])
def test_each_beginning_of_a_probe_lies_all_over_the_data_set(count):
    order = list(_spread(array("q", range(count))))
    assert sorted(order) == list(range(count))
    for end in range(1, count + 1):
        gaps = np.diff([-1, *sorted(order[:end]), count])
        assert max(gaps) <= 2 * count / end + 2


def test_a_slow_engine_is_not_asked_for_a_number_of_images(photos, tmp_path, monkeypatch):
    upscale = engines.Sleepy.upscale
    monkeypatch.setattr(engines.Sleepy, "upscale", lambda *given: (time.sleep(0.2), upscale(*given))[1])
    monkeypatch.setattr(work, "PROBE_SECONDS", 0.1)
    found = estimate(scan(photos), resolve({"name": "t", "engine": "test-sleepy"}), tmp_path / "cache", CPU)
    assert (found.missing, found.probed) == (12, 2)


@pytest.mark.medium
def test_only_what_is_missing_counts_and_a_full_cache_loads_no_engine(photos, tmp_path, monkeypatch):
    recipe, catalog = resolve({"name": "t", "engine": "test-noise", "scale": 2}), scan(photos)
    fill(scan(photos / "bark"), recipe, tmp_path / "cache", CPU)
    found = estimate(catalog, recipe, tmp_path / "cache", CPU)
    assert (found.wanted, found.stored, found.missing) == (12, 4, 8)
    fill(catalog, recipe, tmp_path / "cache", CPU)
    monkeypatch.setattr(engines.Noise, "__init__", None)
    found = estimate(catalog, recipe, tmp_path / "cache", CPU)
    assert found == FillEstimate(wanted=12, stored=12, skipped=0, missing=0)
    assert (found.hours, found.bytes) == (None, None)


def test_the_engine_is_loaded_once(photos, tmp_path, monkeypatch):
    built, build = [], engines.Sleepy.__init__
    monkeypatch.setattr(engines.Sleepy, "__init__", lambda self, setup: (built.append(setup), build(self, setup))[1])
    estimate(scan(photos), resolve({"name": "t", "engine": "test-sleepy"}), tmp_path / "cache", CPU)
    assert len(built) == 1


def test_the_engine_s_time_is_shared_out_over_what_it_was_given():
    """12 images in a batch of 48: the engine took 24 s for 48, everything else 6 s for 12."""
    assert _seconds_each(24.0 / 48, 1.0, 6.0 / 12) == 0.5 + 0.5
    assert _seconds_each(24.0 / 48, 4.0, 6.0 / 12) == 2.0 + 0.5, "where the run fills up as much, too"
    each = _seconds_each(24.0 / 48, 1.0, 6.0 / 12)
    found = FillEstimate(wanted=12, stored=0, skipped=0, missing=12, seconds_each=each, startup_seconds=40.0)
    assert found.hours == 52 / 3600


@pytest.mark.medium
def test_a_probe_that_padded_shares_the_engine_s_time_and_keeps_the_loading_apart(photos, tmp_path, monkeypatch):
    """Twelve images of three shapes in batches of four, 0.04 s each to compute, 0.2 s to load."""
    build, upscale = engines.Shapes.__init__, engines.Shapes.upscale
    monkeypatch.setattr(engines.Shapes, "__init__", lambda self, setup: (time.sleep(0.2), build(self, setup))[1])
    monkeypatch.setattr(engines.Shapes, "upscale", lambda *given: (time.sleep(0.04), upscale(*given))[1])
    found = estimate(scan(photos), resolve({"name": "t", "engine": "test-shapes"}), tmp_path / "cache", CPU)
    assert found.startup_seconds >= 0.2 + 0.04, "with the image that warms up"
    assert found.seconds_each >= 0.04 / 4
    assert found.hours == (found.startup_seconds + 12 * found.seconds_each) / 3600


def test_failures_of_the_probe_are_counted(photos, tmp_path):
    for number in range(3):
        (photos / f"broken{number}.png").write_bytes(b"nothing at all" + bytes([number]))
    found = estimate(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert (found.probed, found.failed) == (15, {"unreadable": 3})


def test_what_fill_would_refuse_is_refused(photos, tmp_path):
    with pytest.raises(RecipeError, match="draws no noise"):
        estimate(scan(photos), load_recipe("bicubic"), tmp_path / "cache", FillSettings(device="cpu", samples=2))


def test_a_part_is_estimated_alone(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    found = [estimate(catalog, recipe, tmp_path / "cache", FillSettings(device="cpu", part=Part(i, 2))) for i in (0, 1)]
    assert [one.part for one in found] == [Part(0, 2), Part(1, 2)]
    assert sum(one.wanted for one in found) == sum(one.missing for one in found) == 12
    assert all(one.missing for one in found)
    with pytest.raises(CacheError, match="--store shards"):
        estimate(catalog, recipe, tmp_path / "cache", FillSettings(part=Part(0, 2), store="lmdb"))


def test_several_devices_share_the_work_and_not_the_loading(photos, tmp_path):
    found = FillEstimate(wanted=100, stored=0, skipped=0, missing=100, seconds_each=72.0, startup_seconds=360.0)
    assert (found.hours, replace(found, devices=4).hours) == (2.1, 0.6)
    catalog, recipe = scan(photos), load_recipe("bicubic")
    found = estimate(catalog, recipe, tmp_path / "cache", FillSettings(device="cpu"), ("cpu", "cpu"))
    assert (found.devices, found.missing) == (2, 12)
    with pytest.raises(DeviceError, match="name each one"):
        estimate(catalog, recipe, tmp_path / "cache", None, ("cpu", "auto"))
    with pytest.raises(CacheError, match="--store shards"):
        estimate(catalog, recipe, tmp_path / "cache", FillSettings(store="lmdb"), ("cpu", "cpu"))
