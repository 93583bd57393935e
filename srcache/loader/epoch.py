"""One epoch of a loader: batches are ordered ahead, decoded by threads, and given in their order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.loader.batches import Batch, load_batch
from srcache.loader.device import Copied, DeviceCopier
from srcache.loader.order import Order
from srcache.loader.ring import Ring, Slot

if TYPE_CHECKING:
    import torch

_THREADS = "srcache-loader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an epoch is loaded.

    Attributes:
        workers: threads; 0 for none.
        ahead: batches that are ordered beyond the one that is given.
        ring: the memory of batches; nobody else uses it meanwhile.
        transform: functions of a batch's images, one after another.
        copier: brings batches to a device; None leaves them.
    """

    workers: int
    ahead: int
    ring: Ring
    transform: "tuple[Callable[[torch.Tensor], Any], ...]"
    copier: DeviceCopier | None


@dataclass(slots=True, kw_only=True)
class Position:
    """Where an epoch stands; it outlives the iterator of a loop that ends early.

    Attributes:
        random: the state of the random numbers that the epoch began with.
        given: batches that were given, with those before a resumption.
        is_done: whether the last one was.
    """

    random: "torch.Tensor"
    given: int
    is_done: bool = False


class Epoch:
    """An iterator of `[images, labels]`. Its threads end with it: at its end, or when nobody holds it any more."""

    def __init__(
        self,
        data: SRAugmentedDataset,
        batches: Iterable[Any],
        generator: "torch.Generator | None",
        settings: Settings,
        start: "tuple[torch.Tensor | None, int]",
    ) -> None:
        self._data, self._settings = data, settings
        self._order = Order(batches, generator, workers=settings.workers > 0, start=start)
        self.position = Position(random=self._order.random, given=start[1])
        self._pool = ThreadPoolExecutor(settings.workers, _THREADS) if settings.workers else None
        self._waiting: deque[Future[Batch]] = deque()
        self._copied: Copied | None = None
        self._is_over = False
        for _ in range(settings.ahead):
            self._order_one()

    def __iter__(self) -> "Epoch":
        return self

    def __next__(self) -> Any:
        try:
            images, labels = self._next_on_device() if self._settings.copier else self._next_loaded()[:2]
        except StopIteration:
            self.position.is_done = True
            self.close()
            raise
        except BaseException:
            self.position.given += 1  # the loop may go on with the next one, as with a DataLoader
            raise
        self.position.given += 1
        for step in self._settings.transform:
            images = step(images)
        return [images, labels]

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            self.close()

    @property
    def is_over(self) -> bool:
        """Whether nothing is loaded any more."""
        return self._is_over

    def close(self) -> None:
        """Stop: batches that were ordered are dropped, and the threads have ended when this returns."""
        if self._pool is not None:
            within = threading.current_thread().name.startswith(_THREADS)  # a thread cannot wait for its own end
            self._pool.shutdown(wait=not within, cancel_futures=True)
        self._is_over = True

    def _work(self) -> "tuple[SRAugmentedDataset, list[int], int, Slot] | None":
        """What `load_batch` needs for the next batch; None if there is none left."""
        indices = self._order.next()
        return None if indices is None else (self._data, indices, self._data.epoch, self._settings.ring.next())

    def _order_one(self) -> None:
        if self._pool is not None and (work := self._work()) is not None:
            self._waiting.append(self._pool.submit(load_batch, *work))

    def _next_loaded(self) -> Batch:
        if self._pool is None:
            if (work := self._work()) is None:
                raise StopIteration
            return load_batch(*work)
        if not self._waiting:
            raise StopIteration
        try:
            return self._waiting.popleft().result()
        finally:
            self._order_one()

    def _next_on_device(self) -> "tuple[torch.Tensor, Any]":
        """The next batch on its device; the copy of the one after it has begun, if that is decoded by now."""
        copier = self._settings.copier
        assert copier is not None
        copied = self._copied or copier.begin(self._next_loaded())
        self._copied = copier.begin(self._next_loaded()) if self._is_next_loaded() else None
        return copier.finish(copied)

    def _is_next_loaded(self) -> bool:
        return bool(self._waiting) and self._waiting[0].done() and self._waiting[0].exception() is None
