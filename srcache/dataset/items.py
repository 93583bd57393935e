"""A training set's items, whatever they come from: key, label, LR pixels and HR pixels of each.

Without a degradation in the recipe the base holds LR images, and HR images (if any) are found by relative name without
suffix. With one the base holds HR images, and LR is derived by the same function as in `fill`. Keys come from the
catalog, so nothing is hashed while training; only images that exist nowhere but in memory are hashed when they are
first needed.

Keys, names and paths are packed into a few buffers. A million strings would be copied, page by page, into every forked
worker as their reference counts are touched, and would take seconds to send to a spawned one.
"""

import os
import warnings
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from srcache.catalog.listing import LOOP
from srcache.catalog.pairing import hr_paths
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import from_dataset, scan
from srcache.catalog.sources import NO_LABEL as NO_LABEL
from srcache.catalog.sources import Source, open_source, require_profiles
from srcache.errors import CatalogError, ImageError, PolicyError, listed
from srcache.images import AS_EVER, Colors, Decoded, Pixels, decode_both, decode_into, read_file
from srcache.keys import ImageKey, image_key, pixel_key
from srcache.recipe.degradation import Degradation

_ADVICE = "repair or remove them, or pass a Catalog (srcache.scan), which leaves them out"
_KEY_BYTES = 16
_UNKNOWN = bytes(_KEY_BYTES)


class Items:
    """The items of a base, by number: key, name, label, and the pixels in low and in high resolution.

    Opened by `open_items`; picklable, and safe to fork. A million items are a few buffers, not a million objects.

    Args:
        source: gives labels and images.
        catalog: keys and names; None for images that exist only in memory, whose keys are made when they are needed.
        hr: of each item its HR file; None if the base itself is HR, or there are none.
        degradation: makes LR of the base; None if the base is LR.
        colors: how colours become RGB.

    Attributes:
        transform: the base's own transform, which was taken off it; None if it has none.
        classes: the names of the labels 0, 1, …; None if the base has none.
        left_out: what could not be catalogued, and is no item.
        dropped: what the base would do to its items and cannot be done here, in words; empty if there is nothing.
    """

    def __init__(
        self,
        source: "Source | _CatalogFiles",
        catalog: Catalog | None,
        hr: "Sequence[Path] | None",
        degradation: Degradation | None,
        colors: Colors = AS_EVER,
    ) -> None:
        rows = catalog.rows if catalog else ()
        self.transform: Callable[[Any], Any] | None = source.transform
        self.classes = source.classes()
        self.left_out = catalog.problems if catalog else ()
        self.dropped: str = getattr(source, "dropped", "")
        self._source, self._degradation, self._colors = source, degradation, colors
        self._unlabelled = bool(getattr(source, "unlabelled", False))
        self._names = _PackedTexts(row.name for row in rows) if catalog else None
        self._keys = bytearray.fromhex("".join(row.key for row in rows)) or bytearray(_KEY_BYTES * len(source))
        self._hr = _PackedTexts(map(str, hr)) if hr is not None else None

    def __len__(self) -> int:
        return len(self._keys) // _KEY_BYTES

    def key(self, index: int) -> ImageKey:
        """The key of an item; of an image in memory, the key of its pixels.

        Raises:
            ImageError: an image in memory cannot be read.
        """
        place = slice(_KEY_BYTES * index, _KEY_BYTES * (index + 1))
        if self._keys[place] == _UNKNOWN:
            data = self._source.data(index)
            known = image_key(data) if data is not None else pixel_key(self.decoded(index).keyed)
            self._keys[place] = bytes.fromhex(known)
        return ImageKey(self._keys[place].hex())

    def alias(self, index: int) -> ImageKey | None:
        """The key that also says which pixels the recipe makes of an image in memory, where it has colours of its own.

        Raises:
            ImageError: the image cannot be read.
        """
        if self._colors == AS_EVER or self.are_files or self._source.data(index) is not None:
            return None
        return self.decoded(index).alias()

    def name(self, index: int) -> str:
        """What to call an item in a message."""
        return self._names[index] if self._names is not None else f"item {index}"

    @property
    def are_files(self) -> bool:
        """Whether the items are files, which the command line can read too; else they exist only in memory."""
        return self._names is not None

    def label(self, index: int) -> Any:
        """The label as the base gives it: a class's number for a folder, -1 where there are none."""
        return NO_LABEL if self._unlabelled else self._source.label(index)

    def decoded(self, index: int) -> Decoded:
        """The base's image: HR if the recipe degrades, else LR.

        Raises:
            ImageError: it cannot be used; the message names it.
        """
        try:
            return self._source.load(index, self._colors)
        except ImageError as error:
            raise ImageError(error.reason, f"{self.name(index)}: {error}") from error

    def data(self, index: int) -> bytes | None:
        """The bytes of an item's file; None for an image that exists only in memory.

        Raises:
            ImageError: they cannot be read; the message names the item.
        """
        try:
            return self._source.data(index)
        except ImageError as error:
            raise ImageError(error.reason, f"{self.name(index)}: {error}") from error

    def lr(self, index: int, out: Pixels | None = None) -> Pixels:
        """The LR image of an item, in `out` if it has that shape; raises ImageError as `decoded`."""
        if self._degradation is None:
            return self._base(index, out)
        return self._degradation.apply(self._base(index))

    def hr(self, index: int, out: Pixels | None = None) -> Pixels:
        """The HR image of an item, in `out` if it has that shape; raises ImageError as `decoded`."""
        if self._hr is None:
            self.require_hr()
            return self._base(index, out)
        path = Path(self._hr[index])
        try:
            return decode_into(read_file(path), out, self._colors)
        except ImageError as error:
            raise ImageError(error.reason, f"{path}: {error}") from error

    def _base(self, index: int, out: Pixels | None = None) -> Pixels:
        try:
            data = self._source.data(index)
            if data is not None:
                return decode_into(data, out, self._colors)
            return _shared(self._source.load(index, self._colors).rgb)
        except ImageError as error:
            raise ImageError(error.reason, f"{self.name(index)}: {error}") from error

    def require_hr(self) -> None:
        """Refuse now, rather than in the middle of an epoch, if there are no HR images.

        Raises:
            PolicyError: there are none.
        """
        if self._degradation is None and self._hr is None:
            raise PolicyError("HR was asked for, but the base holds LR images; give the HR folder as hr=")


def _shared(pixels: Pixels) -> Pixels:
    """The same pixels, but not to be written to: the array may be the data set's own."""
    view = pixels.view()
    view.flags.writeable = False
    return view


def open_items(
    base: Any,
    hr: Any,
    degradation: Degradation | None,
    classes: Sequence[str] | None = None,
    colors: Colors = AS_EVER,
) -> Items:
    """Look into a base: a folder, a CSV file, a Catalog, or a map-style data set; and pair HR images with it.

    Args:
        classes: names of classes in the order of their numbers, instead of those that the base has.
        colors: how the colours of base and HR become RGB.

    Raises:
        CatalogError: the base cannot be used, has files that cannot be read, or HR images are missing.
    """
    if hr is not None and degradation is not None:
        raise CatalogError("the recipe makes LR from the base, which therefore is HR; leave hr= out")
    if isinstance(base, Catalog):
        catalog = base
    elif isinstance(base, str | Path):
        catalog = require_complete(scan(base), _ADVICE)
        if catalog.unclassed and classes is None and not any(row.label for row in catalog.rows):
            warnings.warn(catalog.unclassed, stacklevel=3)
    else:
        if classes is not None:
            raise CatalogError(
                "classes= names the classes of a folder, a CSV file or a Catalog; a data set numbers its own"
            )
        source = open_source(base)
        if len(source) == 0:
            raise CatalogError("expected a data set with images, but got an empty one")
        if source.path(0) is None:
            if hr is not None:
                raise CatalogError("hr= pairs by file name, but the base's images have none; use a folder as base")
            require_profiles(source, colors)
            return Items(source, None, None, degradation, colors)
        catalog = require_complete(from_dataset(base), _ADVICE)
    catalog = catalog if classes is None else catalog.with_classes(classes)
    hr_files = hr_paths([row.name for row in catalog.rows], hr) if hr is not None else None
    require_profiles(catalog.source, colors)
    return Items(catalog.source or _CatalogFiles(catalog), catalog, hr_files, degradation, colors)


def require_complete(catalog: Catalog, advice: str = "repair or remove them") -> Catalog:
    """The same catalog, if nothing was left out of it: a training set never shrinks in silence.

    Raises:
        CatalogError: images cannot be used; `advice` says what to do about them.
    """
    lost = [problem for problem in catalog.problems if problem.reason != LOOP]
    if lost:
        names = listed([f"{problem.name} ({problem.reason})" for problem in lost])
        raise CatalogError(f"{len(lost)} images of the base cannot be used: {names}; {advice}")
    return catalog


class _PackedTexts:
    """Many texts in two buffers, so that workers share them, and none is an object of its own."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [os.fsencode(text) for text in texts]
        self._joined = b"".join(encoded)
        self._ends = array("q", accumulate(map(len, encoded), initial=0))

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self._joined[self._ends[index] : self._ends[index + 1]])


class _CatalogFiles:
    """A catalog's files as a source: labels are numbers of classes."""

    transform = None

    def __init__(self, catalog: Catalog) -> None:
        if catalog.unclassed and any(row.label for row in catalog.rows):
            raise CatalogError(catalog.unclassed)
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(catalog.classes)}
        numbers[None] = NO_LABEL
        unknown = sorted({row.label for row in catalog.rows if row.label} - set(catalog.classes))
        if unknown:
            raise CatalogError(
                f"the catalog's classes are {listed(catalog.classes)}, but it has labels {listed(unknown)}"
            )
        self._classes = catalog.classes or None
        self._paths = _PackedTexts(str(row.path or "") for row in catalog.rows)
        self._labels = array("q", (numbers[row.label] for row in catalog.rows))

    def __len__(self) -> int:
        return len(self._labels)

    def classes(self) -> tuple[str, ...] | None:
        return self._classes

    def label(self, index: int) -> int:
        return self._labels[index]

    def data(self, index: int) -> bytes:
        if not self._paths[index]:
            raise ImageError("unreadable", "it has no file in this catalog")
        return read_file(Path(self._paths[index]))

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        return decode_both(self.data(index), colors)
