"""The engine seam: discovery, options, tiling, and what counts as an unusable output."""

import multiprocessing
import subprocess
import sys

from engines import ENTRY_POINTS

from srcache.engine import engine_names


def test_installed_engines_are_found_here_in_subprocesses_and_in_spawned_workers():
    found = engine_names()
    assert {"resample", *ENTRY_POINTS} <= set(found)
    code = "from srcache.engine import engine_names; print(*engine_names())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == found
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(engine_names) == found
