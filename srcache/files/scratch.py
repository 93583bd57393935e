"""Folders in which something is being made, and how what a killed process left of them is known and removed.

Whoever makes such a folder holds its lock, which ends with the process, whatever ends that. So one that nobody locks is
left over. Where there are no locks, and for what versions before 0.2 left, the time since the last change must do.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from srcache.files import brief_lock, make_folder, size_of
from srcache.files.file_locks import FCNTL, take
from srcache.files.folders import paths_in
from srcache.files.system_errors import not_written

_LOCKED = re.compile(r"\..+-[0-9a-f]{8}\.scratch")
_OLD_FOLDER = re.compile(r"\..+\.[a-z0-9_]{8}")
_OLD_FILE = re.compile(r"\..+\.(?:[a-z0-9_]{8}|part|[0-9]+-[0-9a-f]{8})")
_QUIET = {True: 60.0, False: 3600.0}
"""Seconds without a change after which something is left over: a file; a folder, in which a large one may be copied."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a killed process left, and how large it is."""

    path: Path
    bytes: int


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder in `parent` for what is being made there, removed at the end; what killed makers left goes first.

    Raises:
        DiskFullError: it cannot be made.
    """
    make_folder(parent)
    path = parent / f".{name}-{uuid4().hex[:8]}.scratch"
    with brief_lock(parent):
        for left in leftovers_in(parent, name):
            _remove(left.path)
        try:
            path.mkdir()
            handle = os.open(path, os.O_RDONLY) if FCNTL is not None else None
        except OSError as error:
            raise not_written(error, path) from error
        if handle is not None:
            with suppress(OSError):
                take(handle)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def leftovers_in(folder: Path, name: str = "*") -> list[Leftover]:
    """What killed processes left directly in a folder of srcache's: hidden folders and files of those kinds."""
    found = []
    for path in sorted({*paths_in(folder, f".{name}-*.scratch"), *paths_in(folder, f".{name}.*")}):
        with suppress(FileNotFoundError):
            if _is_left(path):
                found.append(Leftover(path, size_of(path)))
    return found


def remove_leftovers(roots: Iterable[Path]) -> list[Leftover]:
    """Remove what killed processes left in folders of srcache's and below; returns what it was."""
    removed = []
    for root in dict.fromkeys(map(os.path.realpath, roots)):
        for home, names, _ in os.walk(root):
            for left in leftovers_in(Path(home)):
                _remove(left.path)
                removed.append(left)
            names[:] = [name for name in names if not name.startswith((".", "data."))]  # a store sweeps itself
    return removed


def _is_left(path: Path) -> bool:
    """Whether nobody is at work on it."""
    if path.is_symlink():
        return False
    if path.is_dir():
        if _LOCKED.fullmatch(path.name) and FCNTL is not None:
            return _is_free(path)
        return bool(_LOCKED.fullmatch(path.name) or _OLD_FOLDER.fullmatch(path.name)) and _is_quiet(path)
    return bool(_OLD_FILE.fullmatch(path.name)) and _is_quiet(path)


def _is_free(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        take(handle)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return _is_quiet(path)
    finally:
        os.close(handle)
    return True


def _is_quiet(path: Path) -> bool:
    """Whether nothing in it changed for long."""
    inner = [path, *path.rglob("*")] if path.is_dir() else [path]
    return max(one.lstat().st_mtime for one in inner) < time.time() - _QUIET[not path.is_dir()]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
