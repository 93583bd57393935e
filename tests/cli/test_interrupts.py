"""What is said when a command is told to stop, and which commands go on when they are given again."""

import json
import signal
import subprocess
import sys

import pytest
from srcache_cli import interrupts
from srcache_cli.interrupts import Stopping, command_of, first_words, is_resumed
from srcache_cli.main import COMMANDS


class _Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def ending(monkeypatch):
    """Exit codes by which the process would have ended at once."""
    codes = []

    def end(code):
        codes.append(code)
        raise _Ended

    monkeypatch.setattr(interrupts.os, "_exit", end)
    return codes


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: a list with its time."""
    now = [1000.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    return now


def test_the_first_signal_interrupts_and_the_second_ends_the_process(ending, clock, capfd):
    stopping = Stopping("build", ". Run the same command again to go on", '{"ok": false}\n')
    with pytest.raises(KeyboardInterrupt):
        stopping.handle(signal.SIGINT, None)
    assert capfd.readouterr().err == "srcache: finishing the images in hand; press again to stop at once\n"
    clock[0] += 0.5
    with pytest.raises(_Ended):
        stopping.handle(signal.SIGTERM, None)
    assert ending == [130]
    printed = capfd.readouterr()
    assert "stopped at once; what was stored before is kept. Run the same command again to go on" in printed.err
    assert json.loads(printed.out) == {"ok": False}


def test_one_press_that_comes_twice_is_one(ending, clock, capfd):
    stopping = Stopping("train")
    with pytest.raises(KeyboardInterrupt):
        stopping.handle(signal.SIGINT, None)
    clock[0] += 0.01
    stopping.handle(signal.SIGINT, None)
    assert ending == []
    assert capfd.readouterr().err.count("srcache: ") == 1


def test_a_forked_worker_says_nothing(ending, monkeypatch, capfd):
    stopping = Stopping("train")
    monkeypatch.setattr(interrupts.os, "getpid", lambda: -1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stopping.handle(signal.SIGINT, None)
    stopping._leave()
    assert (ending, capfd.readouterr().err) == ([], "")


def test_what_ends_at_once_says_nothing_first():
    assert first_words("info") == first_words("srcache") == ""
    assert {name for name in COMMANDS if first_words(name)} >= {"build", "train", "experiment", "export", "verify"}


@pytest.mark.parametrize(
    ("line", "resumed"),
    [
        ("train --out run", True),
        ("experiment quickstart", True),
        ("build photos --dry-run", False),
        ("prepare split a b", True),
        ("export cache out", False),
        ("info cache", False),
    ],
)
def test_how_to_go_on_is_said_where_it_is_so(line, resumed, srcache, monkeypatch):
    words = line.split()
    assert is_resumed(command_of(words, COMMANDS), words) is resumed

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("srcache_cli.main.cli.main", stop)
    printed = srcache(*words)
    assert printed.code == 130
    assert printed.err == f"srcache: interrupted{'. Run the same command again to go on' * resumed}\n"


PROGRAM = """
import os, signal, sys, threading, time
from srcache_cli import main
def work(*_, **__):
    threading.Thread(target=time.sleep, args=(0.2,)).start()
    os.kill(os.getpid(), signal.SIGINT)
    exec("while True: time.sleep(1)")
main.cli.main = work
sys.argv = ["srcache", "train"]
main.main()
"""


@pytest.mark.medium
def test_the_exit_code_is_130_wherever_the_signal_came():
    """Also inside `exec`, after which Python by itself would end by the signal, as after an import that it stopped."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[1:] == ["srcache: interrupted. Run the same command again to go on"]
