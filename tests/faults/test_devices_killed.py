"""A build on several devices, as a process of its own: nothing outlives it, and nothing that was committed is lost."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from commands import BROKEN, PHOTOS, stored, until

pytestmark = pytest.mark.slow


@pytest.fixture
def start(many, slow, tmp_path):
    """Start a build on two devices into `tmp_path/cache`, in a process group of its own."""
    running = []

    def build(*words, recipe=slow, program=("-m", "srcache_cli.main")):
        options = ["--cache", tmp_path / "cache", "--recipe", recipe, "--devices", "cpu,cpu", *words]
        line = [sys.executable, "-P", *program, "build", str(many), *map(str, options)]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        return running[-1]

    yield build
    for one in running:
        with suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.communicate()


def family(pid):
    """The living processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_ctrl_c_that_reaches_all_processes_lets_each_finish_its_batch(
    start, build_shards, undisturbed_shards, tmp_path
):
    run = start()
    until(lambda: len(stored(tmp_path / "cache")) >= 12)
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (130, "")
    have = stored(tmp_path / "cache")
    assert 12 <= len(have) < PHOTOS
    left = PHOTOS + BROKEN - len(have)
    (line,) = err.strip().splitlines()
    assert line.startswith(f"srcache: interrupted; the batch in hand was finished: {len(have)} added, {left} left. ")
    assert build_shards(tmp_path / "cache").wait() == 1
    assert stored(tmp_path / "cache") == undisturbed_shards


def test_when_it_is_killed_its_processes_end_and_another_build_goes_on(
    start, build_shards, undisturbed_shards, commands, tmp_path
):
    run = start()
    until(lambda: len(stored(tmp_path / "cache")) >= 4)
    children = family(run.pid)
    assert len(children) >= 2
    run.kill()
    run.communicate(timeout=60)
    until(lambda: not any(map(lives, children)), 20)
    assert stored(tmp_path / "cache").items() <= undisturbed_shards.items()
    assert commands.run("verify", tmp_path / "cache")[0] == 0
    assert build_shards(tmp_path / "cache").wait() == 1
    assert stored(tmp_path / "cache") == undisturbed_shards


PROGRAM = """
import sys, time
from pathlib import Path
import engines, srcache.service.service
from srcache_cli.main import main
marks, close = Path({marks!r}), srcache.service.service.SRService.close

def upscale(self, images, seeds):
    (marks / f"busy{{time.time_ns()}}").touch()
    time.sleep(600)

def closing(self, **how):
    (marks / f"closing{{time.time_ns()}}").touch()
    close(self, **how)

engines.Sleepy.upscale, srcache.service.service.SRService.close = upscale, closing
if __name__ == "__main__":
    main()
"""


def test_a_second_ctrl_c_does_not_wait_for_engines(start, tmp_path):
    (tmp_path / "stuck.py").write_text(PROGRAM.format(marks=str(tmp_path)))
    run = start(program=[tmp_path / "stuck.py"])
    children = []
    for mark in ("busy", "closing"):
        until(lambda mark=mark: len(list(tmp_path.glob(f"{mark}*"))) >= 2 or run.poll() is not None)
        children = children or family(run.pid)
        os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err.strip()) == (130, "", "srcache: interrupted")
    until(lambda: not any(map(lives, children)), 20)
