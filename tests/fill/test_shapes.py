"""Engine calls foretold: those of a run where all images were looked at, and an honest guess where not."""

from array import array
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.engine.interface import EngineInfo
from srcache.engine.registry import open_engine
from srcache.errors import ImageError
from srcache.fill import shapes as module
from srcache.fill.estimate import estimate
from srcache.fill.feeding import FillCounts, FillJob, start_service, submit_all
from srcache.fill.plan import Plan, make_plan
from srcache.fill.settings import FillSettings
from srcache.fill.shapes import RareShape, count_calls
from srcache.recipe.reading import resolve
from srcache.stores import open_store

RECIPE = resolve({"name": "t", "engine": "test-shapes", "scale": 2})


class Sized:
    """A catalog of images that have a size and nothing else."""

    def __init__(self, sizes):
        self._sizes = sizes

    def data(self, index):
        return None

    def load(self, index, check=False):
        if self._sizes[index] is None:
            raise ImageError("unreadable", "no image")
        return SimpleNamespace(rgb=np.broadcast_to(np.uint8(0), (*self._sizes[index], 3)))


def engine(batch=4, width=None):
    made = SimpleNamespace(info=EngineInfo(name="e", summary="", scales=None, batch=batch))
    if width is not None:
        made.batch_width = width
    return made


def calls(sizes, chosen=None, batch=None, pads=True, samples=1, missing=None):
    missing = array("q", range(samples * len(sizes)) if missing is None else missing)
    plan = Plan(wanted=len(missing), stored=0, skipped=0, missing=missing, samples=samples)
    return count_calls(Sized(sizes), RECIPE, plan, chosen or engine(), batch, pads=pads)


def test_short_batches_are_counted_and_rare_shapes_named():
    found = calls([(8, 8)] * 9 + [(8, 9)] * 3 + [(9, 8)])
    assert (found.images, found.calls, found.computed, found.filling, found.shapes) == (13, 5, 20, 7, 3)
    assert found.rare == (RareShape(shape=(9, 8), images=1, batch=4), RareShape(shape=(8, 9), images=3, batch=4))
    assert found.is_exact


def test_an_engine_that_fills_nothing_up_has_no_rare_shapes():
    found = calls([(8, 8)] * 9 + [(8, 9)] * 3, pads=False)
    assert (found.calls, found.computed, found.filling, found.rare) == (4, 12, 0, ())


def test_a_batch_of_one_and_an_engine_s_advice():
    sizes = [(8, 8)] * 5 + [(8, 9)]
    one = calls(sizes, batch=1)
    assert (one.calls, one.computed, one.rare) == (6, 6, ())
    advised = calls(sizes, engine(16, lambda height, width: 2 if width == 8 else 1))
    assert (advised.calls, advised.computed, advised.rare) == (4, 7, ())


def test_samples_count_and_what_cannot_be_read_does_not():
    found = calls([(8, 8), None, (8, 9)], samples=3, missing=[0, 1, 2, 3, 4, 5, 8])
    assert (found.images, found.calls, found.computed) == (4, 2, 8)
    assert calls([None, None]).calls == 0


def test_only_the_time_limits_what_is_looked_at_and_the_rest_is_taken_to_be_alike(monkeypatch):
    ticks = iter(range(10_000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(module, "LOOK_SECONDS", 100)
    alike = calls([(8, 8)] * 1000)
    assert not alike.is_exact
    assert (alike.images, alike.calls, alike.computed) == (1000, 250, 1000)
    strangers = calls([(8, 8 + number) for number in range(1000)])
    assert (strangers.images, strangers.calls, strangers.computed) == (1000, 1000, 4000)
    mixed = calls([(8, 8 if number % 2 else 9 + number) for number in range(1000)])
    assert mixed.images == 1000
    assert 600 <= mixed.calls <= 650, "half of them have no company"


@pytest.mark.parametrize("samples", [1, 2])
@given(st.lists(st.integers(1, 6), min_size=1, max_size=60), st.integers(1, 5))
def test_no_call_is_too_wide_and_no_image_is_lost(samples, widths, batch):
    sizes = [(2, width) for width in widths]
    found = calls(sizes, engine(batch), samples=samples)
    counts = Counter(sizes)
    assert found.images == samples * len(sizes)
    assert found.computed == batch * found.calls
    assert found.calls >= sum(-(-samples * count // batch) for count in counts.values())


@pytest.mark.parametrize("crowded", [False, True])
def test_it_foretells_what_a_run_does(crowded, tmp_path, make_image, monkeypatch):
    for number in range(40):
        shape = (4, 4 + number % 13) if crowded else (4, 4 + number % 3)
        Image.fromarray(make_image(*shape, number)).save(tmp_path / f"{number:02}.png")
    if crowded:
        monkeypatch.setattr("srcache.service.batching._CROWDED_BATCHES", 2)
    catalog, made = scan(tmp_path), open_engine("test-shapes", RECIPE.setup("cpu"))
    plan, settings = make_plan(catalog, None, None), FillSettings(device="cpu")
    found = count_calls(catalog, RECIPE, plan, made, None, pads=True)
    store, counts = open_store("memory", tmp_path / "store", writable=True), FillCounts(None, 40, None)
    with start_service(made, RECIPE, store, settings) as service:
        submit_all(FillJob(catalog=catalog, recipe=RECIPE, plan=plan, settings=settings), service, counts)
    assert (sum(service.calls.sizes.values()), service.calls.computed) == (found.calls, found.computed)
    assert found.images == 40


def test_turned_photos_and_degradations_count_as_the_engine_sees_them(tmp_path, make_image):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_image(8, 20)).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(make_image(20, 8)).save(tmp_path / "plain.png")
    recipe = resolve({"name": "t", "engine": "test-shapes", "scale": 2, "degradation": "bicubic/2"})
    found = estimate(scan(tmp_path), recipe, tmp_path / "cache", FillSettings(device="cpu")).calls
    assert [one.shape for one in found.rare] == [(10, 4)]
    assert (found.images, found.calls, found.computed) == (2, 1, 4)
