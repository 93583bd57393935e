"""An open gallery: what is said of each row, what is read anew when the cache grows, and that nothing is written."""

import shutil
from pathlib import Path

import caches
import pytest

from srcache.catalog.scanning import scan
from srcache.dataset.scores import LabelScore, begin_scores, write_scores
from srcache.errors import CacheError
from srcache.keys import split_name
from srcache.server.gallery.gallery import GallerySettings, OpenGallery


def opened(home: Path, cache="cache", recipe="bicubic", **settings) -> OpenGallery:
    return OpenGallery(GallerySettings(cache=home / cache, recipe=recipe, **settings))


def items(home: Path, **settings):
    with opened(home, **settings) as found:
        return {item["title"]: item for item in map(found.gallery.item, range(len(found.gallery.index.rows)))}


def test_what_is_known_of_a_row(home):
    found = items(home, quality=home / "quality")
    item = found["Möwen & Co/erste möwe.png"]
    assert (item["state"], item["detail"], item["size"]) == ("", "", (48, 40))
    assert dict(item["facts"]) == {
        "Class": "Möwen & Co",
        "Size": "24 × 20 → 48 × 40",
        "psnr": "31.5",
        "lpips": "0.2",
        "Entry": item["entry"],
    }
    double = found["wörter/doppelt nochmal.png"]
    assert dict(double["facts"])["Also named"] == "wörter/doppelt.png"
    assert dict(double["facts"])["psnr"] == "∞", "numbers are found by each of the names"
    assert (found["wörter/leer.png"]["state"], found["wörter/leer.png"]["detail"]) == ("empty", "the file has no bytes")


def test_a_damaged_entry_is_said_to_be_and_the_others_are_shown(home, damaged):
    states = {item["entry"]: (item["state"], item["detail"]) for item in items(home).values()}
    assert states[damaged][0] == "damaged"
    assert "run `srcache repair`" in states[damaged][1]
    assert sorted(state for state, _ in states.values()) == ["", "", "", "", "damaged", "empty"]


def test_label_safety_is_shown_and_a_damaged_table_is_only_said(home):
    folder = caches.home(home / "cache")
    entry = next(iter(caches.contents(home / "cache")))
    key, sample = split_name(entry)
    begin_scores(folder, {"classifier": {"digest": "0"}}, {})
    score = LabelScore(
        image="x", key=key, sample=sample, safe=0.25, back_projection=31.0, back_projection_error=2.0, agree=0.0,
        feature_distance=0.5, lr_label="cat", sr_label="dog",
    )  # fmt: skip
    write_scores(folder, [score])
    facts = {item["entry"]: dict(item["facts"]) for item in items(home).values()}[entry]
    assert (facts["Safe"], facts["Classifier"], facts["Back-projection"]) == ("0.25", "LR: cat, SR: dog", "31")
    (folder / "safety.csv").write_text("x")
    with opened(home) as found:
        assert "measures anew" in found.gallery.warnings[0]
        assert not any(choice.key == "safety" for choice in found.gallery.index.choices)


def test_a_folder_that_has_no_image_of_the_cache_is_said_to_be_none_of_it(home):
    for kind in ("lr", "hr"):
        with opened(home, **{kind: home / "photos" / "wörter"}) as found:
            (warning,) = found.gallery.warnings
        assert f"no {kind.upper()} is shown: {home}/photos/wörter has no image such as Möwen & Co/" in warning
    with opened(home, lr=home / "photos", hr=home / "hr") as found:
        assert found.gallery.warnings == ()


def test_nothing_is_read_anew_until_the_cache_grows(home):
    shutil.copytree(home / "photos/wörter", home / "some/wörter")
    caches.build(home / "some", home / "growing")
    with opened(home, "growing") as found:
        before = found.gallery
        assert found.refresh() is before
        caches.build(home / "photos", home / "growing")
        after = found.refresh()
        assert after is found.gallery is not before
        assert (len(before.index.rows), len(after.index.rows)) == (4, 6)


def test_a_recipe_without_images_has_rows_all_the_same(home):
    shutil.rmtree(caches.only(home / "cache").store_path)
    with opened(home, lr=home / "photos") as found:
        assert {row.state for row in found.gallery.index.rows} == {"empty", "not made yet"}
        caches.build(home / "photos", home / "cache")
        assert sum(not row.state for row in found.refresh().index.rows) == 5


@pytest.mark.parametrize("kind", ["lmdb", "shards"])
def test_the_cache_is_only_read(home, kind):
    caches.build(home / "photos", home / kind, store=kind)

    def kept():
        tree = caches.tree(home / kind)
        return {name: data for name, data in tree.items() if not name.endswith("/lock.mdb")}  # LMDB's list of readers

    before = kept()
    found = items(home, cache=kind, lr=home / "photos", hr=home / "hr")
    assert sum(not item["state"] for item in found.values()) == 5
    assert kept() == before


def test_a_cache_below_a_url_is_shown_too(home, tmp_path):
    import fsspec

    caches.build(home / "photos", home / "shards", store="shards")
    url = f"memory://gallery-{tmp_path.name}/cache"
    fsspec.filesystem("memory").put(str(home / "shards"), url.removeprefix("memory:/"), recursive=True)
    with OpenGallery(GallerySettings(cache=url)) as found:
        shown = [found.gallery.item(place) for place in range(len(found.gallery.index.rows))]
    assert sorted(item["state"] for item in shown) == ["", "", "", "", "", "empty"]
    assert len(scan(home / "photos").rows) == 7


def test_the_recipe_must_be_said_where_there_are_several(home):
    with pytest.raises(CacheError, match="holds 2 recipes"):
        opened(home, recipe=None)
