"""Progress on stderr, where a person watches it: a bar with rate and remaining time, and words about the work."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from srcache.progress import Progress

from .output import echo


@contextmanager
def progress_bar(label: str, unit: str = "image") -> Iterator[Progress]:
    """A bar with rate and remaining time on stderr; nothing where stderr is no terminal."""
    from tqdm import tqdm

    with tqdm(desc=label, unit=f" {unit}s", disable=None, smoothing=0.1, dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def say(text: str) -> None:
    """A line on stderr about what is being done now; nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        echo(text, err=True)
