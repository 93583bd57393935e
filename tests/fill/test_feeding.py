"""The way of images into the service: few in memory at a time, counted as they come out, failures noted at once."""

import math
import weakref
from collections import Counter
from concurrent.futures import CancelledError, Future
from contextlib import closing
from dataclasses import replace

import pytest
from fills import CPU, contents, recipe_of, write
from PIL import Image

import srcache.fill.feeding
import srcache.fill.run
from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.scanning import scan
from srcache.engine.interface import Failure
from srcache.errors import DeviceError, DiskFullError
from srcache.fill.feeding import FillCounts, load_engine, service_settings
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import load_recipe
from srcache.service.service import Served
from srcache.stores import Entry


def test_a_file_that_changes_or_goes_between_scan_and_fill_is_a_failure(photos, make_image, tmp_path):
    catalog = scan(photos)
    Image.fromarray(make_image(9, 9, 77)).save(photos / "bark" / "bark1.png")
    (photos / "moss" / "moss2.png").unlink()
    report = fill(catalog, load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert {failed.source: failed.reason for failed in report.failures} == {
        "bark/bark1.png": "changed",
        "moss/moss2.png": "unreadable",
    }
    assert report.added == 10


def test_memory_that_runs_out_over_one_image_is_that_image_s_failure(photos, tmp_path, monkeypatch):
    catalog = scan(photos)
    load = type(catalog).load

    def heavy(self, index, **how):
        if self.rows[index].name == "bark/bark0.png":
            raise MemoryError
        return load(self, index, **how)

    monkeypatch.setattr(type(catalog), "load", heavy)
    report = fill(catalog, load_recipe("bicubic"), tmp_path / "cache", CPU)
    assert (report.added, report.failed) == (11, {"out_of_memory": 1})


@pytest.mark.medium
def test_images_in_memory_are_few_whatever_the_size_of_the_data_set(make_image, tmp_path, monkeypatch):
    photos = write(tmp_path / "photos", 300, lambda number: (4, 4 + number % 3), make=make_image)
    images, alive, make = [], [], srcache.fill.feeding.make_requests

    def counting(*given):
        requests = make(*given)
        images.extend(weakref.ref(request.lr) for request in requests)
        alive.append(sum(image() is not None for image in images))
        return requests

    monkeypatch.setattr(srcache.fill.feeding, "make_requests", counting)
    monkeypatch.setattr("srcache.service.service._UNSTORED_MOST", 20)
    report = fill(scan(photos), recipe_of("test-sleepy"), tmp_path / "cache", FillSettings(device="cpu", batch=2))
    assert report.added == 300
    assert (
        max(alive) <= 8 * 2 + 2 + 2 + 20 + 2 * 2 + 2
    )  # waiting, ready, in the engine, not stored yet, decoded, at hand


def test_progress_goes_up_by_one_to_the_end(photos, tmp_path):
    seen = []
    (photos / "broken.png").write_bytes(b"nothing")
    fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 13) for done in range(1, 14)]


def test_a_journal_that_cannot_be_written_ends_the_run(make_image, tmp_path, monkeypatch):
    photos = write(tmp_path / "photos", 12, lambda number: (20, 20), {3: "fails"}.get, make_image)

    def full(path, line):
        raise DiskFullError(f"{path} could not be written")

    monkeypatch.setattr("srcache.cache.failures.append_line", full)
    with pytest.raises(DiskFullError, match=r"failures\.jsonl could not be written"):
        fill(scan(photos), recipe_of("test-faulty"), tmp_path / "cache", CPU)


def test_a_progress_bar_that_breaks_ends_the_run(photos, tmp_path):
    def breaking(done, total):
        if done == 3:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", CPU, breaking)


def test_a_device_that_is_not_there_is_refused(photos, tmp_path):
    with pytest.raises(DeviceError, match="device is cpu, cuda, cuda:1 or auto, but got 'gpu'"):
        fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", FillSettings(device="gpu"))


@pytest.mark.parametrize(
    ("device", "batch", "gauges"), [("cpu", None, False), ("cuda", None, True), ("cuda", 4, False)]
)
def test_memory_is_gauged_on_cuda_where_no_batch_was_asked_for(device, batch, gauges):
    serving = service_settings(FillSettings(batch=batch, workers=3), device, "a card")
    assert (serving.gauge is not None) == gauges
    assert (serving.batch, serving.device, serving.encoders, serving.linger) == (batch, "a card", 3, math.inf)


def outcome(answer):
    """A future that has its answer: an outcome or an error."""
    future = Future()
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
    return future


def test_outcomes_are_counted_and_what_was_dropped_counts_as_nothing():
    seen = []
    counts = FillCounts(None, 4, lambda done, total: seen.append((done, total)))
    counts.settle("a.png", outcome(Served("a", added=True)))
    counts.settle("b.png", outcome(Served("b")))
    counts.settle("c.png", outcome(Served("c", failure=Failure("blank", "one flat colour"))))
    counts.settle("d.png", outcome(CancelledError()))
    assert (counts.added, counts.meanwhile, seen) == (1, 1, [(1, 4), (2, 4), (3, 4)])
    assert counts.failures == [FailedEntry("c", "c.png", "blank", "one flat colour")]
    counts.check()


def test_an_error_while_a_future_reports_is_kept_until_it_is_checked_for():
    def breaking(done, total):
        raise BrokenPipeError("no terminal")

    counts = FillCounts(None, 1, breaking)
    counts.settle("a.png", outcome(Served("a", added=True)))
    with pytest.raises(BrokenPipeError, match="no terminal"):
        counts.check()


@pytest.mark.parametrize("kind", ["lmdb", "shards"])
def test_what_others_stored_meanwhile_is_not_decoded_and_is_counted_apart(photos, tmp_path, monkeypatch, kind):
    """Half of the images come from another process while the engine is being loaded, one of two samples each."""
    catalog, recipe = scan(photos), recipe_of("test-noise")
    settings = replace(CPU, samples=2, store=kind)
    whole = fill(catalog, recipe, tmp_path / "whole", settings)
    made = contents(whole)
    loads, load, other = Counter(), type(catalog).load, [row.key for row in catalog.rows[:6]]

    def with_company(recipe, settings):
        (folder,) = open_cache(tmp_path / "cache").folders()
        names = [name for name in made if name[:32] in other and (name.endswith("0") or name[:32] in other[:3])]
        with closing(folder.store(writable=True)) as store:
            store.put_many([Entry(name, made[name], {"key": name[:32], "checksum": "x"}) for name in names])
        return load_engine(recipe, settings)

    monkeypatch.setattr(srcache.fill.run, "load_engine", with_company)
    monkeypatch.setattr("srcache.stores.shard_home.LocalHome.look_every", 0.0)
    monkeypatch.setattr(
        type(catalog), "load", lambda self, index, **how: (loads.update([index]), load(self, index, **how))[1]
    )
    report = fill(catalog, recipe, tmp_path / "cache", settings)
    assert (report.wanted, report.stored, report.added, report.meanwhile, report.left) == (24, 0, 15, 9, 0)
    assert contents(report) == made
    assert sorted(loads) == list(range(3, 12)), "nothing is decoded of which both samples are there"
    (receipt,) = open_cache(tmp_path / "cache").folders()[0].receipts()
    assert (receipt["added"], receipt["meanwhile"]) == (15, 9)


def test_failures_are_noted_in_the_recipe_s_folder_as_they_happen(tmp_path):
    folder = create_cache(tmp_path / "cache").add(recipe_of("test-noise"))
    counts, failed = FillCounts(folder, 1, None), FailedEntry(f"{'0' * 32}-000", "a.png", "blank", "one flat colour")
    counts.fail(failed)
    assert [(note.source, note.reason) for note in folder.failures().values()] == [("a.png", "blank")]


def test_a_device_of_another_kind_than_the_engine_runs_on_is_refused_in_words(photos, tmp_path):
    with pytest.raises(DeviceError, match="cuda:1 or auto, but got 'mps', on which engine test-noise does not run"):
        fill(scan(photos), recipe_of("test-noise"), tmp_path / "cache", FillSettings(device="mps"))
    with pytest.raises(DeviceError, match="torch finds no MPS device here; use --device cpu"):
        fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", FillSettings(device="mps"))
    with pytest.raises(DeviceError, match=r"but got 'gpu' \(engine resample also runs on mps and xpu\)"):
        fill(scan(photos), load_recipe("bicubic"), tmp_path / "cache", FillSettings(device="gpu"))
