"""What LMDB's errors mean, and what a user can do about them."""

from pathlib import Path

import lmdb

from srcache.errors import LIMITS, CacheError, DamagedError, MachineError, SrcacheError
from srcache.files.system_errors import STORING, not_written, number_of

READERS = 1024
"""Readers that one folder may have at once."""


def translated(error: Exception, path: Path) -> SrcacheError:
    """An error of LMDB's as one of srcache's, which says what to do."""
    if number_of(error) in STORING:
        return not_written(error, path, "opened or grown" if number_of(error) in LIMITS else "written or opened")
    if isinstance(error, MemoryError):
        return MachineError(
            f"{path} could not be opened or grown ({error}), so raise the limit (ulimit) that is in the way"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return MachineError(f"{path} already has {READERS} readers; use fewer worker processes")
    if isinstance(error, lmdb.NotFoundError | lmdb.ReadonlyError):
        return CacheError(f"{path} holds no srcache entries ({error}); was anything built yet?")
    return DamagedError(f"{path} does not read as an LMDB store ({error}); `srcache repair` saves what is readable")
