"""A data set's epoch and counters, in memory that all its workers share.

So `set_epoch` reaches workers that already run, and the main process sees what they served. Each process counts in a
row of its own, which is handed out under a lock at its first count: no other process writes there, and the threads of
one process take turns. A row whose process has ended goes to the next one, which counts on from there. The same counts
show that `set_epoch` is not called.
"""

import operator
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from srcache.dataset.variants import MIXED
from srcache.errors import ConfigError
from srcache.files.file_locks import is_running, process_lock
from srcache.files.locks import ForkLock

COUNTED = ("hr", "lr", "sr", "missed_to_lr", "missed_to_hr", "computed", "fetched")
"""What is counted: variants served, fallbacks for missing SR, SR images made on the way, and those a service gave."""

_SERVED = ("hr", "lr", "sr", *MIXED)
_OWNER = -1
"""The column with the id of the process that counts in a row; 0 in a row that was never handed out."""

_BYTES = 32_000
"""All rows together stay below 32 KiB: what is larger torch copies with several threads, for which a process waits for
ever that was forked after its parent had used them."""

_ROWS = 384
"""Processes that count at once; fewer where more is counted."""

_LOOK_EVERY = 16
_EPOCH, _SERVED_BEFORE, _WARNED, _CALLS, _LONGEST = range(5)
"""What the first row holds: the epoch, what was served before it, whether a warning was given, how often an epoch was
set, and the most items of an epoch so far, or what a loader's sampler says."""

_FIRST = 3
"""How many times longer an epoch may be while nobody knows how long one is: samplers may draw items several times."""


class Counters:
    """The epoch of a data set and what was served of it, shared by all processes that serve it.

    The object reaches a worker by fork, by spawn, or as torch sends tensors; all of them then set and read one epoch,
    and count into one sum. A plain copy (pickle, deepcopy) starts with the same numbers, and goes its own way. Safe for
    threads.

    Args:
        patience: after how many items to warn, once, if `set_epoch` was never called. After it was, epochs may be as
            long as the longest so far, and half as much.
        more: what to count beside `COUNTED`.
    """

    def __init__(self, patience: float, more: Sequence[str] = ()) -> None:
        import torch

        self._patience = patience
        self._columns = {name: column for column, name in enumerate((*COUNTED, *more))}
        width = len(self._columns) + 1
        rows = min(1 + _ROWS, _BYTES // (8 * width))
        self._shared: Any = torch.zeros((rows, width), dtype=torch.int64)
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        return {"_patience": self._patience, "_columns": self._columns, "_shared": self._shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    def _share(self) -> None:
        self._cells = self._shared.share_memory_().numpy()
        self._own: tuple[int, Any] = (0, None)
        self._served_columns = [column for name, column in self._columns.items() if name in _SERVED]

    @property
    def epoch(self) -> int:
        """What `set_epoch` set last, in whichever process; 0 at first."""
        return int(self._cells[0, _EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch for all processes.

        Raises:
            ConfigError: it is no whole number from 0.
        """
        number = _epoch(epoch)
        served = self._served()
        if self._cells[0, _CALLS]:  # what was looked at before the first epoch was none
            self.expect(served - int(self._cells[0, _SERVED_BEFORE]))
        self._cells[0, [_EPOCH, _SERVED_BEFORE]] = number, served
        self._cells[0, _CALLS] += 1

    def expect(self, items: int) -> None:
        """Take it that an epoch may have so many items, as a sampler says or as an epoch had."""
        self._cells[0, _LONGEST] = max(items, int(self._cells[0, _LONGEST]))

    def totals(self) -> dict[str, int]:
        """The counts so far, over all processes."""
        sums = self._cells[1:].sum(axis=0)
        return {name: int(sums[column]) for name, column in self._columns.items()}

    def count(self, what: str, number: int = 1) -> None:
        """Add to one of what is counted; now and then look whether the epoch is overdue."""
        column = self._columns[what]
        with _turn:
            row = self._row()
            row[column] += number
            counted = int(row[column])
        if what in _SERVED and (counted - 1) // _LOOK_EVERY > (counted - number - 1) // _LOOK_EVERY:
            self._look()

    def _row(self) -> Any:
        """This process's row; the caller has the turn."""
        process = os.getpid()
        if self._own[0] != process:
            with _only_process():
                self._own = process, self._claim(process)
        return self._own[1]

    def _claim(self, process: int) -> Any:
        """A row for a process: the one that it has, else one whose process has ended; with very many, a shared one."""
        owners = self._cells[1:, _OWNER].tolist()
        place = owners.index(process) if process in owners else None
        if place is None:
            place = next((place for place, owner in enumerate(owners) if not is_running(owner)), process % len(owners))
            self._cells[1 + place, _OWNER] = process
        return self._cells[1 + place]

    def _look(self) -> None:
        """Warn if the same choices are being served for the second time, for want of `set_epoch`."""
        served = self._served() - int(self._cells[0, _SERVED_BEFORE])
        if self._cells[0, _WARNED] or served <= self._allowed():
            return
        self._cells[0, _WARNED] = 1
        warnings.warn(
            f"{served} items were served in epoch {self.epoch}, which is more than one and a half times what an epoch "
            "has: every image keeps the variant that it has now. Call set_epoch(epoch) at the start of "
            "every epoch",
            stacklevel=2,
        )

    def _allowed(self) -> float:
        """How many items an epoch may have before a warning."""
        longest = 1.5 * int(self._cells[0, _LONGEST])
        if not longest and self._cells[0, _CALLS]:
            return _FIRST * self._patience
        return max(self._patience, longest)

    def _served(self) -> int:
        return int(self._cells[1:, self._served_columns].sum())


_turn = ForkLock(patience=5)
"""Between the threads of this process."""


def _epoch(epoch: Any) -> int:
    try:
        number = operator.index(epoch)
    except TypeError:
        number = -1
    if number < 0 or isinstance(epoch, bool):
        raise ConfigError(f"an epoch is a whole number from 0, but got {epoch!r}")
    return number


@contextmanager
def _only_process() -> Iterator[None]:
    """A lock between this user's processes on this machine; none where the folder for temporary files is read-only.

    It is a lock of the process, not of the open file, so a process that is forked meanwhile does not keep it.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(tempfile.gettempdir()) / f"srcache-{user}.lock"
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(process_lock(path))
        yield
