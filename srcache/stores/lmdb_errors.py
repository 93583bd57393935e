"""What LMDB's errors mean, and what a user can do about them."""

import errno
from pathlib import Path

import lmdb

from srcache.errors import CacheError, DamagedError, DiskFullError, MachineError, SrcacheError

READERS = 1024
"""Readers that one folder may have at once."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
_LIMITS = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOLCK}


def code_of(error: Exception) -> int | None:
    """The system's number of an error of LMDB's or of Python's; None if it has none."""
    return getattr(error, "code", None) or getattr(error, "errno", None)


def translated(error: Exception, path: Path) -> SrcacheError:
    """An error of LMDB's as one of srcache's, which says what to do."""
    code = code_of(error)
    if code in NO_ROOM:
        return DiskFullError(
            f"{path} could not be written or opened ({error}): the disk or quota is full, a file-size limit is "
            "reached, or permission is missing; what was committed is safe, so make room and run the same command again"
        )
    if code in _LIMITS or isinstance(error, MemoryError):
        return MachineError(
            f"{path} could not be opened or grown ({error}); raise the limit (ulimit) that is in the way"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return MachineError(f"{path} already has {READERS} readers; use fewer worker processes")
    if isinstance(error, lmdb.NotFoundError | lmdb.ReadonlyError):
        return CacheError(f"{path} holds no srcache entries ({error}); was anything built yet?")
    return DamagedError(f"{path} does not read as an LMDB store ({error}); `srcache repair` saves what is readable")
