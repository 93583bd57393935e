"""A bit that is flipped anywhere in a cache: no wrong pixels are served, no command dies, and what is whole is kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import flips
import pytest
from paths import TESTS

_LIMIT = 3000
QUICK, SLOW = 15, 500
"""Flips of each kind of store, in the short form and in the long one."""


@pytest.fixture(scope="module", params=["lmdb", "shards"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is flipped; see `flips.prepare`."""
    return flips.prepare(tmp_path_factory.mktemp("flips"), request.param)


def _wrong(home: Path, work: Path, first: int, count: int, *full: str) -> list[str]:
    """What was wrong with each of so many flips."""
    words = [sys.executable, str(TESTS / "support/flips.py"), str(home), str(work), str(first), str(count), *full]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=_LIMIT, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count, done.stderr
    return [json.dumps(one) for one in found if one["wrong"]]


@pytest.mark.medium
def test_a_flipped_bit_is_told_and_mended(home: Path, tmp_path: Path) -> None:
    assert _wrong(home, tmp_path / "work", 0, QUICK) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1000 + SLOW, 50))
def test_every_command_tells_of_a_flipped_bit_and_a_repair_keeps_what_is_whole(
    home: Path, tmp_path: Path, first: int
) -> None:
    assert _wrong(home, tmp_path / "work", first, 50, "full") == []
