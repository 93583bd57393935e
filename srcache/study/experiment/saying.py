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
    due = time.monotonic() + every
    first: tuple[float, int] | None = None

    def show(done: int, total: int) -> None:
        nonlocal due, first
        now = time.monotonic()
        if first is None:  # what was there before, and starting up, are not part of the pace
            first = (now, done)
        if now < due or done >= total or done <= first[1]:
            return
        due = now + every
        left = (total - done) * (now - first[0]) / (done - first[1])
        say(f"{what}: {done} of {total}, about {about(left)} left")

    return show
