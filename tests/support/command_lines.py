"""Command lines in tests: what one printed, words that many of them need, and damage done to a cache."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from srcache.cache.manifest import open_cache


class Printed(NamedTuple):
    """The exit code of a command line, and what it printed on stdout and stderr."""

    code: int
    out: str
    err: str


def recipe_words(name: str) -> list[str]:
    """The options for a shipped recipe that doubles the sides, on the CPU."""
    return ["--recipe", name, "--set", "scale=2", "--device", "cpu"]


def damage(home: Path) -> Path:
    """A copy of `home/cache` in `home/damaged` whose recipe `bicubic` lost its last page."""
    shutil.copytree(home / "cache", home / "damaged")
    data = open_cache(home / "damaged").find("bicubic").store_path / "data.mdb"
    os.truncate(data, data.stat().st_size - 4096)
    return home / "damaged"
