"""Parts of a catalog: which of several jobs an image belongs to, by its key alone.

Keys are hashes, so that parts are about equally large, and the same key is in the same part in whatever catalog it is:
jobs agree without talking to each other, and nothing is made twice.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from srcache.catalog.rows import Catalog
from srcache.catalog.sources import subset
from srcache.errors import ConfigError
from srcache.keys import ImageKey

_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One of `count` disjoint parts of all images; `index` counts from 0.

    Raises:
        ConfigError: there is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            known = f"0/{self.count} to {self.count - 1}/{self.count}" if self.count > 0 else "at least 0/1"
            raise ConfigError(f"parts are counted from 0: expected {known}, but got {self}")

    @classmethod
    def parse(cls, text: str) -> "Part":
        """`i/N` → a part.

        Raises:
            ConfigError: the text says something else, or there is no such part.
        """
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
        if not found:
            raise ConfigError(f"expected a part i/N, such as 0/8 for the first of eight, but got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, key: ImageKey) -> bool:
        """Whether an image belongs to this part."""
        return _place(key, self.count) == self.index

    def split(self, count: int) -> "list[Part]":
        """Disjoint parts that make up this one."""
        return [Part(self.index + self.count * place, self.count * count) for place in range(count)]

    def of(self, catalog: Catalog) -> Catalog:
        """The images of a catalog that belong to this part; the classes and problems stay those of the whole."""
        if self.count == 1:
            return catalog
        places = [place for place, row in enumerate(catalog.rows) if self.holds(row.key)]
        source = subset(catalog.source, places) if catalog.source else None
        return replace(catalog, rows=tuple(catalog.rows[place] for place in places), source=source)


def parts_of(keys: Iterable[ImageKey], count: int) -> list[int]:
    """The indices of the parts, of so many, that these keys belong to."""
    return sorted({_place(key, count) for key in keys})


def _place(key: ImageKey, count: int) -> int:
    return int(key[:_DIGITS], 16) % count
