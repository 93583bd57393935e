"""Folders of files for tests of catalogs: trees of small files with a known age, CSV files, and what a scan found."""

import os
import time
from pathlib import Path

import pytest

from srcache.catalog.rows import Catalog

MINUTE = 60 * 10**9


def write(path: Path, data: bytes = b"", age: int = MINUTE) -> Path:
    """A file that was last changed `age` nanoseconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or str(path).encode())
    then = time.time_ns() - age
    os.utime(path, ns=(then, then))
    return path


def time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half a minute go by for whatever remembers keys: nobody can give a file an old ctime."""
    monkeypatch.setattr("srcache.catalog.hashing.time_ns", lambda: time.time_ns() + MINUTE // 2)


def tree(root: Path, *names: str) -> Path:
    for name in names:
        write(root / name)
    return root


def names(catalog: Catalog) -> list[str]:
    return [row.name for row in catalog.rows]


def reasons(catalog: Catalog) -> dict[str, str]:
    return {problem.name: problem.reason for problem in catalog.problems}


def csv_of(folder: Path, text: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "images.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
