"""An experiment that is killed (SIGKILL) at any moment, and then run again, has the numbers of one that ran through."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny_experiment import make_images, numbers, tiny

pytestmark = pytest.mark.slow

SRCACHE = [sys.executable, "-c", "from srcache_cli.main import main; main()"]
LINES = [
    *("data: 16 train", "cache:", "training lr, seed 0: epoch  1"),
    *("training sr, seed 1: epoch  2", "hr, seed 0: trained"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    experiment = tiny(make_images(home / "pictures"))
    (home / "mine.yaml").write_text(yaml.safe_dump(experiment.plain()))
    assert subprocess.run(words(home, "whole", 1), stdout=subprocess.DEVNULL).returncode == 0
    return home


def words(home: Path, out: str, jobs: int) -> list[str]:
    return [*SRCACHE, "experiment", str(home / "mine.yaml"), "--out", str(home / out), "--jobs", str(jobs)]


def results(home: Path, out: str) -> object:
    return numbers(json.loads((home / out / "results.json").read_text()))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_run_again(home: Path, line: str, jobs: int) -> None:
    out = f"killed-{LINES.index(line)}-{jobs}"
    with subprocess.Popen(words(home, out, jobs), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(said.startswith(line) for said in process.stdout), "it ended before that line"
        process.send_signal(signal.SIGKILL)
    assert json.loads((home / out / "results.json").read_text())["complete"] is False
    assert subprocess.run(words(home, out, jobs), stdout=subprocess.DEVNULL).returncode == 0
    assert results(home, out) == results(home, "whole")


def test_processes_end_with_the_experiment(home: Path) -> None:
    with subprocess.Popen(words(home, "left", 2), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(said.startswith("training") for said in process.stdout)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while any(Path(f"/proc/{child}/stat").exists() and _runs(child) for child in children):
        assert time.monotonic() < until, "a child process outlived its parent"
        time.sleep(0.1)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
