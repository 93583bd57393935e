"""Places where nothing can be read or written, and processes to which the system says no even where root asks."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION_3, _IGNORES_PERMISSIONS = 0x20080522, 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Head(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


@contextmanager
def like_any_user() -> Iterator[None]:
    """Inside, permissions hold for this thread, and for those that it starts, also where it is root's."""
    if os.geteuid() != 0:
        yield
        return
    libc, head, sets = ctypes.CDLL(None, use_errno=True), _Head(_VERSION_3, 0), (_Sets * 2)()
    assert libc.capget(ctypes.byref(head), sets) == 0
    before = sets[0].effective
    sets[0].effective = before & ~_IGNORES_PERMISSIONS
    assert libc.capset(ctypes.byref(head), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(head), sets) == 0


ODD_NAME = "a name with a line break and an escape"


def make_bad_places(home: Path) -> dict[str, str]:
    """What it is → a path of such a kind, below `home` or relative to it."""
    (home / "file").write_text("a file")
    (home / "closed").mkdir(mode=0)
    (home / "sealed").mkdir()
    (home / "sealed/file").write_text("a file")
    (home / "sealed/file").chmod(0)
    (home / "sealed").chmod(0o555)
    (home / "loop").symlink_to("loop")
    (home / "nowhere").symlink_to("sealed/none/x")
    os.mkfifo(home / "pipe")
    (home / "to a pipe").symlink_to("pipe")
    (home / "theirs/of a").mkdir(parents=True)
    (home / "theirs/thesis.txt").write_text("somebody's work")
    return {
        "below a file": "file/x.html",
        "a file": "file",
        "a place of the system's": "/proc/1/x/y",
        "a name that is too long": "x" * 300,
        "a path that is too long": "y/" * 2100 + "z",
        "a link to itself": "loop",
        "below a link to itself": "loop/x",
        "a link to nothing": "nowhere",
        "a folder that may not be entered": "closed",
        "below a folder that may not be entered": "closed/x",
        "in a folder that may not be written": "sealed/x",
        "below a folder that may not be written": "sealed/x/y.html",
        "a file that may not be read": "sealed/file",
        "below a device": "/dev/null/x",
        "no name": "",
        "a pipe that nobody reads": "pipe",
        "a link to a pipe": "to a pipe",
        "below a pipe": "pipe/x",
        "somebody's folder": "theirs",
        ODD_NAME: "odd\n\x1b[2J.html",
    }


def become(user: int, group: int, umask: int) -> None:
    """Turn a child that was forked into another user's, who may read all files (Python's own may be root's alone), and
    write only where that user may."""
    libc, head, sets = ctypes.CDLL(None, use_errno=True), _Head(_VERSION_3, 0), (_Sets * 2)()
    keep, raise_ambient, ambient, read_all = 8, 2, 47, 2  # PR_SET_KEEPCAPS, …, CAP_DAC_READ_SEARCH
    assert libc.prctl(keep, 1, 0, 0, 0) == 0
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    sets[0].effective = sets[0].permitted = sets[0].inheritable = 1 << read_all
    assert libc.capset(ctypes.byref(head), sets) == 0
    assert libc.prctl(ambient, raise_ambient, read_all, 0, 0) == 0
    os.umask(umask)
