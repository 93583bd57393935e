"""A build with OSEDiff that ends in the middle goes on, and makes the same bytes as one that nothing happened to."""

import random
import signal

import pytest
from commands import Commands, stored, until
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.errors import DiskFullError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import load_recipe
from srcache.stores.lmdb import LmdbStore

QUICK = {"options.process_size": 32, "options.decoder_tile": 8, "options.encoder_tile": 64}
PHOTOS = 6
CPU = FillSettings(device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, make_image):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS):
        Image.fromarray(make_image(12 + 4 * (number % 2), 16, number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory):
    cache = tmp_path_factory.mktemp("undisturbed") / "cache"
    fill(scan(photos), load_recipe("osediff-tiny", QUICK), cache, CPU)
    return stored(cache)


def test_a_build_that_a_full_disk_stops_goes_on(photos, undisturbed, tmp_path, monkeypatch):
    recipe, cache, commits = load_recipe("osediff-tiny", QUICK), tmp_path / "cache", []
    put = LmdbStore.put_many

    def filling_up(self, entries):
        if len(commits) == 2:
            raise DiskFullError("no room")
        commits.append(put(self, entries))
        return commits[-1]

    monkeypatch.setattr("srcache.stores.grouping.MOST_ENTRIES", 1)
    monkeypatch.setattr(LmdbStore, "put_many", filling_up)
    with pytest.raises(DiskFullError):
        fill(scan(photos), recipe, cache, CPU)
    monkeypatch.setattr(LmdbStore, "put_many", put)
    had = stored(cache)
    assert len(had) == 2
    assert had.items() <= undisturbed.items()
    report = fill(scan(photos), recipe, cache, CPU)
    assert (report.stored, report.added) == (2, PHOTOS - 2)
    assert stored(cache) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_build_that_is_killed_goes_on(seed, photos, undisturbed, tmp_path):
    commands, cache = Commands(tmp_path), tmp_path / "cache"
    words = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    line = ["build", photos, "--cache", cache, "--recipe", "osediff-tiny", *words, "--device", "cpu", "--batch", "1"]
    wanted = random.Random(seed).randint(1, PHOTOS - 1)
    run = commands.start(*line)
    until(lambda: len(stored(cache)) >= wanted)
    run.send(signal.SIGKILL)
    run.wait()
    had = stored(cache)
    assert had.items() <= undisturbed.items()
    assert len(had) >= wanted
    code, again = commands.run(*line)
    assert code == 0, again.stderr
    assert stored(cache) == undisturbed
    assert commands.run("verify", cache)[0] == 0
