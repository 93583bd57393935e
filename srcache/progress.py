"""Callbacks by which a long task reports how far it is. The library only calls them; the command line prints."""

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total), for example images, files or steps."""

Say = Callable[[str], None]
"""Called with a short text that says what is being done now."""

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
