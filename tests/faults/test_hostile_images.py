"""Mutated images of every format: each is read or refused in words, at once, and within the memory for decoding."""

import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from mutated_images import FORMS, mutated
from srcache_cli.main import run

from srcache.errors import ImageError
from srcache.images import decode, image_sides

REASONS = {"empty", "truncated", "unreadable", "animated", "too_large", "unsupported"}
LONGEST = 10
"""Seconds that one image may take."""


def outcome(use: Callable[[bytes], object], data: bytes) -> str:
    try:
        use(data)
    except ImageError as error:
        return error.reason if str(error) else "nothing said"
    return "read"


def test_each_is_read_or_refused_in_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(50):
            name, data = mutated(number)
            begun = time.monotonic()
            assert outcome(decode, data) in REASONS | {"read"}, name
            assert outcome(image_sides, data) in REASONS | {"read"}, name
            assert time.monotonic() - begun < LONGEST, name


def test_the_same_number_gives_the_same_bytes_and_every_format_has_its_turn() -> None:
    assert mutated(77) == mutated(77)
    assert len({Path(mutated(number)[0]).suffix for number in range(len(FORMS))}) >= 18


def test_a_build_counts_them_and_ends_with_exit_code_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(50):
        name, data = mutated(number)
        (tmp_path / "photos" / name).write_bytes(data)
    line = f"build {tmp_path}/photos --cache {tmp_path}/cache --recipe bicubic --set scale=2 --device cpu"
    assert run(line.split()) == 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hostile")
    for number in range(500):
        name, data = mutated(number)
        folder = home / "photos" / ("a" if number % 3 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return home


LINES = (
    "scan photos --out catalog.csv",
    "build photos --cache cache --recipe bicubic --set scale=2 --device cpu",
    "build photos --cache cache --recipe bicubic --set scale=2 --device cpu --retry-failed",
    "prepare lr photos lr --factor 2",
    "prepare crops photos hr crops --size 8 --factor 2",
    "prepare split photos parts --ratios 0.8,0.1,0.1 --seed 1",
    "verify cache",
    "export cache out --names",
)
PROGRAM = """
import resource, sys
from srcache_cli.main import run
code = run(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.slow
def test_no_command_stumbles_over_five_hundred(campaign: Path) -> None:
    most = 1000
    for line in LINES:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, *line.split()],
            cwd=campaign,
            env={**os.environ, "SRCACHE_DECODE_MEMORY": str(most << 20), "SRCACHE_HOME": str(campaign / "home")},
            capture_output=True,
            text=True,
            timeout=60 + 500 * LONGEST,
        )
        assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr, line
        found = re.fullmatch(r"(\d+) (\d+)", done.stdout.splitlines()[-1])
        assert found is not None, line
        assert int(found[1]) in (0, 1), f"{line}: {done.stderr[-2000:]}"
        assert int(found[2]) < most + 700, f"{line} took {found[2]} MiB"


@pytest.mark.slow
def test_thousands_more_are_read_or_refused_in_words() -> None:
    slow = []
    for number in range(500, 6000):
        name, data = mutated(number)
        begun = time.monotonic()
        assert outcome(decode, data) in REASONS | {"read"}, name
        slow += [name] if time.monotonic() - begun > LONGEST else []
    assert slow == []
