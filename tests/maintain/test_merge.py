"""merge: several caches become one, the first write wins, nothing is lost in silence, and no source is changed."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import caches
import numpy as np
import pytest
from images import picture
from PIL import Image

from srcache import SRAugmentedDataset
from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.errors import BusyError, CacheError
from srcache.files import lock
from srcache.images import encode
from srcache.keys import file_key
from srcache.maintain.info import info
from srcache.maintain.merge import merge
from srcache.maintain.verify import verify
from srcache.stores.lmdb import LmdbStore

TINY = 6_000
"""Bytes of a shard that holds an entry or two."""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Photos of three classes; `bark` in LMDB, `gravel` in tiny shards, `all` in LMDB, each by `bicubic`."""
    home = tmp_path_factory.mktemp("home")
    for place, label in enumerate(("bark", "gravel", "moss")):
        folder = home / "photos" / label
        folder.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(picture(24, 20 + number, 10 * place + number)).save(folder / f"{label} {number}.png")
    shutil.copy(home / "photos/bark/bark 0.png", home / "photos/gravel/again.png")
    caches.build(home / "photos/bark", home / "bark")
    shutil.copytree(home / "photos/gravel", home / "some", ignore=lambda *_: ["gravel 2.png", "gravel 3.png"])
    for photos in ("some", "photos/gravel"):
        caches.build(home / photos, home / "gravel", store="shards", shard_bytes=TINY)
    caches.build(home / "photos", home / "all")
    return home


@pytest.fixture
def bark(home, tmp_path) -> Path:
    return Path(shutil.copytree(home / "bark", tmp_path / "bark"))


@pytest.fixture
def gravel(home, tmp_path) -> Path:
    return Path(shutil.copytree(home / "gravel", tmp_path / "gravel"))


def _reasons(report) -> list[tuple[str, str]]:
    return [(failed.reason, failed.name) for failed in report.failures]


@pytest.mark.parametrize("store", ["lmdb", "shards"])
def test_two_kinds_of_store_become_one(bark, gravel, home, tmp_path, store):
    report = merge([bark, gravel], tmp_path / "new", store=store)
    (one,) = report.recipes
    assert (one.entries, one.added, one.same, one.failed, one.absent) == (8, 8, 1, {}, 0)
    assert (report.store, report.failures, report.notes) == (store, (), ())
    expected = caches.pixels(bark) | caches.pixels(gravel)
    assert caches.pixels(tmp_path / "new") == expected
    assert expected.items() <= caches.pixels(home / "all").items()
    assert verify(tmp_path / "new").ok
    assert [path.name for path in open_cache(tmp_path / "new").paths()] == [caches.home(bark).name]


def test_records_say_what_is_stored_and_keep_what_is_known(bark, tmp_path):
    merge([bark], tmp_path / "new", store="shards")
    with caches.opened(bark) as old, caches.opened(tmp_path / "new") as new:
        for name in old.names():
            before, after = old.record(name), new.record(name)
            assert list(before) == list(after)
            assert {**before, "xxh3": 0, "checksum": 0} == {**after, "xxh3": 0, "checksum": 0}
            assert before["checksum"] != after["checksum"], "QOI became PNG"


def test_there_and_back_again_is_the_same_payload(bark, tmp_path):
    merge([bark], tmp_path / "shards", store="shards")
    merge([tmp_path / "shards"], tmp_path / "lmdb", store="lmdb")
    assert caches.contents(tmp_path / "lmdb") == caches.contents(bark)


def test_images_in_memory_are_found_in_the_merged_cache(bark, gravel, home, tmp_path):
    merge([gravel, bark], tmp_path / "new")
    images = [(Image.open(row.path).convert("RGB"), 0) for row in scan(home / "photos/bark").rows]
    data = SRAugmentedDataset(images, tmp_path / "new", policy="sr")
    assert [data[index][0].size for index in range(4)] == [(2 * image.width, 2 * image.height) for image, _ in images]


def test_sources_are_never_changed(bark, gravel, tmp_path):
    for index in gravel.rglob("*.idx"):
        index.unlink()
    before = caches.tree(bark), caches.tree(gravel)
    merge([bark, gravel], tmp_path / "new")
    assert (caches.tree(bark), caches.tree(gravel)) == before


def test_a_source_may_be_sealed(bark, gravel, tmp_path, monkeypatch):
    for file in [*bark.rglob("*"), *gravel.rglob("*"), bark, gravel]:
        file.chmod(0o555 if file.is_dir() else 0o444)
    try:
        assert merge([bark, gravel], tmp_path / "new").added == 8
    finally:
        for folder in [bark, gravel, *bark.rglob("*"), *gravel.rglob("*")]:
            folder.chmod(0o755)


def test_twice_is_the_same_as_once(bark, gravel, tmp_path):
    merge([bark, gravel], tmp_path / "new", store="shards")
    before = caches.tree(tmp_path / "new")
    (one,) = merge([bark, gravel], tmp_path / "new").recipes
    assert (one.added, one.same, one.failed) == (0, 9, {})
    assert caches.tree(tmp_path / "new").keys() == before.keys()
    assert caches.contents(tmp_path / "new").keys() == caches.contents(bark).keys() | caches.contents(gravel).keys()


@pytest.mark.parametrize("order", [("bark", "other"), ("other", "bark")])
def test_the_first_write_wins_and_a_conflict_is_listed(bark, tmp_path, order):
    shutil.copytree(bark, tmp_path / "other")
    name = next(iter(caches.contents(bark)))
    caches.replace_payload(tmp_path / "other", name, encode(picture(8, 8), "qoi"))
    report = merge([tmp_path / one for one in order], tmp_path / "new", store="shards")
    assert _reasons(report) == [("conflict", name)]
    assert report.failures[0].source == str(caches.home(tmp_path / order[1]))
    assert report.recipes[0].failed == {"conflict": 1}
    assert caches.pixels(tmp_path / "new") == caches.pixels(tmp_path / order[0])


def test_what_the_destination_has_wins_over_all(bark, tmp_path):
    shutil.copytree(bark, tmp_path / "new")
    name = next(iter(caches.contents(bark)))
    caches.replace_payload(tmp_path / "new", name, encode(picture(8, 8), "qoi"))
    before = caches.pixels(tmp_path / "new")
    assert _reasons(merge([bark], tmp_path / "new")) == [("conflict", name)]
    assert caches.pixels(tmp_path / "new") == before


def test_other_bytes_with_the_same_pixels_are_no_conflict(bark, tmp_path):
    shutil.copytree(bark, tmp_path / "other")
    name, payload = next(iter(caches.contents(bark).items()))
    caches.replace_payload(tmp_path / "other", name, encode(caches.decode(payload), "png:9"))
    assert merge([bark, tmp_path / "other"], tmp_path / "new").failures == ()


def test_lossy_images_keep_their_bytes(home, tmp_path):
    caches.build(home / "photos/bark", tmp_path / "lossy", "small")
    merge([tmp_path / "lossy"], tmp_path / "new", store="shards")
    assert caches.contents(tmp_path / "new", "small") == caches.contents(tmp_path / "lossy", "small")


def test_a_damaged_entry_costs_itself_alone(bark, gravel, tmp_path):
    data = caches.only(bark).store_path / "data.mdb"
    lost, payload = list(caches.contents(bark).items())[1]
    place = data.read_bytes().index(payload)
    with data.open("r+b") as file:
        file.seek(place + len(payload) // 2)
        file.write(b"damaged!")
    report = merge([bark, gravel], tmp_path / "new")
    assert _reasons(report) == [("damaged", lost)]
    (one,) = report.recipes
    healed = lost in caches.contents(gravel)
    assert (one.entries, one.absent) == ((8, 0) if healed else (7, 1))
    assert verify(tmp_path / "new").ok


def test_a_store_that_is_cut_off_gives_what_is_left(bark, tmp_path):
    data = caches.only(bark).store_path / "data.mdb"
    data.write_bytes(data.read_bytes()[: data.stat().st_size * 2 // 3])
    report = merge([bark], tmp_path / "new")
    (one,) = report.recipes
    assert one.added < 4
    assert one.absent == 4 - one.added


def test_an_entry_of_which_the_record_is_anothers_is_not_taken(bark, tmp_path):
    with caches.opened(bark, writable=True) as store:
        name = next(store.names())
        other = caches.Entry(f"{'0' * 32}-000", store.get(name), store.record(name))
        store.put_many([other])
    report = merge([bark], tmp_path / "new", store="shards")
    assert [reason for reason, _ in _reasons(report)] in (["bad_record"], ["damaged"])
    assert report.recipes[0].entries == 4


def test_a_damaged_entry_of_the_destination_is_listed(bark, tmp_path):
    shutil.copytree(bark, tmp_path / "new")
    name, payload = next(iter(caches.contents(bark).items()))
    merge([bark], tmp_path / "shards", store="shards")
    data = caches.only(tmp_path / "new").store_path / "data.mdb"
    place = data.read_bytes().index(payload)
    with data.open("r+b") as file:
        file.seek(place + len(payload) // 2)
        file.write(b"damaged!")
    report = merge([tmp_path / "shards"], tmp_path / "new")
    assert _reasons(report) == [("damaged_before", name)]
    assert "run `srcache repair`" in report.failures[0].detail


def test_many_small_shards_become_large_ones(gravel, tmp_path):
    shards = caches.only(gravel).store_path
    assert len(list(shards.glob("*.tar"))) >= 2
    merge([gravel], tmp_path / "new", shard_bytes=1 << 20)
    new = caches.only(tmp_path / "new").store_path
    assert len(list(new.glob("*.tar"))) == 1
    assert not list(new.glob("*.partial"))
    assert caches.contents(tmp_path / "new") == caches.contents(gravel)


def test_what_is_known_beside_the_images_comes_along(bark, gravel, tmp_path):
    merge([bark, gravel], tmp_path / "new")
    old, new = [caches.only(one) for one in (bark, gravel)], caches.only(tmp_path / "new")
    receipts = [json.dumps(receipt) for one in old for receipt in one.receipts()]
    assert sorted(map(json.dumps, new.receipts())) == sorted(receipts)
    digests = {digest for one in (bark, gravel) for digest in open_cache(one).catalogs()}
    assert set(open_cache(tmp_path / "new").catalogs()) == digests
    coverage = info(tmp_path / "new").recipes[0].catalogs
    assert sorted((one.images, one.covered) for one in coverage) == [(3, 3), (4, 4), (5, 5)]


def test_all_recipes_are_merged_or_one(home, tmp_path):
    caches.build(home / "photos/bark", tmp_path / "one")
    caches.build(home / "photos/bark", tmp_path / "one", "noisy", samples=2)
    caches.build(home / "photos/gravel", tmp_path / "two", "noisy", samples=1)
    merge([tmp_path / "one", tmp_path / "two"], tmp_path / "all")
    assert [one.recipe.name for one in open_cache(tmp_path / "all").folders()] == ["bicubic", "noisy"]
    assert caches.only(tmp_path / "all", "noisy").samples == 2
    assert len(caches.contents(tmp_path / "all", "noisy")) == 8 + 4
    (noisy,) = merge([tmp_path / "one", tmp_path / "two"], tmp_path / "noisy", "noisy").recipes
    assert noisy.entries == 12
    with pytest.raises(CacheError, match=r"not every cache holds the recipe:\n  - .*two holds no recipe 'bicubic'"):
        merge([tmp_path / "one", tmp_path / "two"], tmp_path / "no", "bicubic")
    assert not (tmp_path / "no").exists()


def test_a_recipe_that_cannot_be_read_stops_no_other(home, tmp_path):
    caches.build(home / "photos/bark", tmp_path / "one")
    caches.build(home / "photos/bark", tmp_path / "one", "noisy")
    (caches.home(tmp_path / "one", "noisy") / "recipe.yaml").write_text("engine: [")
    report = merge([tmp_path / "one"], tmp_path / "new")
    assert [one.entries for one in report.recipes] == [4]
    assert _reasons(report) == [("damaged", "")]
    assert "noisy-" in report.failures[0].source


def test_a_recipe_without_images_leaves_its_notes(bark, tmp_path):
    shutil.rmtree(caches.only(bark).store_path)
    (one,) = merge([bark], tmp_path / "new").recipes
    assert (one.entries, one.added, one.absent) == (0, 0, 4)


def test_what_makes_no_sense_is_refused_before_anything_is_written(bark, gravel, tmp_path):
    (tmp_path / "link").symlink_to(bark)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    before = sorted(tmp_path.rglob("*"))
    for sources, into, words, message in (
        ([], "new", {}, "expected at least one cache"),
        ([bark, tmp_path / "link"], "new", {}, r"link is named twice \(it is .*bark\)"),
        ([bark, gravel], "bark", {}, r"bark is also where to merge into; .* leave it out"),
        ([bark], "link", {}, "bark is also where to merge into"),
        ([bark], "bark/deep/er", {}, r"deep/er lies in .*bark, which must not change"),
        ([tmp_path / "full", tmp_path / "none"], "new", {}, r"full is no srcache cache[^$]*none is no srcache cache"),
        ([bark], "full", {}, "exists, is not empty, and is no srcache cache"),
        ([bark], "gravel", {"store": "lmdb"}, "keeps its images in shards, not in lmdb"),
        ([bark], "new", {"store": "zip"}, "a cache's store is one of lmdb, shards, but got 'zip'"),
        ([bark], "new", {"shard_bytes": 100}, "keeps its images in lmdb, which has no shards"),
        ([bark], "new", {"recipe": "lanczos"}, "holds no recipe 'lanczos'"),
    ):
        with pytest.raises(CacheError, match=message):
            merge(sources, tmp_path / into, **words)
        assert sorted(tmp_path.rglob("*")) == before


def test_nothing_to_merge_is_told(bark, tmp_path):
    shutil.rmtree(caches.home(bark))
    with pytest.raises(CacheError, match=r"there is nothing to merge: .*bark holds no recipe that can be read"):
        merge([bark], tmp_path / "new")


def test_a_source_or_a_destination_that_is_being_filled_is_waited_for(bark, gravel, tmp_path):
    with lock(caches.home(bark)), pytest.raises(BusyError, match=r"bark/bicubic-.* is being filled by process \d+"):
        merge([gravel, bark], tmp_path / "new")
    with lock(caches.home(gravel)), pytest.raises(BusyError, match="gravel"):
        merge([bark], gravel)


def test_progress_counts_every_entry_of_every_source(bark, gravel, tmp_path):
    seen = []
    merge([bark, gravel], tmp_path / "new", progress=lambda *at: seen.append(at))
    assert seen[-1] == (9, 9)
    assert seen == sorted(seen)


def test_entries_are_committed_in_batches(bark, tmp_path, monkeypatch):
    monkeypatch.setattr("srcache.stores.grouping.MOST_ENTRIES", 2)
    sizes = []
    put_many = LmdbStore.put_many
    monkeypatch.setattr(LmdbStore, "put_many", lambda self, found: sizes.append(len(found)) or put_many(self, found))
    merge([bark], tmp_path / "new")
    assert sizes == [2, 2, 0]


def test_the_key_of_a_merged_image_is_still_its_files(bark, home, tmp_path):
    merge([bark], tmp_path / "new", store="shards")
    key = file_key(home / "photos/bark/bark 1.png")
    with closing(caches.only(tmp_path / "new").store()) as store:
        assert store.has(f"{key}-000")
        assert np.array_equal(store.record(f"{key}-000")["size"], [48, 42])
