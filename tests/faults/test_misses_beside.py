"""Trainings that store the images which they miss, beside repair, prune and a build: what was stored is never lost."""

import random
import shutil
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from commands import stored
from images import picture
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.keys import entry_name, file_key
from srcache.recipe.reading import load_recipe

IMAGES, OTHERS = 40, 5


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folders in which a repair is over at once."""
    return made(tmp_path_factory.mktemp("home"), OTHERS)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Folders in which a repair takes a second or two."""
    return made(tmp_path_factory.mktemp("large"), 1500)


def made(home, others):
    """`photos`, of which nothing is stored, and a `cache` of `others`, one of which is damaged."""
    for name, first, count in (("others", 5000, others), ("photos", 100, IMAGES)):
        (home / name).mkdir()
        for number in range(first, first + count):
            Image.fromarray(picture(8, 12, number)).save(home / name / f"{number}.png")
    (home / "noise.yaml").write_text("engine: test-noise\nscale: 2\n")
    fill(scan(home / "others"), load_recipe(home / "noise.yaml"), home / "cache", FillSettings(device="cpu"))
    (file,) = (home / "cache").glob("*/data.lmdb/data.mdb")
    whole = stored(home / "cache")
    payload = whole[sorted(whole)[2]]
    file.write_bytes(file.read_bytes().replace(payload, payload[:-3] + b"???"))
    return home


class Trainings:
    """Two trainings in processes of their own, and what they say they stored."""

    def __init__(self, commands, home, cache):
        self.logs = [cache.with_name(f"log {number}") for number in range(2)]
        self.runs = [commands.start(home / "photos", cache, log, program="miss") for log in self.logs]
        self._photos = home / "photos"

    def said(self):
        """The images of which an entry was stored; a last line that a kill cut short is none."""
        lines = [log.read_text().splitlines(keepends=True) for log in self.logs if log.exists()]
        return {line.strip() for some in lines for line in some if line.endswith("\n")} - {"all"}

    def have_stored_all(self):
        return all(log.exists() and log.read_text().endswith("all\n") for log in self.logs)

    def are_kept(self, cache):
        """Whether the cache has every image that they stored, as it was written."""
        if not (said := self.said()):
            return True
        with closing(open_cache(cache).find().store()) as store:
            return all(store.get(entry_name(file_key(self._photos / name), 0)) for name in said)

    def end(self):
        for log in self.logs:
            Path(f"{log}.end").touch()
        return [run.wait() for run in self.runs]


@pytest.fixture
def cache(home, tmp_path):
    return Path(shutil.copytree(home / "cache", tmp_path / "cache"))


def command(home, cache, name):
    words = {"repair": (cache,), "prune": (cache, "noise", "--yes")}
    return (name, *words.get(name, (home / "photos", "--cache", cache, "--recipe", home / "noise.yaml")))


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]


@pytest.mark.medium
@pytest.mark.parametrize("name", [pytest.param("repair", marks=pytest.mark.slow), "build"])
def test_what_trainings_stored_stays(name, home, cache, commands):
    stays(name, 0, home, cache, commands)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1020))
@pytest.mark.parametrize("name", ["repair", "build"])
def test_what_trainings_stored_stays_in_a_large_cache(name, seed, large, tmp_path, commands):
    cache = Path(shutil.copytree(large / "cache", tmp_path / "cache"))
    stays(name, random.Random(seed).uniform(0, 3), large, cache, commands)


def stays(name, late, home, cache, commands):
    """Run a command over and over beside two trainings, which begin so many seconds later."""
    with closing(open_cache(cache).find().store()) as store:
        others = len(store)
    first = commands.start(*command(home, cache, name))
    time.sleep(late)
    trainings = Trainings(commands, home, cache)
    codes = [(first.wait(), first.stderr)]
    while not trainings.have_stored_all():
        assert trainings.are_kept(cache)
        code, run = commands.run(*command(home, cache, name))
        codes.append((code, run.stderr))
    code, run = commands.run(*command(home, cache, name))
    codes.append((code, run.stderr))
    assert trainings.end() == [0, 0], [run.stderr for run in trainings.runs]
    assert trainings.said() or name == "build"
    assert trainings.are_kept(cache)
    for code, said in codes:
        assert code == 0 or (name == "repair" and code == 4 and "data.lmdb is being written to by process " in said)
    assert commands.run("repair", cache)[0] == 0
    assert trainings.are_kept(cache)
    assert len(stored(cache)) == others - 1 + IMAGES


@pytest.mark.parametrize("seed", SEEDS)
def test_a_recipe_is_not_pruned_while_trainings_add_images(seed, home, cache, commands):
    """One that was pruned before their first image is gone, and they say so."""
    rng = random.Random(seed)
    trainings = Trainings(commands, home, cache)
    time.sleep(rng.uniform(0, 0.3) if seed else 0)
    while not trainings.have_stored_all() and cache.glob("*/recipe.yaml"):
        before = trainings.said()
        code, run = commands.run(*command(home, cache, "prune"))
        if code == 0:
            assert not before
            assert open_cache(cache).paths() == []
            break
        assert code == 4
        assert any(f"{one.pid}" in run.stderr for one in trainings.runs), run.stderr
        assert trainings.are_kept(cache)
    else:
        assert trainings.end() == [0, 0]
        assert trainings.are_kept(cache)
        assert commands.run(*command(home, cache, "prune"))[0] == 0
        return
    for code, one in zip(trainings.end(), trainings.runs, strict=True):
        assert code in (2, 4), one.stderr
        assert "was taken away" in one.stderr or "holds 0 recipes" in one.stderr or "was anything built" in one.stderr
    assert open_cache(cache).paths() == [], "the folder does not come back"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_trainings_that_are_killed_lose_nothing_and_hold_no_lock(seed, home, cache, commands):
    rng = random.Random(seed)
    trainings = Trainings(commands, home, cache)
    time.sleep(rng.uniform(0.1, 0.6))
    for run in trainings.runs:
        run.send(signal.SIGKILL)
        time.sleep(rng.uniform(0, 0.1))
    assert [run.wait() for run in trainings.runs] == [-signal.SIGKILL] * 2
    assert trainings.are_kept(cache)
    code, run = commands.run("repair", cache)
    assert code == 0, run.stderr
    assert trainings.are_kept(cache)
    assert commands.run(*command(home, cache, "build"))[0] == 0
    assert len(stored(cache)) == OTHERS - 1 + IMAGES
