"""Progress on stderr, where a person watches it: a bar with rate and remaining time, and words about the work."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from srcache.progress import Progress
from srcache.wording import counted, duration

from .output import note
from .saying import is_quiet, keep

_logger = logging.getLogger("srcache.cli")


@contextmanager
def progress_bar(label: str, unit: str = "image") -> Iterator[Progress]:
    """A bar with rate and remaining time on stderr; nothing where stderr is no terminal."""
    from tqdm import tqdm

    started, off = time.perf_counter(), is_quiet() or None
    with tqdm(desc=label, unit=f" {unit}s", disable=off, smoothing=0.1, dynamic_ncols=True) as bar:
        count = 0

        def show(done: int, total: int) -> None:
            nonlocal count
            count, bar.total = done, total
            bar.update(done - bar.n)

        yield show
    _logger.debug("%s: %s in %s", label, counted(count, unit), duration(time.perf_counter() - started))


def say(text: str) -> None:
    """A line on stderr about what is being done now; nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        note(text, err=True)
    else:
        keep(text)
