"""Commands that can be killed, and what they leave behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from srcache.cache.manifest import open_cache
from srcache.errors import CacheError
from srcache.keys import image_key

PHOTOS, BROKEN = 72, 2
DURATION = 0.9
"""Seconds in which a build of these photos is over, more or less."""

LIMIT = 60
"""Seconds after which a command is taken to hang."""


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

    def start(self, *words, file_size=None, program=None, streams=None, folder=None):
        """Start a command, in a folder; `streams` says of stdout and stderr that they are "full" or "closed"."""
        self._count += 1
        out = self._folder / f"{self._count}"
        words = [str(word) for word in words]
        how = {"file_size": file_size, "program": program, "streams": streams, "folder": folder and str(folder)}
        pid = self.ask({"start": words, "out": str(out), **how})
        return Run(self, pid, out)

    def run(self, *words, **how):
        run = self.start(*words, **how)
        return run.wait(), run

    def close(self):
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._process.stdout.close()


def stored(cache):
    """Every entry of a cache's one recipe: name → payload; each has the checksum that its record says."""
    if not (cache / "srcache.json").exists() or not (folders := open_cache(cache).folders()):
        return {}
    (folder,) = folders
    try:
        store = folder.store()
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


def survive(seed, build, commands, undisturbed, cache):
    """Kill one to three runs, look at what is there after each, and let the last one finish."""
    rng = random.Random(seed)
    had: set[str] = set()
    for _ in range(rng.randint(1, 3)):
        run, moment = build(cache), rng.uniform(0, DURATION)
        time.sleep(moment)
        run.send(signal.SIGKILL)
        assert run.wait() in (-signal.SIGKILL, 1), f"seed {seed}: {run.stderr}"
        have = stored(cache)
        assert set(have) >= had, f"seed {seed}: a committed entry is gone (killed after {moment:.3f} s)"
        assert have.items() <= undisturbed.items(), f"seed {seed}: other bytes (killed after {moment:.3f} s)"
        had = set(have)
        if have:
            code, verify = commands.run("verify", cache)
            assert code == 0, f"seed {seed}: {verify.stdout}{verify.stderr}"
    run = build(cache, "--json")
    assert run.wait() == 1, f"seed {seed}: {run.stderr}"
    result = json.loads(run.stdout)["result"]
    assert (result["stored"], result["added"]) == (len(had), PHOTOS - len(had)), f"seed {seed}"
    assert sum(result["failed"].values()) + result["skipped"] == BROKEN, f"seed {seed}"
    assert stored(cache) == undisturbed, f"seed {seed}"
    assert commands.run("verify", cache)[0] == 0, f"seed {seed}"
