"""Commands that can be killed, and what they leave behind."""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from forked import COMMAND, ENGINES, Child, started

from srcache.cache.manifest import open_cache
from srcache.errors import CacheError
from srcache.keys import image_key

PHOTOS, BROKEN = 72, 2
DURATION = 0.9
"""Seconds in which a build of these photos is over, more or less."""

LIMIT = 60
"""Seconds after which a command is taken to hang."""

LOADED = (
    *ENGINES,
    "fault_programs",
    "forked_checks",
    "matplotlib.backends.backend_agg",
    "srcache.dataset.augmented",
    "srcache.fill.estimate",
    "srcache.maintain.info",
    "srcache.maintain.merge",
    "srcache.maintain.prune",
    "srcache.maintain.repair",
    "srcache.maintain.verify",
    "srcache.stores.shards_kind",
    "srcache.study.train.loop",
    "srcache_cli.build",
    "srcache_cli.export",
    "srcache_cli.merge",
    "srcache_cli.train",
    "srcache_cli.verify",
    "torch._dynamo",
    "torchvision",
)
"""What is loaded once, for all of them."""


@dataclass
class Run:
    """A command that was started."""

    child: Child
    out: Path

    @property
    def pid(self):
        return self.child.pid

    def send(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=LIMIT):
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"process {self.pid} hangs: {self.stderr}") from None

    @property
    def stdout(self):
        return Path(f"{self.out}.stdout").read_text()

    @property
    def stderr(self):
        return Path(f"{self.out}.stderr").read_text()


class Commands:
    """Starts commands in processes of their own (see `forked`), and programs of `fault_programs`."""

    def __init__(self, folder):
        self._folder, self._count = folder, 0

    def start(self, *words, file_size=None, program=None, streams=None, folder=None):
        """Start a command, in a folder; `streams` says of stdout and stderr that they are "full" or "closed"."""
        self._count += 1
        out, streams = self._folder / f"{self._count}", streams or {}
        plain = COMMAND if streams else "forked_checks:main"  # a forked check is not what the program makes of streams
        name = plain if program is None else f"fault_programs:{program}"
        places = ("/dev/full" if streams.get(one) == "full" else f"{out}.{one}" for one in ("stdout", "stderr"))
        closed = [one for one, how in streams.items() if how == "closed"]
        with ExitStack() as files:
            stdout, stderr = (files.enter_context(open(place, "wb")) for place in places)
            how = {"file_size": file_size, "folder": folder, "closed": closed, "loads": LOADED}
            return Run(started(name, words, stdout=stdout, stderr=stderr, **how), out)

    def run(self, *words, **how):
        run = self.start(*words, **how)
        return run.wait(), run


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
