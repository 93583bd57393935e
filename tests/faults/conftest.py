"""What fault tests share: commands that can be killed, photos, a recipe that takes its time, disks of any size."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.errors import CacheError
from srcache.keys import image_key
from srcache.stores import open_store

PHOTOS, BROKEN = 72, 2
LIMIT = 60
"""Seconds after which a command is taken to hang."""

SLOW = "engine: test-sleepy\nscale: 2\noptions: {milliseconds: 25}\n"


@dataclass
class Run:
    """A command that was started."""

    commands: "Commands"
    pid: int
    out: Path

    def send(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=LIMIT):
        status = self.commands.ask({"wait": self.pid, "seconds": seconds})
        assert status is not None, f"process {self.pid} hangs: {self.stderr}"
        return status

    @property
    def stdout(self):
        return Path(f"{self.out}.stdout").read_text()

    @property
    def stderr(self):
        return Path(f"{self.out}.stderr").read_text()


class Commands:
    """Starts commands in processes of their own (see `forker`)."""

    def __init__(self, folder):
        words = [sys.executable, str(Path(__file__).with_name("forker.py"))]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._folder, self._count = folder, 0

    def ask(self, order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, *words, file_size=None, program=None):
        self._count += 1
        out = self._folder / f"{self._count}"
        words = [str(word) for word in words]
        pid = self.ask({"start": words, "out": str(out), "file_size": file_size, "program": program})
        return Run(self, pid, out)

    def run(self, *words, **how):
        run = self.start(*words, **how)
        return run.wait(), run

    def close(self):
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    running = Commands(tmp_path_factory.mktemp("commands"))
    yield running
    running.close()


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


def stored(cache):
    """Every entry of a cache's one recipe: name → payload; each has the checksum that its record says."""
    if not (cache / "srcache.json").exists() or not (folders := open_cache(cache).folders()):
        return {}
    (folder,) = folders
    try:
        store = open_store("lmdb", folder.store_path)
    except CacheError:
        return {}
    try:
        entries = {name: store.get(name) for name in store.names()}
        assert all(image_key(payload) == store.record(name)["checksum"] for name, payload in entries.items())
    finally:
        store.close()
    return entries


def until(happened, seconds=LIMIT):
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.003)
