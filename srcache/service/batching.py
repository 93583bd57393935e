"""Which images an engine gets next: requests wait in one queue per shape, and leave in batches of one shape.

A batch may leave when it is full, or, for an idle engine, when its first request has waited for `linger` seconds: while
the engine is busy, a short batch gains nothing by leaving, and can still be filled up. Where there is none such,
any batch may leave if the caller is in a hurry, or if the queue is crowded. Of several the one that has waited longest
leaves, so that no shape waits for ever.

There are no threads, locks or clocks in this module: the service has them.
"""

from collections import deque
from collections.abc import Callable

from srcache.engine.interface import SREngine
from srcache.service.requests import Request, Shape

BATCH_PIXELS = 32_000_000
"""Output pixels in one engine call at most (but at least one image)."""

_CROWDED_BATCHES = 8
_CROWDED_BYTES = 256 << 20
"""As many full batches, or as many bytes of waiting images, make the queue crowded."""


class BatchQueue:
    """Requests that wait for the engine, and the rule by which they leave in batches of one shape.

    A batch leaves when it is full, or has waited for `linger` seconds and the engine is idle; or earlier where the
    caller is in a hurry or the queue is crowded; the one that has waited longest goes first. Not safe for threads by
    itself: the caller holds a lock. Times are seconds on any clock that only goes forwards.

    Args:
        batch: images per engine call at most; fewer for a shape whose outputs have many pixels (`BATCH_PIXELS`).
        advice: how many images of a shape (height, width) an engine advises, if not as many as fit into `batch`.
        scale: output side / input side.
        linger: seconds after which a short batch may leave; infinity for never.
    """

    def __init__(
        self, batch: int, scale: float, linger: float, advice: Callable[[int, int], int] | None = None
    ) -> None:
        self._batch, self._scale, self._linger, self._advice = batch, scale, linger, advice
        self._waiting: dict[Shape, deque[tuple[float, Request]]] = {}
        self._narrow: dict[Shape, int] = {}
        self._count = self._bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that short batches must leave, and no request should be added."""
        return self._count >= _CROWDED_BATCHES * self._batch or self._bytes >= _CROWDED_BYTES

    def add(self, request: Request, now: float) -> bool:
        """Queue a request; returns whether a batch may leave because of it, or the next one at another time."""
        jobs = self._waiting.setdefault(request.shape, deque())
        jobs.append((now, request))
        self._count += 1
        self._bytes += request.lr.nbytes
        return len(jobs) == 1 or self._is_full(request.shape) or self.is_crowded

    def take(self, now: float, hurry: bool = False, idle: bool = True) -> list[Request]:
        """The next batch, all of one shape; empty if none should leave yet. `idle`: whether the engine is."""
        ready = [shape for shape in self._waiting if self._is_full(shape) or (idle and self._is_due(shape, now))]
        if not ready and (hurry or self.is_crowded):
            ready = list(self._waiting)
        if not ready:
            return []
        shape = min(ready, key=self._since)
        jobs = self._waiting[shape]
        taken = [jobs.popleft()[1] for _ in range(min(len(jobs), self.width(shape)))]
        if not jobs:
            del self._waiting[shape]
        self._count -= len(taken)
        self._bytes -= sum(request.lr.nbytes for request in taken)
        return taken

    def patience(self, now: float) -> float | None:
        """Seconds until a short batch leaves if no request is added; None for never."""
        if not self._waiting or self._linger == float("inf"):
            return None
        return max(0.0, min(self._since(shape) for shape in self._waiting) + self._linger - now)

    def clear(self) -> list[Request]:
        """Remove all waiting requests, and return them."""
        removed = [request for jobs in self._waiting.values() for _, request in jobs]
        self._waiting.clear()
        self._count = self._bytes = 0
        return removed

    def pixels(self, shape: Shape) -> int:
        """Pixels of the engine's output for one image of a shape, (height, width)."""
        return max(1, int(shape[0] * shape[1] * self._scale**2))

    def width(self, shape: Shape) -> int:
        """Images per call for a shape: fixed by the shape and the settings, until `narrow` is called."""
        if shape in self._narrow:
            return self._narrow[shape]
        advised = self._advice(*shape) if self._advice else self._batch
        return max(1, min(self._batch, advised, BATCH_PIXELS // self.pixels(shape)))

    def narrow(self, shape: Shape, width: int) -> None:
        """Make the batches of a shape smaller for good: larger ones do not fit into memory."""
        self._narrow[shape] = max(1, min(width, self.width(shape)))

    def _since(self, shape: Shape) -> float:
        return self._waiting[shape][0][0]

    def _is_full(self, shape: Shape) -> bool:
        return len(self._waiting[shape]) >= self.width(shape)

    def _is_due(self, shape: Shape, now: float) -> bool:
        return now - self._since(shape) >= self._linger


def queue_for(engine: SREngine, scale: float, batch: int | None, linger: float) -> BatchQueue:
    """The queue of an engine: as wide as `batch` says, whatever an image's shape; None takes the engine's advice."""
    advice = None if batch else getattr(engine, "batch_width", None)
    return BatchQueue(max(1, batch or engine.info.batch), scale, linger, advice)
