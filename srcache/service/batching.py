"""Which images an engine gets next: requests wait by shape, and leave in batches of one shape.

A batch may leave when it is full, or when its first request has waited for `linger` seconds; where none may and
somebody is in a hurry or the room is crowded, any may. Of several the one that has waited longest leaves, so that no
shape waits for ever.

There are no threads, locks or clocks in here: the service has them.
"""

from collections import deque

from srcache.service.requests import Request, Shape

BATCH_PIXELS = 32_000_000
"""Output pixels in one engine call at most (but at least one image)."""
_ROOM_BATCHES = 8
_ROOM_BYTES = 256 << 20


class BatchQueue:
    """See this module's docstring. Times are seconds on any clock that only goes forwards."""

    def __init__(self, batch: int, scale: float, linger: float) -> None:
        self._batch, self._scale, self._linger = batch, scale, linger
        self._waiting: dict[Shape, deque[tuple[float, Request]]] = {}
        self._narrow: dict[Shape, int] = {}
        self._count = self._bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that short batches must leave, and nobody should come in."""
        return self._count >= _ROOM_BATCHES * self._batch or self._bytes >= _ROOM_BYTES

    def add(self, request: Request, now: float) -> bool:
        """Let a request wait; says whether that may have made a batch leave, or changed when the next one does."""
        jobs = self._waiting.setdefault(request.shape, deque())
        jobs.append((now, request))
        self._count += 1
        self._bytes += request.lr.nbytes
        return len(jobs) == 1 or self._is_full(request.shape) or self.is_crowded

    def take(self, now: float, hurry: bool = False) -> list[Request]:
        """The next batch, all of one shape; empty if none should leave yet."""
        ripe = [shape for shape in self._waiting if self._is_full(shape) or self._is_due(shape, now)]
        if not ripe and (hurry or self.is_crowded):
            ripe = list(self._waiting)
        if not ripe:
            return []
        shape = min(ripe, key=self._since)
        jobs = self._waiting[shape]
        taken = [jobs.popleft()[1] for _ in range(min(len(jobs), self.width(shape)))]
        if not jobs:
            del self._waiting[shape]
        self._count -= len(taken)
        self._bytes -= sum(request.lr.nbytes for request in taken)
        return taken

    def patience(self, now: float) -> float | None:
        """Seconds until a short batch leaves if nobody comes in; None for never."""
        if not self._waiting or self._linger == float("inf"):
            return None
        return max(0.0, min(self._since(shape) for shape in self._waiting) + self._linger - now)

    def clear(self) -> list[Request]:
        """Send everybody away."""
        gone = [request for jobs in self._waiting.values() for _, request in jobs]
        self._waiting.clear()
        self._count = self._bytes = 0
        return gone

    def pixels(self, shape: Shape) -> int:
        """Pixels that the engine makes of one image."""
        return max(1, int(shape[0] * shape[1] * self._scale**2))

    def width(self, shape: Shape) -> int:
        """Images per call for a shape: fixed by the shape and the settings, until `narrow` is called."""
        return self._narrow.get(shape) or max(1, min(self._batch, BATCH_PIXELS // self.pixels(shape)))

    def narrow(self, shape: Shape, width: int) -> None:
        """Make the batches of a shape smaller for good: larger ones do not fit into memory."""
        self._narrow[shape] = max(1, min(width, self.width(shape)))

    def _since(self, shape: Shape) -> float:
        return self._waiting[shape][0][0]

    def _is_full(self, shape: Shape) -> bool:
        return len(self._waiting[shape]) >= self.width(shape)

    def _is_due(self, shape: Shape, now: float) -> bool:
        return now - self._since(shape) >= self._linger
