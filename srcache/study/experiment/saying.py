"""Progress of an experiment's long steps as lines, which a log keeps as well as a terminal shows."""

import time

from srcache.progress import Progress, Say
from srcache.wording import about


def spoken(say: Say, what: str, every: float = 10.0) -> Progress:
    """Progress as lines that are said now and then, with the time that is left: `what: 120 of 900, about 40 s left`.

    Args:
        say: called with each line; never for what is over before the first is due.
        what: begins each line.
        every: seconds between two lines.
    """
    started = time.monotonic()
    due, first = started + every, None

    def show(done: int, total: int) -> None:
        nonlocal due, first
        now = time.monotonic()
        if first is None:
            first = done - 1  # what was there before is not part of the pace
        if now < due or done >= total:
            return
        due = now + every
        left = (total - done) * (now - started) / max(1, done - first)
        say(f"{what}: {done} of {total}, about {about(left)} left")

    return show
