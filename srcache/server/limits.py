"""The memory that requests may take together, counted before a body is read and before an image is decoded."""

import threading

from srcache.recipe.recipe import Recipe
from srcache.server.answers import Refusal

BODY, DECODING, PIXEL, RESULT = 1, 24, 9, 18
"""Bytes that are counted: for a byte of a body; for a pixel that is decoded (palettes, alpha and 16-bit images are
converted in several steps), one that is kept, and one that the engine makes (floats, bytes, and the encoded image)."""


class ByteBudget:
    """Counts the bytes that are in use, and refuses more than `most`. Safe for threads.

    Attributes:
        most: the limit.
        used: bytes that are in use now.
    """

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self._lock = threading.Lock()

    def take(self, count: int) -> "Hold":
        """Count some bytes as used, until the hold is released.

        Raises:
            Refusal: 413 if they would never fit, 503 if they do not fit now.
        """
        hold = Hold(self)
        self.resize(hold, count)
        return hold

    def resize(self, hold: "Hold", count: int) -> None:
        """Count `count` bytes for a hold instead of what it had.

        Raises:
            Refusal: as `take`.
        """
        with self._lock:
            more = count - hold.count
            if count > self.most:
                raise Refusal(
                    413,
                    "too_large",
                    f"the request would take {count} bytes of memory, and this service has {self.most} for all "
                    "requests; send a smaller image",
                )
            if more > 0 and self.used + more > self.most:
                raise Refusal(
                    503, "full", "the service has no memory for more requests at the moment; try again later", retry=1
                )
            self.used += more
            hold.count = count


class Hold:
    """Bytes that somebody uses; a context manager that releases them. Safe for threads.

    Attributes:
        count: how many.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self.count = 0
        self._budget = budget

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *rest: object) -> None:
        self.release()

    def resize(self, count: int) -> None:
        """Hold another number of bytes.

        Raises:
            Refusal: as `ByteBudget.take`; the hold is what it was.
        """
        self._budget.resize(self, count)

    def release(self) -> None:
        """Hold none; twice is harmless."""
        self.resize(0)


def making_bytes(sides: tuple[int, int], recipe: Recipe) -> int:
    """Bytes to be counted for an image of these sides, (height, width), until its SR image is stored."""
    source = sides[0] * sides[1]
    lr = source / (recipe.degradation.factor**2 if recipe.degradation else 1)
    made = max(lr * recipe.scale**2, source if recipe.size == "source" else 0)
    return int(PIXEL * source + RESULT * (lr + made))
