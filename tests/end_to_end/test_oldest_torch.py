"""The oldest PyTorch that the project says it runs with: an environment with it, and the tests of what stands on it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from paths import ROOT, TESTS

NETWORKS = (
    "tests/engine",
    "tests/conformance",
    "tests/service",
    *(f"tests/plugins/{name}" for name in ("compact", "spandrel")),
)
DIFFUSION = tuple(f"tests/plugins/{name}" for name in ("stable_diffusion", "seesr", "osediff"))
TRAININGS = (
    "tests/study/train",
    *sorted(f"tests/plugins/{path.name}" for path in (TESTS / "plugins").glob("test_*.py")),
)
"""They have a process of their own: after tests that pretend to have a GPU, that torch's backward pass crashed in four
of five runs; after SeeSR itself it did not."""

LEAST = re.compile(r"(torch|torchvision)>=([0-9.]+)")

pytestmark = [pytest.mark.slow, pytest.mark.network]


def _run(*words: str | Path) -> None:
    ours = ("PYTHONPATH", "SRCACHE_", "HF_HOME")  # of the tests that this one is among
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2400, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def _python() -> str:
    """Python 3.12 where there is one, with which that torch warned of itself; else the one that runs this."""
    found = shutil.which("python3.12")
    works = found and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode
    return found if found and works else sys.executable


def test_the_oldest_torch_passes_the_tests_of_engines(tmp_path: Path) -> None:
    """It takes about 6 GB, and removes them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    oldest = [f"{found[1]}=={found[2]}.*" for found in map(LEAST.fullmatch, declared) if found]
    assert len(oldest) == 2
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(line for line in lines if not line.startswith(("torch==", "torchvision=="))))
    _run(_python(), "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    try:
        _run(python, "-m", "pip", "install", "-q", "-c", constraints, *oldest, "-e", f"{ROOT}[all,dev]")
        for folders in (NETWORKS, DIFFUSION, TRAININGS):
            _run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *folders)
    finally:
        shutil.rmtree(tmp_path / "venv")
