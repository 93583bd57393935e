"""What other systems lack is missed by nothing that is imported; where there is no `flock`, other locks hold."""

import json
import subprocess
import sys

import pytest

from srcache import files
from srcache.cache.manifest import create_cache
from srcache.errors import BusyError, MachineError
from srcache.files import file_locks
from srcache.recipe.reading import load_recipe

PROGRAM = """
import builtins, importlib, json, os, pkgutil, signal, sys
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "syslog", "posix"}
real = builtins.__import__
def importing(name, globals=None, *rest):
    if name in MODULES and (globals or {}).get("__name__", "").startswith("srcache"):
        raise ImportError(name)
    return real(name, globals, *rest)
import click, numpy, lmdb, yaml, PIL.Image, tqdm, asyncio, concurrent.futures, multiprocessing.connection, tempfile
builtins.__import__ = importing
for name in ("register_at_fork", "sched_getaffinity", "getuid", "posix_fallocate"):
    delattr(os, name)
delattr(signal, "pthread_sigmask")
import srcache, srcache_cli
names = []
for package in (srcache, srcache_cli):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        names.append(found.name)
        importlib.import_module(found.name)
from srcache.files.file_locks import FCNTL
print(json.dumps([len(names), FCNTL is None, "torch" in sys.modules]))
"""


@pytest.mark.medium
def test_everything_is_imported_on_a_system_that_is_not_unix():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, without_flock, _ = json.loads(done.stdout)
    assert count > 250
    assert without_flock


@pytest.fixture
def elsewhere(monkeypatch):
    """A system without `flock`, as srcache sees it; filelock's locks are there."""
    pytest.importorskip("filelock")
    monkeypatch.setattr(file_locks, "FCNTL", None)
    monkeypatch.setattr(files, "FCNTL", None)


HOLD = """
import sys
from pathlib import Path
from srcache import files
from srcache.files import file_locks
if sys.argv[2] == "elsewhere":
    files.FCNTL = file_locks.FCNTL = None
with files.lock(Path(sys.argv[1]), shared=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.medium
@pytest.mark.parametrize("first", ["elsewhere", "posix"])
def test_one_process_at_a_time_holds_the_lock(elsewhere, first, tmp_path):
    """The same file as by `flock`, so that either keeps the other out; and a killed process does not keep it."""
    words = [sys.executable, "-c", HOLD, str(tmp_path), first]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="is being filled by another process"), files.lock(tmp_path, shared=True):
            pass
        other.kill()
    with files.lock(tmp_path) as alone:
        assert alone


def test_a_cache_is_made_and_filled_without_flock(elsewhere, tmp_path):
    folder = create_cache(tmp_path / "cache").add(load_recipe("bicubic"))
    with folder.lock() as alone:
        assert alone
    with files.brief_lock(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_files_that_outlive_their_process_are_no_locks(elsewhere, monkeypatch, tmp_path):
    filelock = pytest.importorskip("filelock")
    monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    with pytest.raises(MachineError, match="no locks that end with their process"), files.lock(tmp_path):
        pass
