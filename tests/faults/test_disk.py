"""Disks that are full, read-only or cut off: a clear message, nothing lost, and the next run goes on."""

import json
import shutil

import pytest
from commands import PHOTOS, stored

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.images import decode


@pytest.mark.parametrize("size", [600, 4096, 70_000, 90_000, 150_000, 250_000])
def test_a_file_size_limit_stops_a_build_and_lifting_it_lets_it_go_on(size, build, undisturbed, tmp_path):
    run = build(tmp_path / "cache", file_size=size)
    complains(run)
    have = stored(tmp_path / "cache")
    assert have.items() <= undisturbed.items()
    assert len(have) < PHOTOS
    assert size < 100_000 or have
    completes(build, tmp_path / "cache", undisturbed, had=len(have))


@pytest.mark.parametrize("kilobytes", [4, 12, 40, 84, 96, 120, 200, 400])
def test_a_full_disk_stops_a_build_and_making_room_lets_it_go_on(kilobytes, build, undisturbed, disk):
    cache = disk(kilobytes * 1024) / "cache"
    complains(build(cache))
    have = stored(cache)
    assert have.items() <= undisturbed.items()
    assert len(have) < PHOTOS
    assert kilobytes < 200 or have
    complains(build(cache))
    assert len(stored(cache)) >= len(have)
    disk(64 << 20)
    completes(build, cache, undisturbed, had=len(stored(cache)))


def complains(run):
    assert run.wait() == 4, run.stdout + run.stderr
    assert "could not be written" in run.stderr
    assert "make room" in run.stderr
    assert "run the same command again" in run.stderr
    assert "Traceback" not in run.stderr
    assert "exception calling callback" not in run.stderr


def completes(build, cache, undisturbed, had):
    run = build(cache, "--json")
    assert run.wait() == 1, run.stderr  # 1: two files are no pictures
    assert stored(cache) == undisturbed
    result = json.loads(run.stdout)["result"]
    assert (result["stored"], result["added"]) == (had, PHOTOS - had)


def test_a_cache_that_became_read_only_is_not_filled_but_read(build, commands, many, filled, undisturbed, photos, disk):
    cache = disk(64 << 20) / "cache"
    shutil.copytree(filled, cache)
    disk(64 << 20, "ro")
    run = build(cache, source=photos)
    assert run.wait() == 4, run.stderr
    assert "could not be written" in run.stderr
    assert "Read-only file system" in run.stderr
    assert commands.run("verify", cache)[0] == 0
    data = SRAugmentedDataset(many, cache, policy="sr=1", on_miss="lr", size="mixed")
    whole = [index for index in range(len(data)) if "broken" not in data._reader.items.name(index)]
    pictures = {data[index][0].tobytes() for index in whole}
    assert pictures == {decode(payload).tobytes() for payload in undisturbed.values()}


def test_a_place_that_may_not_be_written_is_said(build, disk):
    place = disk(1 << 20)
    disk(1 << 20, "ro")
    run = build(place / "cache")
    assert run.wait() == 4
    assert "cache could not be written (Read-only file system)" in run.stderr


def test_a_file_in_the_way_is_said(build, tmp_path):
    (tmp_path / "file").write_text("")
    run = build(tmp_path / "file" / "cache")
    assert run.wait() == 4
    assert "Not a directory" in run.stderr


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_a_store_that_was_cut_off_is_refused_before_it_kills(keep, build, commands, filled, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    (data,) = cache.glob("*/data.lmdb/data.mdb")
    size = data.stat().st_size
    with data.open("r+b") as file:
        file.truncate(int(size * keep))
    before = data.read_bytes()
    for words in ((), ("--dry-run",), ("--json",)):
        run = build(cache, *words)
        assert run.wait() == 3, run.stderr
        assert "data.mdb is cut off" in run.stderr
        assert "`srcache repair` saves what is readable" in run.stderr
        assert "Traceback" not in run.stderr
    assert data.read_bytes() == before
    assert commands.run("verify", cache)[0] == 3


def test_a_cache_that_was_moved_is_still_a_cache(build, filled, undisturbed, tmp_path):
    shutil.copytree(filled, tmp_path / "elsewhere")
    completes(build, tmp_path / "elsewhere", undisturbed, had=PHOTOS)


def test_an_address_space_that_is_used_up_is_said_and_what_is_stored_can_be_read(commands, tmp_path):
    code, run = commands.run(tmp_path / "store", program="outgrow")
    assert code == 0, run.stderr
    assert "could not be opened or grown" in run.stdout
    assert "raise the limit (ulimit)" in run.stdout
