"""prune: recipes and catalogs go when they are named and confirmed, and nothing else goes."""

import shutil
from importlib import import_module

import caches
import pytest

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.errors import BusyError, CacheError
from srcache.files import lock
from srcache.maintain.info import info
from srcache.maintain.prune import prune
from srcache.maintain.verify import verify


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_prune_only_tells_what_would_go_unless_it_is_told_to(cache):
    before = _tree(cache)
    report = prune(cache, ["bicubic"])
    assert _tree(cache) == before
    assert (report.removed, report.done) == ((caches.home(cache).name,), False)
    assert report.bytes == info(cache).recipes[0].bytes


@pytest.mark.medium
def test_a_pruned_recipe_is_gone_and_the_others_stay(cache):
    others = {name: data for name, data in _tree(cache).items() if "bicubic" not in name and "lock" not in name}
    report = prune(cache, ["acbb464ab9619f0b", "bicubic"], yes=True)
    assert report.done
    assert [recipe.folder for recipe in info(cache).recipes] == [caches.home(cache, "noisy").name]
    assert _tree(cache).items() >= others.items()
    assert verify(cache).ok


def test_what_was_pruned_can_bebuilt_again_in_the_same_process(cache, built):
    before = caches.contents(cache)
    with caches.opened(cache, writable=True):
        prune(cache, ["bicubic"], yes=True)
    assert caches.build(built / "photos", cache).added == 5
    assert caches.contents(cache) == before


def test_catalogs_go_when_no_recipe_needs_them(cache, tmp_path):
    [needed] = open_cache(cache).catalogs()
    more = caches.make_photos(tmp_path / "photos")
    shutil.rmtree(more / "wörter")
    caches.build(more, cache, "small")
    other = scan(more).digest
    assert prune(cache, catalogs=True).removed == ()
    assert prune(cache, ["small"], catalogs=True).removed == (caches.home(cache, "small").name,), (
        "bicubic has its images"
    )
    with_all = prune(cache, ["small", "bicubic", "noisy"], catalogs=True, yes=True)
    assert set(with_all.removed[3:]) == {f"catalogs/{needed}.csv", f"catalogs/{other}.csv"}
    assert list((cache / "catalogs").iterdir()) == []


def test_a_recipe_that_cannot_be_read_can_be_pruned(cache):
    home = caches.home(cache)
    (home / "recipe.yaml").write_bytes(b"\xff")
    prune(cache, [home.name], yes=True)
    assert not home.exists()
    (caches.home(cache, "noisy") / "recipe.yaml").unlink()
    prune(cache, ["noisy"], yes=True)
    assert info(cache).recipes == ()
    assert verify(cache).ok


@pytest.mark.medium
def test_a_recipe_that_is_being_filled_is_not_pruned(cache):
    with caches.only(cache).lock(), pytest.raises(BusyError, match="being filled"):
        prune(cache, ["bicubic"], yes=True)
    assert verify(cache).ok


def test_a_recipe_that_a_training_adds_images_to_is_not_pruned(cache):
    with lock(caches.only(cache).store_path, shared=True), pytest.raises(BusyError, match="lmdb is being written to"):
        prune(cache, ["bicubic"], yes=True)
    assert len(caches.contents(cache)) == 5
    prune(cache, ["bicubic"], yes=True)


def test_a_recipe_must_be_named_well(cache, built):
    with pytest.raises(CacheError, match="holds no recipe 'lanczos'; it holds: bicubic-acbb464ab9619f0b, noisy-"):
        prune(cache, ["bicubic", "lanczos"], yes=True)
    (cache / "bicubic-0123456789abcdef").mkdir()
    (cache / "bicubic-0123456789abcdef/recipe.yaml").touch()
    with pytest.raises(CacheError, match="holds several recipes named 'bicubic'; say which by fingerprint"):
        prune(cache, ["bicubic"], yes=True)
    assert caches.home(cache, "acbb464ab9619f0b").exists()


def test_what_a_killed_prune_left_goes_with_the_next(cache):
    home = caches.home(cache)
    home.rename(cache / f".pruned-{home.name}-1234")
    assert [recipe.folder for recipe in info(cache).recipes] == [caches.home(cache, "noisy").name]
    prune(cache, catalogs=True, yes=True)
    assert not list(cache.glob(".pruned-*"))


def test_a_recipe_that_another_prune_takes_away_meanwhile_is_gone(cache, monkeypatch):
    """As if the other one came between the look at the cache and the lock."""
    module = import_module("srcache.maintain.prune")
    real = module._remove
    monkeypatch.setattr(module, "_remove", lambda *given: [real(*given) for _ in range(2)])
    assert prune(cache, ["noisy"], yes=True).done
    assert [path.name.partition("-")[0] for path in open_cache(cache).paths()] == ["bicubic"]
