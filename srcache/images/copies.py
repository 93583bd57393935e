"""Copies of images small enough for one page, within a budget of bytes.

The copies are as good as the budget allows: first the pixels as they are (PNG), then WebP of falling size and quality.
One step of `REDUCTIONS` serves all images of a page, so that images differ by their pixels alone. A sample says which
will do; should all images together not fit, the next one is taken.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from srcache.errors import ImageError
from srcache.images.encoding import encode, suffix_of
from srcache.images.pixels import Pixels, resize
from srcache.images.room import one_image
from srcache.machine import cores

BUDGET = 8_000_000
"""Bytes of all images of a page before they are written as text, which makes them a third larger."""

_Item = TypeVar("_Item", bound=Hashable)

Read = Callable[[_Item], Pixels | str]
"""Gives an image, or the reason why there is none."""

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
class Copies(Generic[_Item]):
    """The copies by what they are of, the reduction they were made with, and why others could not be read."""

    made: Mapping[_Item, Copy]
    reduction: Reduction
    unreadable: Mapping[_Item, str]


def copies_within(items: Sequence[_Item], read: "Read[_Item]", budget: int = BUDGET) -> Copies[_Item]:
    """Copy images, as well as `budget` bytes allow; the last reduction is taken even if it exceeds them.

    Args:
        items: what stands for the images.
        read: gives one's image, or the reason why there is none; called in threads, and more than once for some.
        budget: bytes of all copies.
    """
    wanted = list(dict.fromkeys(items))
    first = _first_reduction(wanted, read, budget)
    for reduction in REDUCTIONS[first:-1]:
        copies = _copy_all(wanted, read, reduction, budget)
        if copies is not None:
            return copies
    last = REDUCTIONS[-1]
    return _copy_all(wanted, read, last, None) or Copies(made={}, reduction=last, unreadable={})


def copy_image(rgb: Pixels, reduction: Reduction) -> Copy:
    """One image's copy: shrunk to the reduction's side where it is longer (Lanczos), never enlarged."""
    height, width = rgb.shape[:2]
    longest = max(height, width)
    if longest > reduction.side:
        size = max(1, round(height * reduction.side / longest)), max(1, round(width * reduction.side / longest))
        rgb = resize(rgb, size, "lanczos")
    data = encode(rgb, reduction.codec)
    return Copy(data=data, mime=_MIME[suffix_of(data)], width=width, height=height)


def spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of many things, evenly spread over them."""
    if len(items) <= most:
        return list(items)
    return [items[at * len(items) // most] for at in range(most)]


def _first_reduction(items: Sequence[_Item], read: "Read[_Item]", budget: int) -> int:
    """The first reduction that a sample of the images says will do."""
    sample = [rgb for item in spread(items, _SAMPLE) if not isinstance(rgb := _image_of(item, read), str)]
    if not sample:
        return 0
    for at, reduction in enumerate(REDUCTIONS):
        mean = sum(len(copy_image(rgb, reduction).data) for rgb in sample) / len(sample)
        if mean * len(items) <= budget:
            return at
    return len(REDUCTIONS) - 1


def _copy_all(
    items: Sequence[_Item], read: "Read[_Item]", reduction: Reduction, budget: int | None
) -> Copies[_Item] | None:
    """All images on one reduction; None as soon as they exceed the budget."""
    made: dict[_Item, Copy] = {}
    unreadable: dict[_Item, str] = {}
    total = 0
    with ThreadPoolExecutor(cores(), thread_name_prefix="srcache-copies") as pool:
        copies = pool.map(lambda item: _copy_of(item, read, reduction), items)
        for item, copy in zip(items, copies, strict=True):
            if isinstance(copy, str):
                unreadable[item] = copy
                continue
            made[item] = copy
            total += len(copy.data)
            if budget is not None and total > budget:
                pool.shutdown(cancel_futures=True)
                return None
    return Copies(made=made, reduction=reduction, unreadable=unreadable)


def _copy_of(item: _Item, read: "Read[_Item]", reduction: Reduction) -> Copy | str:
    try:
        with one_image():
            rgb = _image_of(item, read)
            return rgb if isinstance(rgb, str) else copy_image(rgb, reduction)
    except ImageError as error:
        return error.reason


def _image_of(item: _Item, read: "Read[_Item]") -> Pixels | str:
    try:
        return read(item)
    except ImageError as error:
        return error.reason
