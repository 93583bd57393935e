"""repair: whatever happened to the file, what is whole is kept, what is not goes, and `build` completes the rest."""

import os
import random
from contextlib import closing
from pathlib import Path

import caches
import pytest

from srcache.errors import BusyError, CacheError, DiskFullError, MachineError
from srcache.keys import entry_name, image_key
from srcache.maintain import repair as repairs
from srcache.maintain.info import info
from srcache.maintain.repair import repair
from srcache.maintain.verify import verify
from srcache.stores import Entry
from srcache.stores.lmdb_pages import BIG
from srcache.stores.lmdb_salvage import LmdbSalvage

PAGE = os.sysconf("SC_PAGE_SIZE")


def _tree(folder, without=("lock",)):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(word in path.name for word in without)
    }


def _overwrite(data, first, count, content=bytes):
    with data.open("r+b") as file:
        file.seek(first * PAGE)
        file.write(content(count * PAGE))


def _check(cache, built, before):
    """After a repair: what is kept is right, the cache is whole, and a build brings back what was lost."""
    kept = caches.contents(cache)
    assert kept.items() <= before.items()
    assert verify(cache, "bicubic").ok
    caches.build(built / "photos", cache)
    assert caches.contents(cache) == before
    return len(kept)


@pytest.mark.medium
def test_a_whole_cache_is_not_touched(cache):
    before = _tree(cache)
    report = repair(cache)
    assert not report.changed
    assert [(one.kept, one.damaged, one.absent) for one in report.recipes] == [(5, False, 1), (10, False, 2)]
    assert (report.set_aside, report.left) == ((), ())
    assert _tree(cache) == before


@pytest.mark.medium
@pytest.mark.parametrize("share", [0.99, 0.6, 0.0])
def test_a_store_that_was_cut_off_keeps_what_is_left(cache, built, data, share):
    before, size = caches.contents(cache), data.stat().st_size
    os.truncate(data, max(1, int(share * size)))
    cut = data.read_bytes()
    report = repair(cache)
    mended, other = report.recipes
    assert (mended.damaged, other.damaged) == (True, False)
    assert (cache / mended.old / "data.mdb").read_bytes() == cut, "the damaged file is kept as it was"
    assert mended.absent == 6 - mended.kept
    assert mended.kept + len(mended.lost) <= 5
    assert (mended.kept > 0) == (share > 0)
    assert not list(caches.home(cache).glob("*.new"))
    assert _check(cache, built, before) == mended.kept


@pytest.mark.medium
@pytest.mark.parametrize(("first", "count"), [(0, 2), (2, 3), (0, 6)])
def test_overwritten_pages_lose_only_what_was_on_them(cache, built, data, first, count):
    before = caches.contents(cache)
    _overwrite(data, first, count, random.Random(1).randbytes)
    report = repair(cache, "bicubic")
    if report.changed:
        assert report.recipes[0].old
    kept = _check(cache, built, before)
    assert kept == 5 or (first, count) != (0, 2)  # the first two pages hold no entries


@pytest.mark.medium
def test_a_file_that_never_was_a_store_loses_all(cache, built, data):
    before = caches.contents(cache)
    data.write_bytes(b"\xff" * 5 * PAGE)
    [mended] = repair(cache, "bicubic").recipes
    assert (mended.kept, mended.lost, mended.absent) == (0, (), 6)
    assert _check(cache, built, before) == 0


@pytest.mark.medium
def test_an_image_that_decodes_no_more_is_dropped_and_made_again(cache, built):
    before = caches.contents(cache)
    wrong = entry_name(image_key(b"a stranger"), 0)
    with caches.opened(cache, writable=True) as store:
        store.put_many(
            [Entry(wrong, b"x", {"key": wrong[:32], "sample": 0, "checksum": image_key(b"x"), "size": [1, 1]})]
        )
    [mended] = repair(cache, "bicubic").recipes
    assert (mended.kept, mended.lost) == (5, (wrong,))
    assert _check(cache, built, before) == 5


@pytest.mark.medium
def test_images_above_the_pixel_limit_are_kept(cache, data, monkeypatch):
    before = caches.contents(cache)
    _overwrite(data, 0, 2)
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "100")
    assert repair(cache, "bicubic").recipes[0].kept == 5
    monkeypatch.undo()
    assert caches.contents(cache) == before


@pytest.mark.medium
def test_aliases_and_samples_are_kept(cache):
    data = caches.only(cache, "noisy").store_path / "data.mdb"
    with caches.opened(cache, "noisy") as store:
        records = {name: store.record(name) for name in store.names()}
    aliases = _aliases(data)
    assert len(aliases) == 5
    _overwrite(data, 0, 2)
    assert repair(cache, "noisy").recipes[0].kept == 10
    with caches.opened(cache, "noisy") as store:
        assert {name: store.record(name) for name in store.names()} == records
        assert {alias: store.resolve(alias) for alias in aliases} == aliases


def _aliases(data):
    with LmdbSalvage(data.parent) as salvage:
        entries = [entry for name in salvage.names() if (entry := salvage.entry(name)) is not None]
    return {alias: entry.record["key"] for entry in entries for alias in entry.aliases}


@pytest.mark.medium
def test_texts_that_cannot_be_read_are_set_aside(cache, built):
    [catalog] = (cache / "catalogs").iterdir()
    [receipt] = (caches.home(cache) / "receipts").iterdir()
    catalog.write_bytes(b"key,name\n")
    receipt.write_bytes(b"{")
    report = repair(cache)
    assert report.changed
    assert [Path(name).name.rpartition("-")[0] for name in report.set_aside] == [
        f"{catalog.name}.damaged",
        f"{receipt.name}.damaged",
    ]
    assert {(cache / name).read_bytes() for name in report.set_aside} == {b"key,name\n", b"{"}
    assert verify(cache).ok
    caches.build(built / "photos", cache)
    assert [one.covered for one in info(cache).recipes[0].catalogs] == [5], "the catalog is written anew"


@pytest.mark.medium
def test_damaged_lines_of_a_journal_are_set_aside_and_the_others_stay(cache, built):
    journal = caches.home(cache) / "failures.jsonl"
    good = journal.read_bytes()
    journal.write_bytes(damaged := b"\xff\n" + good + b"null\n")
    caches.build(built / "photos", cache)
    assert info(cache).recipes[0].failed == {"empty": 1}
    [aside] = repair(cache, "bicubic").set_aside
    assert (cache / aside).read_bytes() == damaged
    assert journal.read_bytes() == good
    assert verify(cache, "bicubic").ok


@pytest.mark.medium
def test_a_damaged_receipt_stops_no_build(cache, built):
    receipt = next((caches.home(cache) / "receipts").iterdir())
    for content in (b"{", b"[" * 3000, b"\xff", b'{"samples": "many", "catalog": 7}'):
        receipt.write_bytes(content)
        assert caches.build(built / "photos", cache).stored == 5
        assert caches.only(cache).samples == 1


@pytest.mark.medium
def test_what_is_readable_is_kept_also_where_the_check_cannot_be_done(cache, monkeypatch):
    before = caches.contents(cache)

    def broken(*_):
        raise MachineError("checking ended early")

    monkeypatch.setattr(repairs, "check", broken)
    [mended] = repair(cache, "bicubic").recipes
    assert (mended.kept, mended.lost, mended.damaged) == (5, (), True)
    assert caches.contents(cache) == before


@pytest.mark.medium
@pytest.mark.parametrize("place", [0, 10, 12, 14, 16])
def test_the_head_of_a_page_is_not_needed(cache, data, place):
    before, whole = caches.contents(cache), data.read_bytes()
    for first in range(2 * PAGE, len(whole), PAGE):
        number, kind = int.from_bytes(whole[first : first + 8], "little"), whole[first + 10]
        if number != first // PAGE or (place == 16 and kind == BIG):  # within a big value
            continue
        whole = whole[: first + place] + bytes([whole[first + place] ^ 0x55]) + whole[first + place + 1 :]
    data.write_bytes(whole)
    assert repair(cache, "bicubic").recipes[0].lost == ()
    assert caches.contents(cache) == before


@pytest.mark.medium
def test_a_recipe_that_cannot_be_read_is_left(cache, data):
    (caches.home(cache, "noisy") / "recipe.yaml").write_bytes(b"\xff")
    _overwrite(data, 0, 2)
    report = repair(cache)
    assert [one.source for one in report.left] == [f"{caches.home(cache, 'noisy').name}/recipe.yaml"]
    assert [one.kept for one in report.recipes] == [5], "the others are mended all the same"


def test_nobody_else_may_fill_meanwhile(cache, data):
    _overwrite(data, 0, 2)
    before = data.read_bytes()
    with caches.only(cache).lock(), pytest.raises(BusyError):
        repair(cache)
    assert data.read_bytes() == before


@pytest.mark.medium
def test_no_room_for_the_copy_changes_nothing(cache, data, monkeypatch):
    _overwrite(data, 0, 2)
    before = _tree(cache)

    def full(*_):
        raise DiskFullError("no room")

    monkeypatch.setattr(repairs, "_copy", full)
    with pytest.raises(DiskFullError):
        repair(cache)
    assert _tree(cache) == before
    assert not list(caches.home(cache).glob("*.new"))


@pytest.mark.medium
@pytest.mark.parametrize("step", ["mkdir", "link", "rename", "replace"])
def test_wherever_it_is_killed_one_of_the_two_files_is_there(cache, data, step, monkeypatch):
    before = caches.contents(cache)
    _overwrite(data, 0, 2)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(*((os, "link") if step == "link" else (Path, step)), killed)
    with pytest.raises(KeyboardInterrupt):
        repair(cache, "bicubic")
    monkeypatch.undo()
    assert data.is_file()
    (caches.home(cache) / "data.lmdb.new").mkdir()
    (caches.home(cache) / "data.lmdb.new/data.mdb").write_bytes(b"half a copy")
    assert repair(cache, "bicubic").recipes[0].kept == 5
    assert caches.contents(cache) == before


@pytest.mark.medium
def test_a_store_that_is_open_in_this_process_follows(cache, data):
    store = caches.only(cache).store()
    names = list(store.names())
    with data.open("ab") as file:
        file.truncate(data.stat().st_size - PAGE)
    mended = repair(cache, "bicubic").recipes[0]
    with closing(caches.only(cache).store()) as again:
        assert list(again.names()) == list(store.names()) == sorted(set(names) - set(mended.lost))


def test_a_folder_that_is_no_cache_is_told(tmp_path, cache):
    with pytest.raises(CacheError, match="no srcache cache"):
        repair(tmp_path)
    with pytest.raises(CacheError, match="holds no recipe 'other'"):
        repair(cache, "other")
