"""Caches for tests of what looks after them: built once, copied for each test."""

import shutil
from pathlib import Path

import caches
import pytest


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A folder with `photos` and, in `cache`, what `caches.build_two` makes of them; do not change it."""
    return caches.build_two(tmp_path_factory.mktemp("built"))


@pytest.fixture
def cache(built, tmp_path) -> Path:
    """A cache of its own for each test: `bicubic` with 5 images, `noisy` with 2 samples of each, a file that failed."""
    return Path(shutil.copytree(built / "cache", tmp_path / "cache"))


@pytest.fixture
def data(cache) -> Path:
    """The file that holds the images of `bicubic`."""
    return caches.only(cache).store_path / "data.mdb"
