"""The system's locks on files, between processes: they end with the process that holds them, whatever ends it.

On POSIX a lock is `flock`'s, of one process or shared. Elsewhere it is filelock's, of the system too, and always of one
process. A lock file that is a lock because it is there is never used: it would outlive a process that is killed.
"""

import errno
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from srcache.errors import MachineError, needs_extra

NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
"""What file systems say that have no locks, and systems without `flock`."""


def _fcntl() -> Any:
    """The module that POSIX has; None elsewhere."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl


FCNTL = _fcntl()


def take(handle: int, *, shared: bool = False, wait: bool = False) -> None:
    """Take the lock of an open file, until it is closed.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: the file system or the system has none; see `NO_LOCKS`.
    """
    if FCNTL is None:
        raise OSError(errno.ENOSYS, "no locks of open files on this system")
    FCNTL.flock(handle, (FCNTL.LOCK_SH if shared else FCNTL.LOCK_EX) | (0 if wait else FCNTL.LOCK_NB))


@contextmanager
def taken_elsewhere(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a file's lock where there is no `flock`.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        MachineError: the system has no locks that end with their process; or filelock is not installed.
    """
    with needs_extra("filelock", None, "a lock on this system"):
        from filelock import FileLock, SoftFileLock, Timeout
    if issubclass(FileLock, SoftFileLock):
        raise MachineError(f"{path} cannot be locked: this system has no locks that end with their process")
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BlockingIOError(errno.EAGAIN, "another process holds it", str(path)) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def brief_lock(path: Path) -> Iterator[None]:
    """Hold a lock on a folder or file itself for a moment, and wait for whoever holds it; nothing without locks."""
    if FCNTL is None:
        name = hashlib.blake2b(os.fsencode(os.path.realpath(path)), digest_size=16).hexdigest()
        with taken_elsewhere(Path(tempfile.gettempdir(), f"srcache-{name}.lock"), wait=True):
            yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            take(handle, wait=True)
        yield
    finally:
        os.close(handle)


@contextmanager
def process_lock(path: Path) -> Iterator[None]:
    """Hold a lock of this process, not of the open file: a process that is forked meanwhile does not keep it.

    Raises:
        OSError: the file cannot be made or opened.
    """
    if FCNTL is None:
        with taken_elsewhere(path, wait=True):
            yield
        return
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        FCNTL.lockf(file, FCNTL.LOCK_EX)
        yield
    finally:
        os.close(file)


def is_running(process: int) -> bool:
    """Whether a process of this machine runs; number 0 stands for none."""
    if process <= 0:
        return False
    if sys.platform == "win32":  # where os.kill would end it
        return _is_running_on_windows(process)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_running_on_windows(process: int) -> bool:
    import ctypes

    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, process)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
