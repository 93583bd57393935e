"""What a data set hands to those who make SR images that a cache lacks, and what it gets back from them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from srcache.images import Decoded


class Missing(NamedTuple):
    """An SR image that is wanted: its entry's name, what to call its source in a message, and the source itself.

    `data` gives the bytes of the source's file, or None for an image that exists only in memory; `decoded` the image.
    Both are called once at most, and raise ImageError.
    """

    name: str
    title: str
    data: Callable[[], bytes | None]
    decoded: Callable[[], Decoded]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of the images that were missing.

    Attributes:
        added: how many are new; others may have stored some in the meantime.
        failed: which could not be made, with the reason.
        given: images by the name that they were wanted under, for a caller who does not find them in the cache.
    """

    added: int
    failed: list[str]
    given: Mapping[str, bytes] = field(default_factory=dict)


class Filler(Protocol):
    """Makes missing SR images. Picklable, and safe in threads and under fork.

    Attributes:
        counted: what its images are counted as; see `counters.COUNTED`.
    """

    counted: str

    def make(self, wanted: Iterable[Missing]) -> Made:
        """Make images, and store them where that can be; `wanted` is read one by one."""
        ...
