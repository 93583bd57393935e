"""Callbacks by which long work reports how far it is; none of them prints."""

import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total), for example images, files or steps."""

Say = Callable[[str], None]
"""Called with a few words about what is being done now."""

_PAUSE = 0.1


def throttled(progress: Progress | None) -> Progress:
    """The same callback, called some ten times a second at most, and at the end; None becomes one that does nothing."""
    due = 0.0

    def show(done: int, total: int) -> None:
        nonlocal due
        if progress and (done == total or time.monotonic() >= due):
            progress(done, total)
            due = time.monotonic() + _PAUSE

    return show
