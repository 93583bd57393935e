"""Pillow's warnings and its own limit of pixels, set aside for the threads that read images here, and for them alone.

Pillow warns of odd metadata in images that it reads all the same. Python prints that into progress bars, or raises it
where warnings are errors, and then a good image seems damaged. `warnings.catch_warnings` is no help: it changes the
filters of the whole process, so two threads undo each other's work. And `Image.MAX_IMAGE_PIXELS` belongs to whoever
imported Pillow first; srcache has a limit of its own.

So the names through which Pillow's modules warn, log and check sizes are led here once. Called in a thread that is
`apart`, they collect what is said, and ask srcache's limit; in any other thread they do what they always did.
"""

import itertools
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from srcache.images.pixels import require_pixels

_NUMBER = re.compile(r"\d+")
_MOST_TEXTS = 100
"""Different texts that are counted; odd files could make up any number of them."""

_TALLY: dict[str, "itertools.count[int]"] = {}
"""Counters by text. One step of a counter, as of a dict, is not divided between threads, so they need no lock."""


class _Thread(threading.local):
    """What is collected in this thread; None while it is not apart."""

    texts: list[str] | None = None


_HERE = _Thread()


@contextmanager
def apart(counted: bool = True) -> Iterator[list[str]]:
    """Within it, warnings of Pillow's in this thread go into the list that it gives; at its end they are counted.

    Inside another one the list goes to that, which counts. An image that cannot be used has a reason of its own, so
    nothing is counted where an exception ends it.
    """
    lead_here()
    outside, texts = _HERE.texts, list[str]()
    _HERE.texts = texts
    try:
        yield texts
        if outside is not None:
            outside += texts
        elif counted:
            _count(texts)
    finally:
        _HERE.texts = outside


def told_of() -> dict[str, int]:
    """What Pillow said of images in this process so far, numbers left out, and of how many; it is forgotten then."""
    return {text: next(_TALLY.pop(text)) for text in list(_TALLY)}


def lead_here() -> None:
    """Lead the names of those of Pillow's modules here that were imported since the last call."""
    global _led
    if _led == len(Image.ID):
        return
    Image.preinit()
    from PIL import TiffImagePlugin as TiffImagePlugin  # every format's EXIF data is read by it, when it is asked for

    known = len(Image.ID)
    for name, module in list(sys.modules.items()):
        if name.startswith("PIL.") and vars(module).get("warnings") is warnings:
            vars(module)["warnings"] = _WARNINGS
        if name.startswith("PIL.") and name in logging.root.manager.loggerDict:
            logging.getLogger(name).addFilter(_FILTER)
    _led = known
    check = getattr(Image, "_decompression_bomb_check", None)
    if check is not None and not isinstance(check, _SizeCheck):
        vars(Image)["_decompression_bomb_check"] = _SizeCheck(check)


def _count(texts: list[str]) -> None:
    """Count what was said of one image, once each."""
    for text in {_NUMBER.sub("N", " ".join(text.split())) for text in texts}:
        if text in _TALLY or len(_TALLY) < _MOST_TEXTS:
            next(_TALLY.setdefault(text, itertools.count()))


class _Warnings:
    """Stands for the module `warnings` in Pillow's modules."""

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    def warn(self, message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **more: Any) -> None:
        """As `warnings.warn`, as seen from one frame further."""
        if _HERE.texts is None:
            warnings.warn(message, category, stacklevel + 1, source, **more)
        else:
            _HERE.texts.append(str(message))


class _Filter(logging.Filter):
    """Keeps what a thread that is apart logs as a warning or worse."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _HERE.texts is None or record.levelno < logging.WARNING:
            return True
        _HERE.texts.append(record.getMessage())
        return False


class _SizeCheck:
    """Stands for Pillow's check against decompression bombs."""

    def __init__(self, check: Any) -> None:
        self._check = check

    def __call__(self, size: tuple[int, int], **how: Any) -> None:
        if _HERE.texts is None:
            self._check(size, **how)
        else:
            require_pixels(max(1, size[0]), max(1, size[1]))


_WARNINGS, _FILTER = _Warnings(), _Filter()
_led = -1
