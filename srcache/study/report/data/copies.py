"""Copies of images small enough for one page, within a budget of bytes.

The copies are as good as the budget allows: first the pixels as they are (PNG), then WebP of falling size and quality.
One step of `REDUCTIONS` serves all images of a page, so that images differ by their pixels alone. A sample says which
will do; should all images together not fit, the next one is taken.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from srcache.errors import ImageError
from srcache.files.regular import read_regular
from srcache.images import Pixels, decode, encode, one_image, resize, suffix_of

BUDGET = 8_000_000
"""Bytes of all images of a page before they are written as text, which makes them a third larger."""

MOST = 500
"""Images of a study that a page shows."""

_SAMPLE = 24
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Reduction:
    """The longest side that a copy may have, and its codec."""

    side: int
    codec: str

    @property
    def exact(self) -> bool:
        """Whether an image that is small enough keeps its pixels."""
        return self.codec == "png"

    def describe(self) -> str:
        """What was done to the images, for the reader."""
        if self.exact:
            return f"copies without loss; those longer than {self.side} pixels were shrunk to that"
        kind, _, quality = self.codec.partition(":")
        name = {"webp": "WebP", "jpeg": "JPEG"}[kind]
        return f"{name} copies of quality {quality}, at most {self.side} pixels long"


REDUCTIONS = (
    Reduction(512, "png"),
    Reduction(512, "webp:90"),
    Reduction(448, "webp:85"),
    Reduction(384, "webp:82"),
    Reduction(320, "webp:80"),
    Reduction(256, "webp:78"),
    Reduction(208, "webp:74"),
    Reduction(160, "webp:70"),
    Reduction(128, "webp:64"),
    Reduction(96, "webp:55"),
    Reduction(64, "webp:45"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An image on the page: its bytes, their MIME type, and the original's width and height in pixels."""

    data: bytes
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCopies:
    """The copies by file, the reduction they were made with, and what could not be read, with the reason."""

    by_file: Mapping[Path, Copy]
    reduction: Reduction
    unreadable: Mapping[Path, str]

    @property
    def bytes(self) -> int:
        """The size of all copies."""
        return sum(len(copy.data) for copy in self.by_file.values())


def copy_images(files: Sequence[Path], budget: int = BUDGET) -> ImageCopies:
    """Copy images, as well as `budget` bytes allow; the last reduction is taken even if it exceeds them."""
    wanted = list(dict.fromkeys(files))
    first = _first_reduction(wanted, budget)
    for reduction in REDUCTIONS[first:-1]:
        copies = _copy_all(wanted, reduction, budget)
        if copies is not None:
            return copies
    return _copy_all(wanted, REDUCTIONS[-1], None) or ImageCopies(by_file={}, reduction=REDUCTIONS[-1], unreadable={})


def copy_image(rgb: Pixels, reduction: Reduction) -> Copy:
    """One image's copy: shrunk to the reduction's side where it is longer (Lanczos), never enlarged."""
    height, width = rgb.shape[:2]
    longest = max(height, width)
    if longest > reduction.side:
        size = max(1, round(height * reduction.side / longest)), max(1, round(width * reduction.side / longest))
        rgb = resize(rgb, size, "lanczos")
    data = encode(rgb, reduction.codec)
    return Copy(data=data, mime=_MIME[suffix_of(data)], width=width, height=height)


def spread(items: Sequence[Path], most: int) -> list[Path]:
    """At most so many of many things, evenly spread over them."""
    if len(items) <= most:
        return list(items)
    return [items[at * len(items) // most] for at in range(most)]


def _first_reduction(files: Sequence[Path], budget: int) -> int:
    """The first reduction that a sample of the images says will do."""
    sample = [rgb for path in spread(files, _SAMPLE) if not isinstance(rgb := _read(path), str)]
    if not sample:
        return 0
    for at, reduction in enumerate(REDUCTIONS):
        mean = sum(len(copy_image(rgb, reduction).data) for rgb in sample) / len(sample)
        if mean * len(files) <= budget:
            return at
    return len(REDUCTIONS) - 1


def _copy_all(files: Sequence[Path], reduction: Reduction, budget: int | None) -> ImageCopies | None:
    """All images on one reduction; None as soon as they exceed the budget."""
    copies: dict[Path, Copy] = {}
    unreadable: dict[Path, str] = {}
    total = 0
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="srcache-report") as pool:
        for path, made in zip(files, pool.map(lambda path: _copy_of(path, reduction), files), strict=True):
            if isinstance(made, str):
                unreadable[path] = made
                continue
            copies[path] = made
            total += len(made.data)
            if budget is not None and total > budget:
                pool.shutdown(cancel_futures=True)
                return None
    return ImageCopies(by_file=copies, reduction=reduction, unreadable=unreadable)


def _copy_of(path: Path, reduction: Reduction) -> Copy | str:
    try:
        with one_image():
            rgb = _read(path)
            return rgb if isinstance(rgb, str) else copy_image(rgb, reduction)
    except ImageError as error:
        return error.reason


def _read(path: Path) -> Pixels | str:
    """An image, or the reason why there is none."""
    try:
        return decode(read_regular(path))
    except ImageError as error:
        return error.reason
    except OSError as error:
        return error.strerror or "unreadable"
