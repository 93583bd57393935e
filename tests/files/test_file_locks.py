"""The system's locks: who holds one keeps others out, and who is killed keeps nobody out."""

import errno
import os
import subprocess
import sys

import pytest

from srcache.files import file_locks
from srcache.files.file_locks import NO_LOCKS, brief_lock, is_running, process_lock, take


@pytest.fixture
def handles(tmp_path):
    """Two open files of one path, whose locks are apart as those of two processes."""
    found = [os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield found
    for handle in found:
        os.close(handle)


@pytest.mark.parametrize("shared", [False, True])
def test_a_lock_is_of_one_or_shared(handles, shared):
    take(handles[0], shared=shared)
    if shared:
        take(handles[1], shared=True)
    else:
        with pytest.raises(BlockingIOError):
            take(handles[1])


def test_a_system_without_flock_is_told_by_a_number_of_those_without_locks(handles, monkeypatch):
    monkeypatch.setattr(file_locks, "FCNTL", None)
    with pytest.raises(OSError, match="no locks") as caught:
        take(handles[0])
    assert caught.value.errno in NO_LOCKS
    assert errno.EIO not in NO_LOCKS


def test_a_brief_lock_is_free_afterwards(tmp_path):
    for _ in range(2):
        with brief_lock(tmp_path):
            pass


@pytest.mark.parametrize("system", ["posix", "elsewhere"])
def test_a_lock_of_the_process_makes_its_file(system, tmp_path, monkeypatch):
    if system == "elsewhere":
        pytest.importorskip("filelock")
        monkeypatch.setattr(file_locks, "FCNTL", None)
    for _ in range(2):
        with process_lock(tmp_path / "own.lock"):
            assert (tmp_path / "own.lock").exists()


def test_whether_a_process_runs():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        assert is_running(child.pid)
        child.stdin.close()
        child.wait()
    assert not is_running(child.pid)
    assert is_running(os.getpid())
    assert is_running(1)
    assert not is_running(0)
    assert not is_running(10**15)
