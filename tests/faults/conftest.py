"""What fault tests share: commands that can be killed, photos, a recipe that takes its time, disks of any size."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from commands import BROKEN, PHOTOS, Commands, stored
from PIL import Image

SLOW = "engine: test-sleepy\nscale: 2\noptions: {milliseconds: 25}\n"


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    return Commands(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="session")
def many(tmp_path_factory, make_image):
    """A folder of `PHOTOS` small pictures of three shapes, and `BROKEN` files that are none; do not change it."""
    folder = tmp_path_factory.mktemp("many")
    shapes = [(12, 16), (16, 12), (16, 16)]
    for number in range(PHOTOS):
        Image.fromarray(make_image(*shapes[number % 3], number)).save(folder / f"{number:03d}.png")
    for number in range(BROKEN):
        (folder / f"{30 * number:03d}-broken.png").write_bytes(b"no picture " + bytes([number]))
    return folder


@pytest.fixture(scope="session")
def slow(tmp_path_factory):
    """A recipe file: half a second for all of `many`."""
    path = tmp_path_factory.mktemp("recipe") / "slow.yaml"
    path.write_text(SLOW)
    return path


@pytest.fixture(scope="session")
def build(commands, many, slow):
    """Start `srcache build` of `many` by `slow` into a cache."""

    def start(cache, *words, source=many, recipe=slow, **how):
        arguments = [source, "--cache", cache, "--recipe", recipe, "--device", "cpu", *words]
        return commands.start("build", *arguments, **how)

    return start


@pytest.fixture(scope="session")
def build_shards(build):
    """Start a build into shards of some entries each."""

    def start(cache, *words, **how):
        return build(cache, "--store", "shards", "--shard-bytes", "3K", *words, **how)

    return start


@pytest.fixture(scope="session")
def undisturbed_shards(build_shards, tmp_path_factory):
    """The entries of a build into shards that nothing happened to."""
    cache = tmp_path_factory.mktemp("shards") / "cache"
    assert build_shards(cache).wait() == 1
    entries = stored(cache)
    assert len(entries) == PHOTOS
    return entries


@pytest.fixture(scope="session")
def filled(build, tmp_path_factory):
    """A cache that was built with nothing happening to it; copy it."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    run = build(cache)
    assert run.wait() == 1, run.stderr
    return cache


@pytest.fixture(scope="session")
def undisturbed(filled):
    """The entries of a build that nothing happened to."""
    entries = stored(filled)
    assert len(entries) == PHOTOS
    return entries


@pytest.fixture
def disk():
    """A function: a file system of its own in memory, so many bytes large; called again it changes the size.

    It does not lie below pytest's folder, so that a run that was killed leaves nothing there that cannot be removed.
    """
    place = Path(tempfile.mkdtemp(prefix="srcache-disk-"))

    def mount(size, *options):
        mounted = os.path.ismount(place)
        words = ["-o", ",".join([f"size={size}", *(["remount"] if mounted else []), *options])]
        done = subprocess.run(["mount", "-t", "tmpfs", *words, "none", str(place)], capture_output=True, text=True)
        if done.returncode != 0 and not mounted:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()
