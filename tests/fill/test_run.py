"""Filling a cache: what is missing is made once, everything else is left alone, and the books are right."""

import json
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import engines
import numpy as np
import pytest
from fills import CPU, Counted, contents, folder_of, recipe_of, write
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import from_dataset, scan
from srcache.engine.interface import Upscaled
from srcache.errors import BusyError, CacheError, DiskFullError, EngineError
from srcache.fill.run import fill
from srcache.fill.settings import FillInterrupted, FillSettings
from srcache.images import decode
from srcache.keys import entry_name, file_key, image_key, pixel_key
from srcache.recipe.degradation import Degradation
from srcache.recipe.reading import load_recipe
from srcache.stores import source_of
from srcache.stores.lmdb import LmdbStore

# --- what is made ----------------------------------------------------------------------------------------------------


def test_a_first_run_makes_everything_and_keeps_its_books(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    report = fill(catalog, recipe, tmp_path / "cache", CPU)
    assert (report.wanted, report.stored, report.added, report.skipped, report.left) == (12, 0, 12, 0, 0)
    assert (report.failed, report.failures, report.interrupted, report.device) == ({}, (), False, "cpu")
    assert 0 < report.engine_seconds <= report.seconds
    folder = folder_of(tmp_path / "cache", recipe)
    assert (folder.path, folder.recipe) == (report.folder, recipe)
    (receipt,) = folder.receipts()
    assert {key: receipt[key] for key in ("wanted", "stored_before", "added", "failed", "skipped", "samples")} == {
        "wanted": 12,
        "stored_before": 0,
        "added": 12,
        "failed": {},
        "skipped": 0,
        "samples": 1,
    }
    assert (receipt["engine"], receipt["device"], receipt["interrupted"]) == ("resample", "cpu", False)
    assert receipt["mode"] == "eager"
    assert {"python", "torch", "pillow"} <= set(receipt["versions"])
    kept = open_cache(tmp_path / "cache").catalogs()
    assert list(kept) == [catalog.digest] == [receipt["catalog"]]
    assert Path(kept[catalog.digest]).read_text() == catalog.to_csv()


def test_baselines_equal_pillow_bit_for_bit(photos, tmp_path):
    report = fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)
    stored = contents(report)
    assert len(stored) == 12
    for file in photos.rglob("*.*"):
        with Image.open(file) as image:
            expected = image.convert("RGB").resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(decode(stored[entry_name(file_key(file), 0)]), np.asarray(expected))


def test_a_second_run_does_nothing_and_loads_no_engine(photos, tmp_path, monkeypatch):
    counted, recipe = Counted(monkeypatch, engines.Shapes), recipe_of("test-shapes")
    first = fill(scan(photos), recipe, tmp_path / "cache", CPU)
    before = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    again = fill(scan(photos), recipe, tmp_path / "cache", CPU)
    assert (again.wanted, again.stored, again.added, again.seconds) == (12, 12, 0, 0.0)
    assert counted.built == 1
    assert contents(again) == contents(first)
    after = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"lock.mdb", "lock"}


def test_new_images_are_added_and_a_smaller_catalog_needs_no_engine(photos, tmp_path, monkeypatch):
    counted, recipe = Counted(monkeypatch, engines.Noise), recipe_of("test-noise")
    fill(scan(photos / "bark"), recipe, tmp_path / "cache", CPU)
    report = fill(scan(photos), recipe, tmp_path / "cache", CPU)
    assert (report.wanted, report.stored, report.added) == (12, 4, 8)
    fill(scan(photos / "moss"), recipe, tmp_path / "cache", CPU)
    assert counted.built == 2
    assert len(set(counted.seeds)) == 12
    folder = folder_of(tmp_path / "cache", recipe)
    assert [receipt["added"] for receipt in folder.receipts()] == [4, 8, 0]
    assert len(open_cache(tmp_path / "cache").catalogs()) == 3


def test_an_image_that_is_there_twice_is_made_once(photos, tmp_path, monkeypatch):
    counted = Counted(monkeypatch, engines.Sleepy)
    shutil.copy(photos / "bark" / "bark0.png", photos / "moss" / "again.png")
    catalog = scan(photos)
    report = fill(catalog, recipe_of("test-sleepy"), tmp_path / "cache", CPU)
    assert (len(catalog), report.wanted, report.added, len(counted.seeds)) == (13, 12, 12, 12)


@pytest.mark.medium
def test_samples_are_made_of_one_decoding_each_and_more_of_them_later(photos, tmp_path, monkeypatch):
    catalog, recipe = scan(photos), recipe_of("test-noise", seed=3)
    one = contents(fill(catalog, recipe, tmp_path / "one", CPU))
    loads, load = Counter(), type(catalog).load
    monkeypatch.setattr(
        type(catalog), "load", lambda self, index, **how: (loads.update([index]), load(self, index, **how))[1]
    )
    report = fill(catalog, recipe, tmp_path / "three", FillSettings(device="cpu", samples=3))
    three = contents(report)
    assert (report.wanted, report.added) == (36, 36)
    assert set(loads.values()) == {1}
    assert {name: three[name] for name in one} == one
    assert len(set(three.values())) == 36
    more = fill(catalog, recipe, tmp_path / "one", FillSettings(device="cpu", samples=3))
    assert (more.wanted, more.stored, more.added) == (36, 12, 24)
    assert contents(more) == three
    assert folder_of(tmp_path / "one", recipe).samples == 3


def test_a_degraded_image_is_brought_back_to_its_source_s_size(photos, tmp_path):
    recipe = load_recipe("bicubic", {"degradation": "box/3", "scale": 3, "size": "source"})
    stored = contents(fill(scan(photos), recipe, tmp_path / "cache", CPU))
    for file in photos.rglob("*.*"):
        source = decode(file.read_bytes())
        lr = Degradation(factor=3, filter="box").apply(source)
        large = Image.fromarray(lr).resize((3 * lr.shape[1], 3 * lr.shape[0]), Image.Resampling.BICUBIC)
        expected = large.resize((source.shape[1], source.shape[0]), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(decode(stored[entry_name(file_key(file), 0)]), np.asarray(expected))


@pytest.mark.medium
def test_a_lossy_codec_is_what_the_recipe_says(photos, tmp_path):
    plain = contents(fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU))
    lossy = contents(fill(scan(photos), load_recipe("bicubic", {"codec": "jpeg:90"}), tmp_path / "cache", CPU))
    assert {payload[:4] for payload in plain.values()} == {b"qoif"}
    assert {payload[:3] for payload in lossy.values()} == {b"\xff\xd8\xff"}
    for name, payload in lossy.items():
        error = decode(payload).astype(int) - decode(plain[name]).astype(int)
        assert 0 < np.abs(error).mean() < 6
    assert len(open_cache(tmp_path / "cache").folders()) == 2


@pytest.mark.medium
@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workers=st.integers(1, 4), seed=st.integers(0, 99), cut=st.integers(0, 12))
def test_bytes_do_not_depend_on_threads_order_or_restarts(photos, tmp_path, workers, seed, cut):
    recipe, settings = recipe_of("test-shapes"), FillSettings(device="cpu", workers=workers)
    catalog = scan(photos)
    rows = list(catalog.rows)
    random.Random(seed).shuffle(rows)
    cache = tmp_path / f"{workers}-{seed}-{cut}-{time.monotonic_ns()}"
    if cut:
        fill(replace(catalog, rows=tuple(rows[:cut])), recipe, cache, settings)
    stored = contents(fill(replace(catalog, rows=tuple(rows)), recipe, cache, settings))
    assert stored == contents(fill(catalog, recipe, tmp_path / "plain", CPU))


# --- where images come from ------------------------------------------------------------------------------------------


def test_a_csv_file_is_a_catalog(photos, tmp_path):
    (photos / "some.csv").write_text("path,label\nbark/bark0.png,a\nmoss/moss3.jpg,b\n")
    report = fill(scan(photos / "some.csv"), load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert report.added == 2
    assert set(contents(report)) == {
        entry_name(file_key(photos / "bark" / "bark0.png"), 0),
        entry_name(file_key(photos / "moss" / "moss3.jpg"), 0),
    }


def test_an_image_folder_and_a_hugging_face_data_set_name_the_same_entries(photos, tmp_path):
    import datasets
    from torchvision.datasets import ImageFolder

    recipe, cache = load_recipe("bicubic"), tmp_path / "cache"
    assert fill(from_dataset(ImageFolder(photos)), recipe, cache, CPU).added == 12
    files = sorted(str(path) for path in photos.rglob("*.*"))
    table = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    report = fill(from_dataset(table), recipe, cache, CPU)
    assert (report.wanted, report.stored, report.added) == (12, 12, 0)


def test_images_in_memory_are_named_by_their_pixels_and_found_by_them(photos, tmp_path):
    files = sorted(photos.rglob("*.png"))
    images = [(Image.open(file).convert("RGB"), 0) for file in files]
    report = fill(from_dataset(images), load_recipe("bicubic"), tmp_path / "memory", CPU)
    assert set(contents(report)) == {entry_name(pixel_key(np.asarray(image)), 0) for image, _ in images}
    store = LmdbStore(fill(scan(photos), load_recipe("bicubic"), tmp_path / "files", CPU).folder / "data.lmdb")
    assert [store.resolve(pixel_key(np.asarray(image))) for image, _ in images] == [file_key(file) for file in files]


def test_both_readings_of_a_turned_photo_lead_to_its_file(make_image, tmp_path):
    (tmp_path / "photos").mkdir()
    file = tmp_path / "photos" / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_image(10, 14)).save(file, exif=exif)
    report = fill(scan(tmp_path / "photos"), load_recipe("bicubic"), tmp_path / "cache", CPU)
    store = LmdbStore(report.folder / "data.lmdb")
    upright, plain = decode(file.read_bytes()), np.asarray(Image.open(file).convert("RGB"))
    assert upright.shape == (14, 10, 3)
    assert [source_of(store, pixel_key(rgb)) for rgb in (upright, plain)] == [file_key(file)] * 2


# --- failures --------------------------------------------------------------------------------------------------------


def test_failures_are_counted_noted_skipped_and_tried_again_on_demand(make_image, tmp_path):
    marks = {1: "fails", 2: "nan", 5: "fails"}
    photos = write(tmp_path / "photos", 8, lambda number: (20, 20), marks.get, make_image)
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    catalog, recipe, cache = scan(photos), recipe_of("test-faulty"), tmp_path / "cache"
    report = fill(catalog, recipe, cache, CPU)
    assert (report.added, report.left) == (5, 4)
    assert report.failed == {"marked": 2, "not_finite": 1, "truncated": 1}
    assert [failed.source for failed in report.failures] == ["0001.png", "0002.png", "0005.png", "broken.png"]
    assert folder_of(cache, recipe).receipts()[0]["failed"] == report.failed
    again = fill(catalog, recipe, cache, CPU)
    assert (again.stored, again.skipped, again.added, again.failed, again.left) == (5, 4, 0, {}, 4)
    retried = fill(catalog, recipe, cache, FillSettings(device="cpu", retry_failed=True))
    assert (retried.stored, retried.skipped, retried.failed) == (5, 0, report.failed)
    tries = {failed.source: failed.tries for failed in folder_of(cache, recipe).failures().values()}
    assert tries == dict.fromkeys(["0001.png", "0002.png", "0005.png", "broken.png"], 2)


@pytest.mark.parametrize("culprits", [(0, 2, 3), (1, 2, 3)])
def test_an_image_is_not_kept_out_for_good_by_what_its_batch_mates_did(make_image, tmp_path, culprits):
    """Of a shape of which nothing has worked yet, only some images are tried; which ones is a matter of their order."""
    (tmp_path / "photos").mkdir()
    for number in range(4):
        rgb = make_image(8, 8, number)
        rgb[0, 0] = engines.MARKS["raises"] if number in culprits else rgb[0, 0]
        Image.fromarray(rgb).save(tmp_path / f"photos/{number:04d}.png")
    catalog, recipe, cache = scan(tmp_path / "photos"), recipe_of("test-faulty"), tmp_path / "cache"
    reports = [fill(catalog, recipe, cache, CPU) for _ in range(2)]
    assert sum(report.added for report in reports) == 1
    assert {failed.source for failed in folder_of(cache, recipe).failures().values()} == {
        f"{number:04d}.png" for number in culprits
    }


def test_what_failed_and_then_succeeds_is_stored(make_image, tmp_path, monkeypatch):
    photos = write(tmp_path / "photos", 3, lambda number: (20, 20), {1: "fails"}.get, make_image)
    catalog, recipe, cache = scan(photos), recipe_of("test-faulty"), tmp_path / "cache"
    assert fill(catalog, recipe, cache, CPU).added == 2
    monkeypatch.setattr(engines, "MARKS", {})
    assert fill(catalog, recipe, cache, FillSettings(device="cpu", retry_failed=True)).added == 1
    done = fill(catalog, recipe, cache, CPU)
    assert (done.stored, done.skipped, done.left) == (3, 0, 0)


def test_a_journal_that_a_crash_cut_short_loses_its_last_line_only(make_image, tmp_path):
    marks = {0: "fails", 1: "fails"}
    photos = write(tmp_path / "photos", 3, lambda number: (20, 20), marks.get, make_image)
    catalog, recipe, cache = scan(photos), recipe_of("test-faulty"), tmp_path / "cache"
    journal = fill(catalog, recipe, cache, CPU).folder / "failures.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    report = fill(catalog, recipe, cache, CPU)
    assert (report.skipped, report.failed) == (1, {"marked": 1})
    assert fill(catalog, recipe, cache, CPU).skipped == 2
    lines = journal.read_text().splitlines()
    assert len(lines) == 3
    assert sum(is_json(line) for line in lines) == 2


def is_json(line):
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.medium
def test_a_data_set_whose_images_all_have_different_shapes_is_built(make_image, tmp_path, monkeypatch):
    counted = Counted(monkeypatch, engines.Shapes)
    photos = write(tmp_path / "photos", 70, lambda number: (4 + number % 7, 4 + number // 7), make=make_image)
    report = fill(scan(photos), recipe_of("test-shapes"), tmp_path / "cache", CPU)
    assert report.added == 70
    assert set(counted.batches) == {4}
    assert report.padding == 0.75


# --- interruptions, the disk, other processes ------------------------------------------------------------------------


@pytest.mark.medium
def test_ctrl_c_keeps_the_batch_in_hand_and_the_next_run_goes_on(photos, tmp_path, monkeypatch):
    counted, recipe = Counted(monkeypatch, engines.Sleepy), recipe_of("test-sleepy")
    upscale = engines.Sleepy.upscale

    def interrupting(self, images, seeds):
        if len(counted.batches) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return upscale(self, images, seeds)

    monkeypatch.setattr(engines.Sleepy, "upscale", interrupting)
    with pytest.raises(FillInterrupted) as stop:
        fill(scan(photos), recipe, tmp_path / "cache", FillSettings(device="cpu", batch=3))
    report = stop.value.report
    assert report.interrupted
    assert len(counted.batches) == 2
    assert report.added == len(contents(report)) == len(counted.seeds)
    (receipt,) = folder_of(tmp_path / "cache", recipe).receipts()
    assert (receipt["interrupted"], receipt["added"]) == (True, report.added)
    done = fill(scan(photos), recipe, tmp_path / "cache", CPU)
    assert (done.stored, done.added, done.left) == (report.added, 12 - report.added, 0)
    assert len(counted.seeds) == len(set(counted.seeds)) == 12


def test_ctrl_c_while_the_engine_loads_stops_before_anything_was_made(photos, tmp_path, monkeypatch):
    def loading(self, setup):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines.Sleepy, "__init__", loading)
    with pytest.raises(FillInterrupted) as stop:
        fill(scan(photos), recipe_of("test-sleepy"), tmp_path / "cache", CPU)
    assert (stop.value.report.added, stop.value.report.left) == (0, 12)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_keeps_what_was_committed_and_the_next_run_goes_on(photos, tmp_path, monkeypatch, after):
    put, commits = LmdbStore.put_many, []

    def filling_up(self, entries):
        if len(commits) >= after:
            raise DiskFullError("no room")
        commits.append(put(self, entries))
        return commits[-1]

    monkeypatch.setattr("srcache.stores.grouping.MOST_ENTRIES", 2)
    monkeypatch.setattr(LmdbStore, "put_many", filling_up)
    with pytest.raises(DiskFullError, match="no room"):
        fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)
    monkeypatch.setattr(LmdbStore, "put_many", put)
    report = fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert (report.stored, report.added, report.left) == (sum(commits), 12 - sum(commits), 0)


def test_an_engine_that_breaks_its_promise_ends_the_run(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(engines.Sleepy, "upscale", lambda self, images, seeds: [Upscaled(images[0])])
    with pytest.raises(EngineError, match="one outcome per image"):
        fill(scan(photos), recipe_of("test-sleepy"), tmp_path / "cache", FillSettings(device="cpu", batch=2))


def test_one_fill_at_a_time(photos, tmp_path):
    report = fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)
    with (
        folder_of(tmp_path / "cache", "bicubic").lock(),
        pytest.raises(BusyError, match=f"{report.folder} is being .* process {os.getpid()}"),
    ):
        fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)


def test_a_folder_with_something_else_in_it_is_left_alone(photos, tmp_path):
    before = sorted(photos.rglob("*"))
    with pytest.raises(CacheError, match="is no srcache cache; choose a new or an empty folder"):
        fill(scan(photos), load_recipe("bicubic"), photos, CPU)
    assert sorted(photos.rglob("*")) == before


def test_half_written_files_that_a_crash_left_are_no_part_of_a_cache(photos, tmp_path):
    cache, recipe = tmp_path / "cache", load_recipe("bicubic")
    cache.mkdir()
    (cache / ".srcache.json.a1b2c3").write_text('{"for')
    fill(scan(photos / "moss"), recipe, cache, CPU)
    folder = folder_of(cache, recipe)
    for torn in ("recipe.yaml", "receipts/20260101T000000Z-0-0.json", f"../catalogs/{'0' * 32}.csv"):
        path = folder.path / torn
        path.with_name(f".{path.name}.d4e5f6").write_text("torn")
    report = fill(scan(photos), recipe, cache, CPU)
    assert (report.stored, report.added) == (4, 8)
    assert len(folder.receipts()) == 2
    assert len(open_cache(cache).catalogs()) == 2


def test_nothing_of_a_run_lives_on_after_it(photos, tmp_path):
    before = threading.active_count()
    fill(scan(photos), recipe_of("test-noise"), tmp_path / "cache", CPU)
    assert threading.active_count() == before
    open_files = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert not any(str(tmp_path / "cache") in path for path in open_files)


def test_names_of_entries_are_those_of_the_files(photos, tmp_path):
    report = fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU)
    keys = {image_key(file.read_bytes()) for file in photos.rglob("*.*")}
    assert set(contents(report)) == {entry_name(key, 0) for key in keys}


def test_an_output_beyond_the_pixel_limit_is_refused_before_it_is_computed(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", str(8 * 24 * 8 * 32))
    report = fill(scan(photos), load_recipe("bicubic", {"scale": 8}), tmp_path / "cache")
    assert report.failed == {"too_large": 3}, "three of the twelve are 32×32"
    assert report.added == 9
