"""Batch memory that is used again and again: pages that are already mapped are several times faster to fill."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from srcache.images import Pixels

if TYPE_CHECKING:
    from torch import Tensor


class Slot:
    """Memory of one batch, which grows to the largest that it has held.

    Args:
        pinned: in pages that an accelerator copies from by itself.

    Attributes:
        busy: an event that a device has yet to pass before this memory may be written to; None if there is none.
    """

    def __init__(self, pinned: bool = False) -> None:
        self._pinned = pinned
        self._memory: Tensor | None = None
        self.busy: Any = None

    def take(self, images: int, shape: tuple[int, ...]) -> "tuple[Tensor, Pixels]":
        """A batch of images of a shape (H, W, 3), as a tensor uint8 (N, 3, H, W) and as an array (N, H, W, 3).

        Both are the same memory, channels last; what an earlier call gave is overwritten.
        """
        import torch

        if self.busy is not None:
            self.busy.synchronize()
            self.busy = None
        height, width, channels = shape
        size = images * height * width * channels
        if self._memory is None or self._memory.numel() < size:
            self._memory = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
        batch = self._memory[:size].view(images, height, width, channels)
        array: NDArray[np.uint8] = batch.numpy()
        return batch.permute(0, 3, 1, 2), array


class Ring:
    """Slots in turn.

    Args:
        slots: a slot is given again after so many others.
        pinned: see `Slot`.
        reused: False for a new slot each time.
    """

    def __init__(self, slots: int, *, pinned: bool = False, reused: bool = True) -> None:
        self._slots = [Slot(pinned) for _ in range(slots)]
        self._pinned, self._reused, self._turn = pinned, reused, 0

    def fits(self, slots: int, *, pinned: bool, reused: bool) -> bool:
        """Whether this ring is such a one."""
        return (len(self._slots), self._pinned, self._reused) == (slots, pinned, reused)

    def next(self) -> Slot:
        """The slot that was given the longest time ago."""
        if not self._reused:
            return Slot(self._pinned)
        slot = self._slots[self._turn % len(self._slots)]
        self._turn += 1
        return slot
