"""Builds on Ray in tests: each in a network of its own, its actors found below it, so that they can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from network_namespace import alone

from srcache.cache.manifest import open_cache
from srcache.errors import CacheError

LIMIT = 240
"""Seconds after which a build on Ray is taken to hang; Ray alone takes some ten to start."""

ACTOR = "MapWorker(MapBatches(RayActor)"


class RayBuild:
    """A `srcache build … --executor ray` that runs."""

    def __init__(self, out, *words):
        self._out = open(f"{out}.stdout", "w+")  # noqa: SIM115
        self._err = open(f"{out}.stderr", "w+")  # noqa: SIM115
        line = [sys.executable, "-P", "-m", "srcache_cli.main", "build", *words, "--executor", "ray"]
        self.stdout = self.stderr = ""
        self._process = subprocess.Popen(
            alone(*line), stdout=self._out, stderr=self._err, env={**os.environ}, start_new_session=True
        )

    def wait(self, seconds=LIMIT):
        """The exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        finally:
            self.stdout, self.stderr = _read(self._out), _read(self._err)

    def interrupt(self):
        """What Ctrl-C in a terminal does: a signal to everything that it started."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill_actor(self):
        """kill -9 one of its actors, and wait until it is gone."""
        pid = until(lambda: next(iter(self.actors()), None))
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in self.actors())
        return pid

    def actors(self):
        """The processes of its actors."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (status := _status(entry)):
                parents[int(entry.name)] = status
        return [pid for pid, (_, title) in parents.items() if ACTOR in title and self._is_below(pid, parents)]

    def _is_below(self, pid, parents):
        while pid in parents:
            pid = parents[pid][0]
            if pid == self._process.pid:
                return True
        return False

    @property
    def document(self):
        """What it printed with --json."""
        return json.loads(self.stdout)


def until(happened, seconds=LIMIT):
    """Wait for something to be true; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)
    return found


def count(cache):
    """How many entries a cache's one recipe has by now."""
    try:
        store = open_cache(cache).find().store()
    except CacheError:
        return 0
    try:
        return len(store)
    finally:
        store.close()


def _status(process):
    """Parent and title of a process that lives, or None."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else (int(fields[1]), (process / "cmdline").read_text())
    except OSError:
        return None


def _read(file):
    with file:
        file.seek(0)
        return file.read()
