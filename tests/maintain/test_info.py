"""info, verify and prune: what they tell of whole caches, and of caches damaged in every way that we know."""

import caches
import pytest

from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.parts import Part, parts_of
from srcache.catalog.scanning import scan
from srcache.errors import CacheError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.keys import image_key
from srcache.maintain.info import Coverage, info
from srcache.maintain.prune import prune
from srcache.maintain.verify import verify
from srcache.recipe.reading import load_recipe
from srcache.stores import Entry


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _put(cache, *entries):
    with caches.opened(cache, writable=True) as store:
        store.put_many(entries)


def test_info_tells_what_is_there(cache):
    found = info(cache)
    bicubic, noisy = found.recipes
    assert (found.store, found.damaged) == ("lmdb", ())
    assert (bicubic.folder, bicubic.recipe["scale"]) == ("bicubic-acbb464ab9619f0b", 2)
    assert (bicubic.entries, bicubic.images, bicubic.samples, bicubic.codec) == (5, 5, 1, "qoi")
    assert (noisy.entries, noisy.images, noisy.samples) == (10, 5, 2)
    assert bicubic.failed == {"empty": 1}
    assert noisy.failed == {"empty": 2}
    assert bicubic.bytes == sum(len(data) for data in _tree(cache / bicubic.folder).values())
    assert found.bytes == sum(len(data) for data in _tree(cache).values())


def test_info_tells_how_much_of_each_catalog_is_covered(cache, tmp_path):
    [digest] = open_cache(cache).catalogs()
    assert info(cache).recipes[1].catalogs == (Coverage(digest=digest, images=6, covered=5),)
    more = caches.make_photos(tmp_path / "photos")
    (more / "wörter/leer.png").unlink()
    (more / "wörter/doppelt.png").rename(more / "wörter/neu.png")
    report = caches.build(more, cache)
    assert report.added == 0
    by_digest = {one.digest: (one.covered, one.images) for one in info(cache).recipes[0].catalogs}
    assert by_digest == {digest: (5, 6), scan(more).digest: (5, 5)}
    assert len(info(cache).recipes[1].catalogs) == 2, "the other recipe has these images, too"


def test_info_tells_of_every_run(cache, built):
    [run] = info(cache).recipes[0].runs
    assert (run.added, run.failed, run.device, run.interrupted) == (5, 1, "cpu", False)
    assert run.seconds > 0
    assert run.ended[:2] == "20"
    assert run.ended[-1] == "Z"
    caches.build(built / "photos", cache)
    assert len(info(cache).recipes[0].runs) == 1, "a run that did nothing new leaves no receipt"


def test_a_failure_that_was_mended_since_is_none(cache):
    key = image_key(b"")
    _put(cache, Entry(f"{key}-000", b"x", {}))
    assert info(cache).recipes[0].failed == {}


@pytest.mark.medium
def test_info_of_a_cache_in_which_nothing_wasbuilt(tmp_path):
    made = create_cache(tmp_path / "cache")
    assert info(made.path).recipes == ()
    made.add(load_recipe("bicubic"))
    [recipe] = info(made.path).recipes
    assert (recipe.entries, recipe.codec, recipe.runs) == (0, None, ())
    assert verify(made.path).ok


def test_info_shows_the_rest_of_a_damaged_cache(cache):
    (caches.only(cache).path / "recipe.yaml").write_text("scale: 3\n")
    next((cache / "catalogs").iterdir()).write_text("key\n")
    found = info(cache)
    assert [recipe.folder for recipe in found.recipes] == [caches.home(cache, "noisy").name]
    assert [finding.reason for finding in found.damaged] == ["damaged"] * 2
    assert found.recipes[0].catalogs == ()


def test_what_is_no_cache_is_told(tmp_path):
    for act in (info, verify, prune):
        with pytest.raises(CacheError, match="no srcache cache"):
            act(tmp_path)


def test_info_tells_which_parts_lack_something(tmp_path, photos):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    for part in (Part(0, 4), Part(2, 4)):
        fill(catalog, recipe, tmp_path / "new", FillSettings(device="cpu", part=part))
    (told,) = info(tmp_path / "new").recipes[0].catalogs
    lacking = [row for row in catalog.rows if not (Part(0, 4).holds(row.key) or Part(2, 4).holds(row.key))]
    assert (told.images, told.covered) == (12, 12 - len(lacking))
    assert told.missing_parts == tuple(f"{index}/4" for index in parts_of([row.key for row in lacking], 4)) != ()
    assert lacking[0].path
    lacking[0].path.write_bytes(b"no image")
    for part in (Part(1, 4), Part(3, 4)):
        fill(catalog, recipe, tmp_path / "new", FillSettings(device="cpu", part=part))
    (told,) = info(tmp_path / "new").recipes[0].catalogs
    assert (told.covered, told.missing_parts) == (11, ()), "what failed is not tried again by starting its part again"
