"""kill -9 at any moment of a training costs at most the epoch in hand, and moves no number."""

import json
import random
import signal
import time
from dataclasses import replace

import pytest
from commands import until
from train_study import make_stripes

from srcache.errors import ConfigError
from srcache.study.train.runs import open_run

EPOCHS = 12
SETTINGS = ("network=small:4", "size=32", f"epochs={EPOCHS}", "batch_size=4", "augmentation=thesis")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_stripes(tmp_path_factory.mktemp("stripes"))


@pytest.fixture(scope="module")
def start(commands, home):
    """Start `srcache train` into a folder."""
    words = ["--arm", "sr", "--lr", home / "lr/train", "--validation", home / "lr/validation"]
    words += ["--test", home / "lr/test"]
    words += ["--cache", home / "cache", "--recipe", "lanczos", *(word for one in SETTINGS for word in ("--set", one))]

    def run(out):
        return commands.start("train", *words, "--out", out)

    return run


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """A training that nothing happened to, and how long it took from its first file to the end."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run = start(out)
    until((out / "run.json").exists)
    began = time.monotonic()
    assert run.wait() == 0, run.stderr
    return open_run(out), time.monotonic() - began


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_training_goes_on(seed, start, undisturbed, tmp_path):
    survive(seed, start, *undisturbed, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_a_training_that_is_killed_often_goes_on(seed, start, undisturbed, tmp_path):
    survive(seed, start, *undisturbed, tmp_path / "run")


def survive(seed, start, wanted, duration, out):
    """Kill one to three runs, look at what is there after each, and let the last one finish."""
    rng = random.Random(seed)
    epochs = 0
    for _ in range(rng.randint(1, 3)):
        run, moment = start(out), rng.uniform(0, duration)
        until(lambda run=run: (out / "run.json").exists())
        time.sleep(moment)
        run.send(signal.SIGKILL)
        assert run.wait() in (-signal.SIGKILL, 0), f"seed {seed}: {run.stderr}"
        had, epochs = epochs, lines(out)
        assert epochs >= had, f"seed {seed}: a finished epoch is gone (killed after {moment:.3f} s)"
    run = start(out)
    assert run.wait() == 0, f"seed {seed}: {run.stderr}"
    assert replace(open_run(out), folder=wanted.folder) == wanted, f"seed {seed}"
    assert (out / "model.safetensors").read_bytes() == (wanted.folder / "model.safetensors").read_bytes()
    left = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    assert left == ["curves.png", "history.csv", "model.safetensors", "run.json"], f"seed {seed}"


def lines(out):
    """How many epochs the history has; every file in the folder is whole."""
    json.loads((out / "run.json").read_text())
    history = out / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


def test_a_disk_that_is_full_is_told_and_the_training_goes_on_when_there_is_room(start, undisturbed, tmp_path, disk):
    """The state of the last whole epoch is still there."""
    pytest.importorskip("resource")
    wanted, _ = undisturbed
    room = disk(40_000)
    run = start(room / "run")
    assert run.wait() == 4, run.stderr
    assert "so make room, or raise the quota" in run.stderr
    with pytest.raises(ConfigError):
        open_run(room / "run")
    disk(4_000_000)
    run = start(room / "run")
    assert run.wait() == 0, run.stderr
    assert open_run(room / "run").weights == wanted.weights
