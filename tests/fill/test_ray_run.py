"""A fill on Ray: the same bytes and books as in one process; what cannot be is refused before anything is made."""

import network_namespace
import numpy as np
import pytest
from commands import stored
from engines import DEADLY
from fills import recipe_of, write
from PIL import Image
from ray_builds import RayBuild

from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.scanning import scan
from srcache.errors import CacheError, ConfigError, DiskFullError, MissingExtraError
from srcache.fill.ray_rows import Outcome
from srcache.fill.ray_run import _Books, _error
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings, RaySettings
from srcache.recipe.reading import load_recipe

needs_network = pytest.mark.skipif(network_namespace.obstacle() is not None, reason=str(network_namespace.obstacle()))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"store": "lmdb"}, CacheError, "use a cache with --store shards"),
        ({"store": "shards", "device": "cuda:1"}, ConfigError, "Ray says which GPU"),
        ({"store": "shards", "take_over": "aaaaaaaa"}, ConfigError, "takes over nothing"),
        ({"store": "shards", "ray": RaySettings(address="x")}, ConfigError, "HOST:PORT"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(photos, tmp_path, settings, error, message):
    settings = FillSettings(**{"device": "cpu", "ray": RaySettings(), **settings})
    with pytest.raises(error, match=message):
        fill(scan(photos), recipe_of("test-shapes"), tmp_path / "cache", settings)
    assert not (tmp_path / "cache").exists()


def test_a_cache_of_another_kind_is_refused(photos, tmp_path):
    create_cache(tmp_path / "cache", "lmdb")
    with pytest.raises(CacheError, match=r"lmdb, the store of .* is filled by one at a time"):
        fill(scan(photos), recipe_of("test-shapes"), tmp_path / "cache", FillSettings(ray=RaySettings()))


def test_books_count_a_block_once():
    shown = []
    books = _Books(10, lambda done, total: shown.append((done, total)))
    books.take(Outcome(block=0, added=3, found=1, seconds=0.5, device="cpu"))
    books.take(Outcome(block=0, added=3, found=1))
    books.show(2)
    assert (books.added, books.found, books.engine_seconds, books.devices) == (3, 1, 0.5, {"cpu"})
    assert shown == [(6, 10)]


def test_an_actors_error_is_one_of_the_tree_and_a_bug_stays_one():
    full = _error(Outcome(block=0, kind="DiskFullError", error="no room"))
    assert (type(full), str(full), full.exit_code) == (DiskFullError, "no room", 4)
    missing = _error(Outcome(block=0, kind="MissingExtraError", error="needs x"))
    assert (type(missing), str(missing)) == (MissingExtraError, "needs x")
    assert type(_error(Outcome(block=0, kind="ZeroDivisionError", error="oh"))) is RuntimeError
    assert type(_error(Outcome(block=0, kind="Sequence", error="oh"))) is RuntimeError


@pytest.mark.slow
@needs_network
def test_bytes_and_books_are_those_of_a_build_in_one_process(tmp_path, make_image):
    """The engine's pixels depend on the batch's size; one file is no image."""
    shapes = [(12, 16), (16, 12), (16, 16)]
    photos = write(tmp_path / "photos", 60, lambda number: shapes[number % 3], make=make_image)
    (photos / "broken.png").write_bytes(b"no image")
    recipe = tmp_path / "shapes.yaml"
    recipe.write_text("engine: test-shapes\nscale: 2\n")
    words = ["--recipe", recipe, "--store", "shards", "--device", "cpu"]
    fill(scan(photos), load_recipe(str(recipe)), tmp_path / "local", FillSettings(device="cpu", store="shards"))
    run = RayBuild(tmp_path / "run", photos, "--cache", tmp_path / "cache", *words, "--actors", "1:2", "--json")
    assert run.wait() == 1, run.stderr
    assert stored(tmp_path / "cache") == stored(tmp_path / "local")
    result = run.document["result"]
    assert (result["wanted"], result["added"], result["failed"], result["left"]) == (61, 60, {"unreadable": 1}, 1)
    assert [failed["source"] for failed in run.document["failures"]] == ["broken.png"]
    folder = open_cache(tmp_path / "cache").find()
    assert [failed.source for failed in folder.failures().values()] == ["broken.png"]
    (receipt,) = folder.receipts()
    assert (receipt["added"], receipt["killed"], receipt["device"]) == (60, 0, "cpu")
    assert 1 <= len(receipt["writers"]) <= 2
    assert "Traceback" not in run.stderr


@pytest.mark.slow
@needs_network
def test_an_image_on_which_every_process_dies_has_failed_and_no_other(tmp_path, make_image):
    photos = write(tmp_path / "photos", 24, make=make_image)
    deadly = np.array(make_image(8, 10, 13))
    deadly[0, 0] = DEADLY
    Image.fromarray(deadly).save(photos / "0013.png")
    recipe = tmp_path / "faulty.yaml"
    recipe.write_text("engine: test-faulty\nscale: 2\n")
    words = ["--cache", tmp_path / "cache", "--recipe", recipe, "--store", "shards", "--device", "cpu"]
    run = RayBuild(tmp_path / "run", photos, *words, "--actors", "1", "--json")
    assert run.wait(600) == 1, run.stderr
    assert run.document["result"]["added"] == 23
    assert run.document["result"]["failed"] == {"worker_died": 1}
    assert [failed["source"] for failed in run.document["failures"]] == ["0013.png"]
    assert len(stored(tmp_path / "cache")) == 23
