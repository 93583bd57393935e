"""A catalog as a value: images in order, each with its key, name and label, and how to load them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from srcache.catalog.listing import PassedOver, Problem
from srcache.catalog.sources import Source, relabelled
from srcache.errors import CatalogError, ImageError, listed
from srcache.files import csv_text
from srcache.images import AS_EVER, Colors, Decoded, decode_both, read_file
from srcache.keys import ImageKey, image_key, pixel_key


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a catalog.

    Attributes:
        key: the name of its bytes, or of its pixels if there is no file.
        name: its path below the root, with `/` and with suffix; a number for an item of a data set without files.
        label: the name of its class, if there are classes.
        path: its file, if there is one.
    """

    key: ImageKey
    name: str
    label: str | None
    path: Path | None


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Images in order, with their keys, names and labels.

    Attributes:
        rows: the images.
        classes: the labels' names in the order of their numbers, also of such that no image has; empty if there are no
            labels, or if they cannot be classes.
        root: the folder that names are relative to, if there is one.
        problems: what was left out, and why. A catalog of a data set without problems has a row per item.
        passed_over: files that were skipped because they are no images.
        source: where rows without a file come from.
        unclassed: a sentence that says why there are no classes, where some could be meant.
    """

    rows: tuple[Row, ...]
    classes: tuple[str, ...] = ()
    root: Path | None = None
    problems: tuple[Problem, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    source: Source | None = field(default=None, repr=False, compare=False)
    unclassed: str = field(default="", repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ignored(self) -> int:
        """How many files were skipped because they are no images."""
        return sum(one.files for one in self.passed_over)

    def load(self, index: int, check: bool = False, colors: Colors = AS_EVER) -> Decoded:
        """The image of a row.

        Args:
            index: the row's place.
            check: compare what was read with the row's key, which takes the time to hash it.
            colors: how its colours become RGB.

        Raises:
            ImageError: it cannot be read (`unreadable`) or decoded, or, if checked, is not what was catalogued
                (`changed`).
        """
        row = self.rows[index]
        data = self.data(index)
        if data is not None:
            _require_key(row, image_key(data) if check else row.key)
            return decode_both(data, colors)
        if self.source is None:
            raise ImageError("unreadable", f"{row.name} has no file in this catalog")
        decoded = self.source.load(index, colors)
        _require_key(row, pixel_key(decoded.keyed) if check else row.key)
        return decoded

    def with_classes(self, names: Sequence[str]) -> "Catalog":
        """The same images, with these classes: of a training set, say, where this one lacks some of them.

        Raises:
            CatalogError: an image has none of them for its label, or one is named twice.
        """
        unknown = sorted({row.label or "no label" for row in self.rows} - set(names))
        if unknown or len(set(names)) < len(names) or isinstance(names, str):
            raise CatalogError(
                f"expected different names of classes, one for every label, but got {names!r}"
                f"{f', which lack {listed(unknown)}' if unknown else ''}"
            )
        numbers = {name: number for number, name in enumerate(names)}
        labels = [numbers[row.label] for row in self.rows if row.label is not None]
        source = relabelled(self.source, labels, tuple(names)) if self.source else None
        return replace(self, classes=tuple(names), unclassed="", source=source)

    def data(self, index: int) -> bytes | None:
        """The bytes of a row's file; None for an image that exists only in memory.

        Raises:
            ImageError: they cannot be read (`unreadable`).
        """
        path = self.rows[index].path
        if path is not None:
            return read_file(path)
        return self.source.data(index) if self.source else None

    def to_csv(self) -> str:
        """What a cache keeps: `key,name,label` per row, LF line ends, no label as an empty cell."""
        return csv_text([("key", "name", "label"), *((row.key, row.name, row.label) for row in self.rows)])

    @cached_property
    def digest(self) -> str:
        """BLAKE2b with 128 bits over `to_csv`, as 32 hexadecimal digits."""
        return blake2b(self.to_csv().encode(), digest_size=16).hexdigest()


def _require_key(row: Row, key: ImageKey) -> None:
    if key != row.key:
        raise ImageError("changed", f"{row.name} is not what was catalogued (its key was {row.key}, now it is {key})")
