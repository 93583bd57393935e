"""When a service is asked again, and when it is not asked any more: pauses between tries, and a circuit breaker.

The pauses are drawn from the operating system's random numbers, so that no training's own are touched.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from srcache.errors import UnavailableError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_LONGEST_WAIT = 30.0
"""Seconds that a service may ask us to wait."""

_DICE = random.SystemRandom()


def pause(tries: int, asked: float | None = None) -> float:
    """Seconds until the next try: a share, drawn by chance, of a limit that doubles; later if the service asked for it.

    Args:
        tries: how many there were.
        asked: what its Retry-After says.
    """
    drawn = _DICE.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries - 1, 30)))
    return drawn if asked is None else min(asked, _LONGEST_WAIT) + min(drawn, 1.0)


def retry_after(header: str | None) -> float | None:
    """The seconds that a Retry-After asks for, given as such or as a date; None if there is none that can be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


class Breaker:
    """Stops asking a service that has failed several times in a row; after a pause, one request tries again.

    Each pause is twice as long as the one before, up to a minute. Not safe in threads by itself.

    Args:
        clock: seconds on a clock that only goes forwards.
    """

    MOST_FAILURES = 3
    SHORTEST, LONGEST = 5.0, 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._probing, self._reason = False, ""
        self.succeeded()

    def enter(self) -> bool:
        """Begin a request; returns whether it is the one that tries whether the service is back.

        Every request ends with one of `succeeded`, `failed` and `abandoned`.

        Raises:
            UnavailableError: nothing is asked now.
        """
        if self._until is None:
            return False
        left = self._until - self._clock()
        if self._probing or left > 0:
            raise UnavailableError(f"{self._reason}; it is not asked again for {max(left, 0.0):.0f} s")
        self._probing = True
        return True

    def succeeded(self) -> None:
        """A request was answered."""
        self._failures, self._length = 0, self.SHORTEST
        self._until: float | None = None
        self._probing = False

    def failed(self, reason: str, is_probe: bool) -> None:
        """A request was not answered, after all its tries."""
        self._failures += 1
        if is_probe:
            self._probing, self._length = False, min(self.LONGEST, 2 * self._length)
        elif self._until is not None or self._failures < self.MOST_FAILURES:
            return
        self._until, self._reason = self._clock() + self._length, reason

    def abandoned(self, is_probe: bool) -> None:
        """A request was given up by who asked."""
        self._probing = self._probing and not is_probe
