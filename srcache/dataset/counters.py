"""A data set's epoch and counters, in memory that all its workers share.

So `set_epoch` reaches workers that already run, and the main process sees what they served. Each thread counts in a row
of its own, which needs no lock. The same counts tell when nobody calls `set_epoch`.
"""

import threading
import warnings
from typing import Any

COUNTED = ("hr", "lr", "sr", "missed_to_lr", "missed_to_hr", "computed")
"""What is counted: variants served, fallbacks for missing SR, and SR images made on the way."""

_SERVED = 3
_COLUMNS = {name: column for column, name in enumerate(COUNTED)}
_ROWS = 1021
_LOOK_EVERY = 16
_EPOCH, _SERVED_BEFORE, _WARNED = 0, 1, 2


class Counters:
    """See this module's docstring. Shared by fork, by spawn, and with whatever torch sends to a worker.

    A plain copy (pickle, deepcopy) starts with the same numbers, and goes its own way.

    Args:
        patience: after how many items served without `set_epoch` to warn, once.
    """

    def __init__(self, patience: float) -> None:
        import torch

        self._patience = patience
        self._shared: Any = torch.zeros((1 + _ROWS, len(COUNTED)), dtype=torch.int64)
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        return {"_patience": self._patience, "_shared": self._shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    def _share(self) -> None:
        self._cells = self._shared.share_memory_().numpy()

    @property
    def epoch(self) -> int:
        """What `set_epoch` set last, in whichever process; 0 at first."""
        return int(self._cells[0, _EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Tell all processes."""
        self._cells[0, _EPOCH] = epoch
        self._cells[0, _SERVED_BEFORE] = self._served()

    def totals(self) -> dict[str, int]:
        """The counts so far, over all processes."""
        sums = self._cells[1:].sum(axis=0)
        return {name: int(sums[column]) for name, column in _COLUMNS.items()}

    def count(self, what: str, number: int = 1) -> None:
        """Add to one of `COUNTED`; now and then look whether the epoch is overdue."""
        row, column = self._cells[1 + threading.get_native_id() % _ROWS], _COLUMNS[what]
        row[column] += number
        if column < _SERVED and row[column] % _LOOK_EVERY == 1:
            self._look()

    def _look(self) -> None:
        """Warn if the same choices are being served for the second time, for want of `set_epoch`."""
        served = self._served() - int(self._cells[0, _SERVED_BEFORE])
        if served <= self._patience or self._cells[0, _WARNED]:
            return
        self._cells[0, _WARNED] = 1
        warnings.warn(
            f"{served} items were served in epoch {self.epoch}, which is more than one and a half times the data set: "
            "every image keeps the variant that it has now. Call set_epoch(epoch) on the data set at the start of "
            "every epoch",
            stacklevel=2,
        )

    def _served(self) -> int:
        return int(self._cells[1:, :_SERVED].sum())
