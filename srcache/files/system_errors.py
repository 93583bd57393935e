"""What the system's errors mean: the one table of which of them are the machine's or a place's, and what to do.

None of them is a bug, and none is damage: a file that may not be read says nothing about what is in it. Who writes puts
`disk_errors` (in `srcache.files`) around it; who reads puts `reading` around it, and takes what is left (a file that
is not there, a folder in its place) for what it means where it is read. What nobody caught ends in `cli/main.py: run`.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srcache.errors import LIMITS, DiskFullError, MachineError, SrcacheError

_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FAILING = {
    *(errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EBUSY, errno.ETXTBSY, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNREFUSED),
}
_PLACES = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY),
    *(errno.EXDEV, errno.EMLINK, errno.EINVAL),
}

_IN_WORDS = re.compile(r"\(os error (\d+)\)")

_ADVICE = {
    **dict.fromkeys(_ROOM, "so make room, or raise the quota or the limit of a file's size (ulimit -f)"),
    **dict.fromkeys(_FORBIDDEN, "so give permission, or choose another place"),
    **dict.fromkeys(LIMITS, "so raise the limit (ulimit) that is in the way"),
    **dict.fromkeys(_FAILING, "so look after the disk, or the network that it lies behind"),
    **dict.fromkeys(_PLACES, "so choose another place"),
    errno.EIO: "so make room, which LMDB does not tell from a disk that fails, or look after the disk",
}
"""What to do about each number of an error; a number that is not here may be a bug."""

WRITING = frozenset(_ADVICE) - {errno.ENOENT, errno.EINVAL}
"""Errors of writing that are no bugs; a folder that was taken away (ENOENT) is told by who knows what it was."""

READING = frozenset(LIMITS | _FORBIDDEN | _FAILING)
"""Errors of reading that say nothing about what is, or is not, in the file."""


STORING = frozenset(READING | _ROOM)
"""Errors of a store's file that say nothing about what is in it."""

DISK = frozenset(_ROOM | _FORBIDDEN | LIMITS | {errno.EIO})
"""Errors of writing that no network makes."""

LOCKING = frozenset(_FORBIDDEN | _ROOM | {errno.EIO})
"""Errors of making a lock file beside what may only be read."""


def number_of(error: BaseException) -> int | None:
    """The system's number of an error of Python's, of LMDB's, or of a library's in Rust, which tells it in words alone;
    None if it has none."""
    number = getattr(error, "code", None) or getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    told = None if isinstance(error, SrcacheError | OSError) else _IN_WORDS.search(str(error))
    return int(told[1]) if told else None


def from_words(error: Exception) -> OSError | None:
    """The system's error that a library raised as one of its own kind; None if it is none."""
    number = None if isinstance(error, OSError) else number_of(error)
    return OSError(number, os.strerror(number)) if number in _ADVICE else None


def not_written(error: Exception, path: Path | str, doing: str = "written") -> MachineError:
    """The error to raise where `path` could not be written; what was stored before is safe."""
    return _as_error(error, f"{path} could not be {doing} ({_words(error)}); what was stored is safe, ", DiskFullError)


def not_read(error: Exception, path: Path | str) -> MachineError:
    """The error to raise where `path` could not be read."""
    return _as_error(error, f"{path} could not be read ({_words(error)}), ", MachineError)


def from_system(error: Exception) -> MachineError | None:
    """An error that nobody explained as one of srcache's, with what the system said; None if it may be a bug."""
    if isinstance(error, MemoryError):
        return MachineError(
            "memory ran out, so give it more, or ask for less at a time, and run the same command again"
        )
    error = from_words(error) or error
    if not isinstance(error, OSError) or error.errno not in _ADVICE:
        return None
    names = [
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)
    ]
    if error.errno == errno.EINVAL and not names:
        return None
    place = " → ".join(names) or "a file or a connection"
    return _as_error(error, f"{place} could not be used ({_words(error)}), ", MachineError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around code that reads: what says nothing about the file's content becomes an error of the machine.

    Raises:
        MachineError: `path` may not be read, a limit of the system is in the way, or the disk fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in READING:
            raise
        raise not_read(error, path) from error


def _as_error(error: Exception, what: str, kind: type[MachineError]) -> MachineError:
    number = number_of(error)
    advice = _ADVICE.get(number or 0, "so look after it")
    return (MachineError if number in LIMITS else kind)(f"{what}{advice}, and run the same command again")


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
