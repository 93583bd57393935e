"""Callbacks for progress: Progress, Say, Show, throttled (today declared in 12 files)."""

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total), some ten times a second at most, and at the end."""
_PAUSE = 0.1


def throttled(progress: Progress | None) -> Progress:
    """The same callback, called some ten times a second at most, and at the end."""
    due = 0.0

    def show(done: int, total: int) -> None:
        nonlocal due
        if progress and (done == total or time.monotonic() >= due):
            progress(done, total)
            due = time.monotonic() + _PAUSE

    return show


Show = Callable[[int, int], None]
"""Called with (done, total) steps of all epochs."""
Say = Callable[[str], None]
"""Is told, in a few words, what is being done now."""
