"""Ctrl-C and termination: the batch in hand is kept, the command says how to go on, and the next one does."""

import signal
import subprocess
import sys
import time

import pytest
from commands import PHOTOS, stored, until

from srcache.cache.manifest import open_cache


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("batches", [1, 8])
def test_an_interrupted_build_keeps_its_batch_and_goes_on(number, batches, build, undisturbed, tmp_path):
    cache = tmp_path / "cache"
    run = build(cache)
    until(lambda: len(stored(cache)) >= 4 * batches)
    run.send(number)
    assert run.wait() == 130
    have = stored(cache)
    assert 4 * batches <= len(have) < PHOTOS
    assert have.items() <= undisturbed.items()
    done, left = len(have), PHOTOS + 2 - len(have)
    assert (
        f"srcache: interrupted; the batch in hand was finished: {done} added, {left} left. Run the same" in run.stderr
    )
    assert "Traceback" not in run.stderr
    (receipt,) = open_cache(cache).find("slow").receipts()
    assert (receipt["interrupted"], receipt["added"]) == (True, done)
    assert build(cache).wait() == 1
    assert stored(cache) == undisturbed
    assert [entry["interrupted"] for entry in open_cache(cache).find("slow").receipts()] == [True, False]


def test_as_json_too(build, tmp_path):
    run = build(tmp_path / "cache", "--json")
    until(lambda: stored(tmp_path / "cache"))
    run.send(signal.SIGINT)
    assert run.wait() == 130
    assert run.stderr.startswith("srcache: finishing the images in hand; press again to stop at once")
    assert '"ok": false' in run.stdout
    assert '"exit_code": 130' in run.stdout


PROGRAM = """
import sys, time
from pathlib import Path
import engines, srcache.service.service
from srcache_cli.main import main
marks, close = Path(sys.argv.pop()), srcache.service.service.SRService.close

def upscale(self, images, seeds):
    (marks / "busy").touch()
    time.sleep(600)

def closing(self, **how):
    (marks / "closing").touch()
    close(self, **how)

engines.Sleepy.upscale, srcache.service.service.SRService.close = upscale, closing
main()
"""


def test_a_second_ctrl_c_does_not_wait_for_the_engine(many, slow, tmp_path):
    """A real process, to its very end: nothing that is left may keep it from ending."""
    words = ["build", many, "--cache", tmp_path / "cache", "--recipe", slow, "--device", "cpu", tmp_path]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, words)], stderr=subprocess.PIPE, text=True) as run:
        for mark, pause in (("busy", 0), ("closing", 0.4)):  # signals that come as one are one
            time.sleep(pause)
            until(lambda mark=mark: (tmp_path / mark).exists() or run.poll() is not None)
            run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130, run.stderr.read()
        first, second = run.stderr.read().splitlines()
        assert first == "srcache: finishing the images in hand; press again to stop at once"
        assert second.startswith("srcache: stopped at once; what was stored before is kept. Run the same command again")
