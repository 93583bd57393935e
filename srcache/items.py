"""A training set's items, whatever they come from: key, label, LR pixels and HR pixels of each.

Without a degradation in the recipe the base holds LR images, and HR images (if any) are found by relative name without
suffix. With one the base holds HR images, and LR is derived by the same function as in `fill`. Names come from the
catalog, so nothing is hashed while training; only pictures that exist nowhere but in memory are hashed when they are
first needed.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from srcache.catalog import Catalog, from_dataset, scan
from srcache.degrade import Degradation
from srcache.errors import CatalogError, PolicyError, listed
from srcache.images import Decoded, Pixels
from srcache.keys import ImageKey, image_key, pixel_key
from srcache.sources import Source, open_source

NO_LABEL = -1
"""The label of an image in a folder without class folders."""

Resolve = Callable[[str], str | None]


class Items:
    """See this module's docstring. Opened by `open_items`; picklable, and safe to fork."""

    def __init__(
        self, catalog: Catalog | None, source: Source | None, hr: Catalog | None, degradation: Degradation | None
    ) -> None:
        self.transform = source.transform if source else None
        self.classes = _classes(catalog, source)
        self._catalog, self._source, self._degradation = catalog, source, degradation
        self._numbers = {name: number for number, name in enumerate(self.classes or ())}
        self._keys: list[ImageKey | None] = [row.key for row in catalog.rows] if catalog else [None] * len(source or ())
        self._hr = hr
        self._hr_rows = _paired(catalog, hr) if hr is not None else None

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int, resolve: Resolve) -> ImageKey:
        """The key of an item; `resolve` turns the key of pixels in memory into that of the file they came from."""
        known = self._keys[index]
        if known is None:
            assert self._source is not None  # without a catalog there is a source: see `open_items`
            data = self._source.data(index)
            known = image_key(data) if data is not None else pixel_key(self._source.load(index).rgb)
            known = self._keys[index] = ImageKey(resolve(known) or known)
        return known

    def name(self, index: int) -> str:
        """What to call an item in a message."""
        return self._catalog.rows[index].name if self._catalog else f"item {index}"

    def label(self, index: int) -> Any:
        """The label as the base gives it: a class's number for a folder, -1 where there are none."""
        if self._source is not None:
            return self._source.label(index)
        assert self._catalog is not None
        label = self._catalog.rows[index].label
        return NO_LABEL if label is None else self._numbers[label]

    def decoded(self, index: int) -> Decoded:
        """The base's picture: HR if the recipe degrades, else LR.

        Raises:
            ImageError: it cannot be used.
        """
        if self._source is not None:
            return self._source.load(index)
        assert self._catalog is not None
        return self._catalog.load(index)

    def lr(self, index: int) -> Pixels:
        """The LR picture of an item; raises ImageError as `decoded`."""
        pixels = self.decoded(index).rgb
        return self._degradation.apply(pixels) if self._degradation else pixels

    def hr(self, index: int) -> Pixels:
        """The HR picture of an item; raises ImageError as `decoded`."""
        if self._degradation is not None:
            return self.decoded(index).rgb
        self.require_hr()
        assert self._hr is not None
        assert self._hr_rows is not None
        return self._hr.load(self._hr_rows[index]).rgb

    def require_hr(self) -> None:
        """Refuse now, rather than in the middle of an epoch, if there are no HR pictures.

        Raises:
            PolicyError: there are none.
        """
        if self._degradation is None and self._hr is None:
            raise PolicyError("HR was asked for, but the base holds LR images; give the HR folder as hr=")


def open_items(base: Any, hr: Any, degradation: Degradation | None) -> Items:
    """Look into a base: a folder, a CSV file, a Catalog, or a map-style data set; and pair HR images with it.

    Raises:
        CatalogError: the base cannot be used, has unreadable files, or HR images are missing.
    """
    if hr is not None and degradation is not None:
        raise CatalogError("the recipe makes LR from the base, which therefore is HR; leave hr= out")
    pairs = hr if hr is None or isinstance(hr, Catalog) else scan(hr)
    if isinstance(base, Catalog):
        return Items(base, base.source, pairs, degradation)
    if isinstance(base, str | Path):
        return Items(scan(base), None, pairs, degradation)
    source = open_source(base)
    if len(source) == 0:
        raise CatalogError("expected a data set with images, but got an empty one")
    if source.path(0) is None:
        if pairs is not None:
            raise CatalogError("hr= pairs by file name, but the base's pictures have none; use a folder as the base")
        return Items(None, source, None, degradation)
    catalog = from_dataset(base)
    if catalog.problems:
        names = listed([f"{problem.name} ({problem.reason})" for problem in catalog.problems])
        raise CatalogError(f"{len(catalog.problems)} items of the data set cannot be read: {names}")
    return Items(catalog, source, pairs, degradation)


def _classes(catalog: Catalog | None, source: Source | None) -> tuple[str, ...] | None:
    return source.classes() if source is not None else (catalog.classes or None if catalog else None)


def _paired(catalog: Catalog | None, hr: Catalog) -> list[int]:
    """For each row the HR row of the same relative name without suffix."""
    places = {_stem(row.name): index for index, row in enumerate(hr.rows)}
    rows = catalog.rows if catalog else ()
    missing = [row.name for row in rows if _stem(row.name) not in places]
    if missing:
        raise CatalogError(
            f"{len(missing)} of {len(rows)} images have no HR image of the same name (without suffix) in {hr.root}: "
            f"{listed(missing)}"
        )
    return [places[_stem(row.name)] for row in rows]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
