"""How a long task reports how far it is, by callbacks, and where its time went, by logging; the command line prints."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Progress = Callable[[int, int], None]
"""Called with (done, total), for example images, files or steps."""

Say = Callable[[str], None]
"""Called with a short text that says what is being done now."""

_T = TypeVar("_T")

_logger = logging.getLogger("srcache.time")

_PAUSE = 0.1
"""Seconds between two calls."""


def throttled(progress: Progress | None) -> Progress:
    """The same callback, called about ten times a second at most, and at the end; for None, one that does nothing."""
    due = 0.0

    def show(done: int, total: int) -> None:
        nonlocal due
        if progress and (done == total or time.monotonic() >= due):
            progress(done, total)
            due = time.monotonic() + _PAUSE

    return show


class Waits(Generic[_T]):
    """The same things as `source` gives, and how long was waited for them so far.

    Attributes:
        seconds: of all waits.
    """

    def __init__(self, source: Iterable[_T]) -> None:
        self._source, self.seconds = source, 0.0

    def __iter__(self) -> Iterator[_T]:
        things = iter(self._source)
        while True:
            started = time.perf_counter()
            try:
                thing = next(things)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - started
            yield thing

    def log(self, what: str) -> None:
        """Log how long was waited."""
        _logger.debug("%s: %.3f s", what, self.seconds)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Around a part of the work, or a function (`@timed("…")`): logs how long it took, be it that it failed."""
    started, how = time.perf_counter(), " until it failed"
    try:
        yield
        how = ""
    finally:
        _logger.debug("%s: %.3f s%s", what, time.perf_counter() - started, how)
