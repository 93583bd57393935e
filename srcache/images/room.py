"""Memory for decoding: a budget in bytes that all threads of a process share, so that a few large images wait for each
other instead of filling the machine together. A file of some hundred bytes may hold a hundred million pixels.

Decoding takes more than the pixels that come of it: up to 24 bytes for each where Pillow converts in several steps. Who
decodes a large image takes `room` for that while it does, and waits until there is some. Nobody waits with room in
hand, so nobody waits for ever; and one image may always be decoded, however large. What was decoded is `kept`: counted
until it is let go, and waited for a minute at most, since a caller may well need a second image before it lets go of
the first.
"""

import ctypes
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from srcache.errors import ConfigError, ImageError
from srcache.files.locks import ForkLock
from srcache.images.pixels import Pixels
from srcache.machine import usable_memory

BY_PILLOW, BY_OTHERS, KEPT = 24, 12, 8
"""Bytes that are counted for each pixel: that decoding takes at most, by Pillow and by decoders that write into an
array at once; and that pixels take afterwards, with a copy of them that is being shrunk or encoded."""

SMALL = 32 << 20
"""Bytes that need no room: hardly an image of a training set takes more, and those shall not wait for a lock."""

NO_MEMORY = "the image does not fit into this machine's memory"
"""What is said of an image for which memory ran out."""

_VARIABLE = "SRCACHE_DECODE_MEMORY"
_LARGE = 256 << 20
"""Bytes after which the memory that was let go is given back to the system, which the C library puts off."""

_PATIENCE, _STEP = 60.0, 0.01


def budget() -> int:
    """Bytes for decoding: SRCACHE_DECODE_MEMORY if that is set, else a quarter of what this process may use.

    Raises:
        ConfigError: SRCACHE_DECODE_MEMORY is no positive integer.
    """
    text = os.environ.get(_VARIABLE)
    if text is None:
        return _quarter()
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{_VARIABLE} must be a positive number of bytes, but is {text!r}")
    return int(text)


def room(pixels: int, bytes_each: int) -> AbstractContextManager[None]:
    """Around decoding so many pixels: waits until the budget has room for them."""
    need = pixels * bytes_each
    return _NO_WAIT if need < SMALL else _taken(need)


@contextmanager
def _taken(need: int) -> Iterator[None]:
    _USE.enter(need)
    try:
        yield
    finally:
        _USE.leave(need)


def kept(rgb: Pixels) -> Pixels:
    """Pixels that were decoded, counted as long as anybody has them or a view of them."""
    if (need := KEPT * rgb.shape[0] * rgb.shape[1]) >= SMALL:
        _USE.keep(rgb, need)
    return rgb


@contextmanager
def one_image() -> Iterator[None]:
    """Around all that is done with one image: where memory runs out, it is that image's failure.

    Raises:
        ImageError: memory ran out (`out_of_memory`).
    """
    try:
        yield
    except MemoryError as error:
        raise ImageError("out_of_memory", NO_MEMORY) from error


@cache
def _quarter() -> int:
    return usable_memory() // 4


@cache
def _trim() -> Callable[[int], int] | None:
    """The C library's way to give memory back, where it has one (glibc)."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


class _Use:
    """What decoding takes now, in all threads of this process.

    Attributes:
        active: bytes of images that are being decoded.
        held: bytes for pixels that were decoded and are still in use, by the thread that decoded them.
    """

    def __init__(self) -> None:
        self.active = 0
        self.held: Counter[int] = Counter()
        self._lock = ForkLock()
        self._let_go: deque[tuple[int, int]] = deque()  # filled wherever garbage is collected, so without a lock

    def enter(self, need: int) -> None:
        most, end = budget(), time.monotonic() + _PATIENCE
        while not self._entered(need, most, time.monotonic() >= end):
            time.sleep(_STEP)

    def leave(self, need: int) -> None:
        if need >= _LARGE and (trim := _trim()) is not None:
            trim(0)
        with self._lock:
            self.active -= need

    def keep(self, rgb: Pixels, need: int) -> None:
        mine = threading.get_ident()
        with self._lock:
            self.held[mine] += need
        weakref.finalize(rgb, self._let_go.append, (mine, need)).atexit = False

    def forget(self) -> None:
        """Begin anew: in a forked process, of which only one thread is left."""
        self.active = 0
        self.held.clear()
        self._let_go.clear()

    def _entered(self, need: int, most: int, patient: bool) -> bool:
        with self._lock:
            while self._let_go:
                thread, count = self._let_go.popleft()
                self.held[thread] = max(0, self.held[thread] - count)
            fits = self.active + self.held.total() + need <= most
            waits = bool(self.active) or not (patient or self.held[threading.get_ident()] or not self.held.total())
            if fits or not waits:
                self.active += need
            return fits or not waits


_USE = _Use()
_NO_WAIT = nullcontext()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_USE.forget)
