"""kill -9 at any moment of a merge costs at most a batch: run again, it gives the same cache."""

import random
import signal
import time
from contextlib import closing
from pathlib import Path

import caches
import numpy as np
import pytest
from commands import stored

from srcache.cache.manifest import create_cache, open_cache
from srcache.images import decode, encode
from srcache.keys import entry_name, image_key
from srcache.recipe.reading import load_recipe
from srcache.stores import Entry, with_checksums

IMAGES = 400
KINDS = ((), ("--store", "shards", "--shard-bytes", "100K"), ("--store", "shards"))
LONGEST = 1.2
"""Seconds in which a merge of these images is over, more or less."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> tuple[Path, Path]:
    """Two caches in LMDB with noise, half of which both have."""
    home = tmp_path_factory.mktemp("sources")
    recipe = load_recipe(caches.recipe_file(home, "bicubic"))
    for name, numbers in (("one", range(IMAGES * 3 // 4)), ("two", range(IMAGES // 4, IMAGES))):
        with closing(create_cache(home / name).add(recipe).store(writable=True)) as store:
            store.put_many(_entry(number) for number in numbers)
    return home / "one", home / "two"


def _entry(number: int) -> Entry:
    pixels = np.random.default_rng(number).integers(0, 255, (96, 96, 3), np.uint8)
    payload, name = encode(pixels, "qoi"), entry_name(image_key(b"%d" % number), 0)
    record = {"key": name[:32], "sample": 0, "size": [96, 96]}
    return Entry(name, payload, with_checksums(record, payload), (image_key(b"alias %d" % number),))


def _pixels(cache: Path) -> dict[str, bytes]:
    return {name: decode(payload).tobytes() for name, payload in stored(cache).items()}


@pytest.fixture(scope="module")
def undisturbed(commands, sources, tmp_path_factory) -> dict[str, bytes]:
    """The pixels of a merge that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "all"
    code, run = commands.run("merge", *sources, "--into", out)
    assert code == 0, run.stderr
    found = _pixels(out)
    assert len(found) == IMAGES
    return found


@pytest.fixture
def outlive(commands, sources, undisturbed, tmp_path):
    """Kill one to three merges, look at what is there after each, and let the last one finish."""

    def act(seed: int) -> None:
        rng, out, had = random.Random(seed), tmp_path / "all", set[str]()
        words = ("merge", *sources, "--into", out, *rng.choice(KINDS))
        for _ in range(rng.randint(1, 3)):
            run = commands.start(*words)
            time.sleep(rng.uniform(0.1, LONGEST))
            run.send(signal.SIGKILL)
            assert run.wait() in (-signal.SIGKILL, 0), run.stderr
            have = _pixels(out)
            assert set(have) >= had, f"seed {seed}: a committed entry is gone"
            assert have.items() <= undisturbed.items(), f"seed {seed}: other pixels"
            had = set(have)
        code, run = commands.run(*words)
        assert code == 0, f"seed {seed}: {run.stderr}"
        assert _pixels(out) == undisturbed, f"seed {seed}"
        assert commands.run("verify", out)[0] == 0
        with closing(open_cache(out).find().store()) as store:
            for number in range(0, IMAGES, 50):
                assert store.resolve(image_key(b"alias %d" % number)) == image_key(b"%d" % number)

    return act


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_merge_goes_on(seed, outlive):
    outlive(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1030))
def test_a_merge_that_is_killed_often_goes_on(seed, outlive):
    outlive(seed)


@pytest.mark.medium
def test_a_killed_export_goes_on_when_the_same_command_is_run_again(commands, sources, tmp_path):
    run = commands.start("export", sources[0], tmp_path / "out", "--format", "shards", "--shard-bytes", "100K")
    time.sleep(0.5)
    run.send(signal.SIGKILL)
    if run.wait() == 0:
        pytest.skip("it was over before")
    code, again = commands.run("export", sources[0], tmp_path / "out", "--format", "shards")
    assert code == 0, again.stderr
    assert len(stored(tmp_path / "out")) == IMAGES * 3 // 4


@pytest.mark.medium
@pytest.mark.parametrize("store", ["lmdb", "shards"])
def test_a_full_disk_stops_a_merge_that_goes_on_when_there_is_room(commands, disk, sources, undisturbed, store):
    out = disk("5m") / "all"
    words = ("merge", *sources, "--into", out, "--store", store)
    code, run = commands.run(*words)
    assert code == 4, run.stderr
    assert "make room" in run.stderr
    have = _pixels(out)
    assert have.items() <= undisturbed.items()
    assert commands.run("verify", out)[0] == 0
    disk("200m")
    assert commands.run(*words)[0] == 0
    assert _pixels(out) == undisturbed


@pytest.mark.medium
def test_a_full_disk_stops_training_shards_which_are_begun_anew(commands, disk, sources, tmp_path):
    home = tmp_path / "home"
    photos = caches.make_photos(home / "photos")
    caches.build(photos, home / "cache")
    out = disk("20k") / "out"
    words = ("export", home / "cache", out, "--join", "--lr", photos, "--shard-bytes", "12K")
    code, run = commands.run(*words)
    assert code == 4, run.stderr
    disk("2m")
    assert commands.run(*words)[0] == 1, "one of the photos is empty"
    assert commands.run("export", home / "cache", tmp_path / "other", *words[3:])[0] == 1
    assert caches.tree(out) == caches.tree(tmp_path / "other")
