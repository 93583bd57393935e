"""Which processes write to an LMDB store, so that its file is not replaced or dropped behind their backs.

Two locks guard a recipe's folder:

    lock of the …          held by                                      how
    recipe's folder        build, serve, warm, merge, safety            one at a time (of shards, fillers share it)
                           repair, prune                                one at a time
    store's own folder     every process that opened it for writing     shared
                           repair, prune                                alone

The first says who fills the folder, so that work is not done twice. A training that makes the images which it misses
does not take it: it may go on beside a build for hours, as LMDB orders their commits, and none waits for the other.
But a repair copies a store and puts the copy in its place, and a prune removes it: what another process commits
meanwhile would be lost. Hence the second lock. Whoever reads does not take it, nor does a training before the first
image that it misses; from then on it holds the lock until its store is closed or its process ends, however that ends.

* `repair` and `prune` never wait for a writer: they are refused, and the error names the processes.
* A writer that comes while a store is repaired or pruned waits for the end of it, and warns once of what it waits for.
  Nobody who holds the second lock alone waits for anything, so this ends.
* Where there are no locks that can be shared, or where an older srcache repairs, a writer still compares, inside each
  transaction, the file that it has open with the one that has its name now (`is_replaced`). What was replaced is opened
  anew, and the commit is made there; what was taken away is an error.
"""

import os
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

from srcache.errors import BusyError, MachineError
from srcache.files import disk_errors, lock

_CAN_SHARE = os.name == "posix"
_PAUSE = 0.05
_PATIENCE = 2.0
"""Seconds that a writer waits without a word."""


class WritersLock:
    """One process's share in the lock of those who write to a store; for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: ExitStack | None = None

    def hold(self) -> None:
        """Take the lock, unless it is held; wait while the store is repaired or pruned.

        Raises:
            DiskFullError: the lock's file cannot be written.
            MachineError: the store's folder was taken away.
        """
        if self._held is not None or not _CAN_SHARE:
            return
        stack, warn_at = ExitStack(), time.monotonic() + _PATIENCE
        while self._held is None:
            try:
                with disk_errors(self._folder):
                    stack.enter_context(lock(self._folder, "repaired or pruned", shared=True))
                self._held = stack
            except FileNotFoundError as error:
                raise taken_away(self._folder) from error
            except BusyError as error:
                if time.monotonic() >= warn_at:
                    warnings.warn(f"images are not stored for now, but wait: {error}", stacklevel=2)
                    warn_at = float("inf")
                time.sleep(_PAUSE)

    def release(self) -> None:
        """Let go of the lock; in a forked process, which has a copy, its parent goes on holding it."""
        if self._held is not None:
            self._held.close()
        self._held = None


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path means now, None for none; it may come to mean another one (`repair`; `prune`, then `build`)."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def is_replaced(path: Path, known: tuple[int, int] | None) -> bool:
    """Whether a path means another file than when it was opened.

    Raises:
        MachineError: it means none any more.
    """
    found = identity(path)
    if found is None:
        raise taken_away(path.parent)
    return found != known


def taken_away(folder: Path) -> MachineError:
    """The error of a writer whose store was removed."""
    return MachineError(
        f"{folder} was taken away while images were being added to it (by `srcache prune`?), and what it held with it; "
        "run the same command again"
    )
