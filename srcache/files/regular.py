"""Files that a user names are read only if they are regular ones: who reads a pipe or a device may wait for ever.

A name may lead to a pipe, a socket or a device by accident (a link in a folder of images) or on purpose (somebody
else's archive). Such a file is refused in words before anything is read from it; opening it does not wait either.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def regular_status(path: Path) -> os.stat_result:
    """The status of a file, or of that which a link leads to.

    Raises:
        OSError: it is not there, or is a pipe, a socket or a device; a folder is left to whoever reads it.
    """
    status = os.stat(path)
    _require_regular(path, status.st_mode)
    return status


def open_regular(path: Path) -> BufferedReader:
    """A file to read, as bytes.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket or a device.
    """
    regular_status(path)  # opening alone does something to some devices
    handle = os.open(path, _FLAGS)
    try:
        mode = os.fstat(handle).st_mode
        _require_regular(path, mode)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        return os.fdopen(handle, "rb")
    except OSError:
        os.close(handle)
        raise


def read_regular(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: as `open_regular`, or it cannot be read.
    """
    with open_regular(path) as file:
        return file.read()


def _require_regular(path: Path, mode: int) -> None:
    for is_kind, words in _KINDS:
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"it is {words}, not a regular file", str(path))
