"""A cache of shards from end to end: built, served, verified, repaired, exported and read by other programs."""

import io
import json
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srcache import SRAugmentedDataset, load_recipe, scan
from srcache.cache import open_cache
from srcache.conformance.store import some_entries
from srcache.fill import FillSettings, fill
from srcache.maintain.export import export
from srcache.maintain.info import info
from srcache.maintain.prune import prune
from srcache.maintain.repair import add_checksums, repair
from srcache.maintain.verify import verify
from srcache.stores.shard_index import make_table, read_table, write_table

SMALL = 6_000
"""Bytes of a shard: some for each build."""


def build(photos: Path, cache: Path, store: str = "shards", recipe: str = "bicubic"):
    """Fill a cache of a kind of store."""
    settings = FillSettings(device="cpu", store=store, shard_bytes=SMALL)
    return fill(scan(photos), load_recipe(recipe, {"scale": 2}), cache, settings)


@pytest.fixture
def cache(photos: Path, tmp_path: Path) -> Path:
    """A cache of shards of the photos, built in three runs, so that there are several."""
    for label in ("bark", "gravel"):
        build(photos / label, tmp_path / "cache")
    assert build(photos, tmp_path / "cache").added == 4
    return tmp_path / "cache"


def shards(cache: Path) -> list[Path]:
    """The complete shards."""
    return sorted(cache.glob("bicubic-*/data.shards/*.tar"))


def test_the_data_set_serves_the_same_pixels_from_either_kind_of_store(photos: Path, cache: Path) -> None:
    build(photos, photos.parent / "other", "lmdb")
    one, other = (SRAugmentedDataset(photos, place, policy="sr") for place in (cache, photos.parent / "other"))
    for index in range(len(one)):
        assert np.array_equal(np.asarray(one[index][0]), np.asarray(other[index][0]))
    assert one.counts["sr"] == 12


def test_images_in_memory_are_found_by_their_aliases(photos: Path, cache: Path) -> None:
    images = [(Image.open(row.path).convert("RGB"), 0) for row in scan(photos).rows if row.path]
    data = SRAugmentedDataset(images, cache, policy="sr")
    assert [image.size for image, _ in (data[index] for index in range(12))] == [
        (2 * image.width, 2 * image.height) for image, _ in images
    ]


def test_a_second_build_adds_nothing_and_verify_and_info_agree(photos: Path, cache: Path) -> None:
    before = [path.read_bytes() for path in shards(cache)]
    assert len(before) >= 3
    assert (build(photos, cache).added, build(photos, cache).stored) == (0, 12)
    assert [path.read_bytes() for path in shards(cache)] == before
    report = verify(cache)
    assert (report.ok, report.entries) == (True, 12)
    (recipe,) = info(cache).recipes
    assert (recipe.entries, recipe.codec) == (12, "png")


def test_other_programs_read_images_and_records(cache: Path) -> None:
    with closing(open_cache(cache).find().store()) as store:
        names = list(store.names())
    seen = []
    for path in shards(cache):
        with tarfile.open(path) as file:
            members = file.getmembers()
            assert [member.name.partition(".")[2] for member in members] == ["png", "json"] * (len(members) // 2)
            for image, record in zip(members[::2], members[1::2], strict=True):
                stem = image.name.removesuffix(".png")
                fields = json.loads(file.extractfile(record).read())
                size = Image.open(io.BytesIO(file.extractfile(image).read())).size
                assert [size[1], size[0]] == fields["size"]
                assert (record.name, fields["key"]) == (f"{stem}.json", stem[:32])
                seen.append(stem)
    assert sorted(seen) == names


@pytest.mark.parametrize("damage", ["cut", "zeros", "flipped"])
def test_a_damaged_shard_is_found_and_repaired_and_what_was_lost_is_made_again(
    photos: Path, cache: Path, damage: str
) -> None:
    path = shards(cache)[1]
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "zeros":
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    else:
        data[600] ^= 1
    path.write_bytes(data)
    assert not verify(cache).ok
    (mended,) = repair(cache).recipes
    assert mended.damaged
    assert 8 <= mended.kept < 12
    assert verify(cache).ok
    with tarfile.open(shards(cache)[0]) as file:
        record = json.loads(file.extractfile(file.getmembers()[1]).read())
    assert record["srcache"]["recipe"] == open_cache(cache).find().recipe.fingerprint
    assert build(photos, cache).added == 12 - mended.kept
    assert verify(cache).entries == 12


def test_an_index_that_omits_entries_is_found_and_made_again_and_nothing_is_copied(photos: Path, cache: Path) -> None:
    before = {path: path.stat().st_ino for path in shards(cache)}
    (table,) = cache.glob("bicubic-*/data.shards/table.idx")
    found = read_table(table, mapped=False)
    places = [(name, place) for name in found.names(1, 12) if (place := found.place(name)) is not None]
    write_table(table, make_table(found.shards, places, []))
    report = verify(cache)
    assert [(one.reason, one.detail.partition(" ")[0]) for one in report.findings] == [("index", "table.idx")]
    (mended,) = repair(cache).recipes
    assert (mended.damaged, mended.kept, mended.old) == (True, 12, None)
    assert {path: path.stat().st_ino for path in shards(cache)} == before
    assert verify(cache).ok
    assert build(photos, cache).added == 0


def test_names_in_two_shards_are_counted_by_verify_and_are_no_damage(photos: Path, cache: Path) -> None:
    (home,) = open_cache(cache).paths()
    build(photos / "bark", cache.with_name("other"))
    for other in shards(cache.with_name("other")):
        other.rename(home / "data.shards" / f"0000009{other.name[7:]}")
    report = verify(cache)
    assert (report.ok, report.entries, report.repeated) == (True, 12, 4)


def test_shards_that_are_not_complete_are_named_by_info_and_completed_by_repair(photos: Path, cache: Path) -> None:
    (home,) = open_cache(cache).paths()
    store = open_cache(cache).find().store(writable=True)
    store.put_many([replace(entry, name=f"{'0' * 32}-000") for entry in some_entries(1)])
    assert info(cache).recipes[0].writing == (next(home.glob("data.shards/*.partial")).name[9:17],)
    store.close()
    assert info(cache).recipes[0].writing == ()


def test_checksums_of_shards_are_there_from_the_start(cache: Path) -> None:
    before = [path.read_bytes() for path in shards(cache)]
    (one,) = add_checksums(cache).recipes
    assert (one.kept, one.stamped, one.damaged) == (12, 0, False)
    assert [path.read_bytes() for path in shards(cache)] == before


def test_export_and_prune(photos: Path, cache: Path, tmp_path: Path) -> None:
    export(cache, tmp_path / "out", names=True)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 12
    assert prune(cache, ["bicubic"], yes=True).done
    assert build(photos, cache).added == 12
