"""kill -9 at any moment costs at most the batch that was not committed."""

import json
import random
import signal
import time

import pytest
from commands import BROKEN, PHOTOS, stored

DURATION = 0.9
"""Seconds in which a build of these photos is over, more or less."""


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_build_goes_on(seed, build, commands, undisturbed, tmp_path):
    survive(seed, build, commands, undisturbed, tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1050))
def test_a_build_that_is_killed_often_goes_on(seed, build, commands, undisturbed, tmp_path):
    survive(seed, build, commands, undisturbed, tmp_path / "cache")


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
