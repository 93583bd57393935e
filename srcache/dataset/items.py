"""A training set's items, whatever they come from: key, label, LR pixels and HR pixels of each.

Without a degradation in the recipe the base holds LR images, and HR images (if any) are found by relative name without
suffix. With one the base holds HR images, and LR is derived by the same function as in `fill`. Keys come from the
catalog, so nothing is hashed while training; only pictures that exist nowhere but in memory are hashed when they are
first needed.

Keys, names and paths are packed into a few buffers. A million strings would be copied, page by page, into every forked
worker as their reference counts are touched, and would take seconds to send to a spawned one.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from srcache.catalog.listing import list_csv, list_folder
from srcache.catalog.names import stem_of
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import from_dataset, open_catalog, scan
from srcache.catalog.sources import Source, open_source
from srcache.errors import CatalogError, ImageError, PolicyError, listed
from srcache.images import Decoded, Pixels, decode, decode_both, read_file
from srcache.keys import ImageKey, image_key, pixel_key
from srcache.recipe.degradation import Degradation

NO_LABEL = -1
"""The label of an image in a folder without class folders."""

_KEY_BYTES = 16
_UNKNOWN = bytes(_KEY_BYTES)


class Items:
    """See this module's docstring. Opened by `open_items`; picklable, and safe to fork."""

    def __init__(
        self,
        source: "Source | _Files",
        catalog: Catalog | None,
        hr: "Sequence[Path] | None",
        degradation: Degradation | None,
    ) -> None:
        rows = catalog.rows if catalog else ()
        self.transform: Callable[[Any], Any] | None = source.transform
        self.classes = source.classes()
        self._source, self._degradation = source, degradation
        self._names = _Texts(row.name for row in rows) if catalog else None
        self._keys = bytearray.fromhex("".join(row.key for row in rows)) or bytearray(_KEY_BYTES * len(source))
        self._hr = _Texts(map(str, hr)) if hr is not None else None

    def __len__(self) -> int:
        return len(self._keys) // _KEY_BYTES

    def key(self, index: int) -> ImageKey:
        """The key of an item; of a picture in memory, the key of its pixels.

        Raises:
            ImageError: a picture in memory cannot be read.
        """
        place = slice(_KEY_BYTES * index, _KEY_BYTES * (index + 1))
        if self._keys[place] == _UNKNOWN:
            data = self._source.data(index)
            known = image_key(data) if data is not None else pixel_key(self.decoded(index).rgb)
            self._keys[place] = bytes.fromhex(known)
        return ImageKey(self._keys[place].hex())

    def name(self, index: int) -> str:
        """What to call an item in a message."""
        return self._names[index] if self._names is not None else f"item {index}"

    def label(self, index: int) -> Any:
        """The label as the base gives it: a class's number for a folder, -1 where there are none."""
        return self._source.label(index)

    def decoded(self, index: int) -> Decoded:
        """The base's picture: HR if the recipe degrades, else LR.

        Raises:
            ImageError: it cannot be used; the message names it.
        """
        try:
            return self._source.load(index)
        except ImageError as error:
            raise ImageError(error.reason, f"{self.name(index)}: {error}") from error

    def lr(self, index: int) -> Pixels:
        """The LR picture of an item; raises ImageError as `decoded`."""
        pixels = self.decoded(index).rgb
        return self._degradation.apply(pixels) if self._degradation else pixels

    def hr(self, index: int) -> Pixels:
        """The HR picture of an item; raises ImageError as `decoded`."""
        if self._hr is None:
            self.require_hr()
            return self.decoded(index).rgb
        path = Path(self._hr[index])
        try:
            return decode(read_file(path))
        except ImageError as error:
            raise ImageError(error.reason, f"{path}: {error}") from error

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
        CatalogError: the base cannot be used, has files that cannot be read, or HR images are missing.
    """
    if hr is not None and degradation is not None:
        raise CatalogError("the recipe makes LR from the base, which therefore is HR; leave hr= out")
    if isinstance(base, Catalog):
        catalog = base
    elif isinstance(base, str | Path):
        catalog = _whole(scan(base))
    else:
        source = open_source(base)
        if len(source) == 0:
            raise CatalogError("expected a data set with images, but got an empty one")
        if source.path(0) is None:
            if hr is not None:
                raise CatalogError("hr= pairs by file name, but the base's pictures have none; use a folder as base")
            return Items(source, None, None, degradation)
        catalog = _whole(from_dataset(base))
    pairs = _paired([row.name for row in catalog.rows], hr) if hr is not None else None
    return Items(catalog.source or _Files(catalog), catalog, pairs, degradation)


class _Texts:
    """Many texts in two buffers: see this module's docstring."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [os.fsencode(text) for text in texts]
        self._joined = b"".join(encoded)
        self._ends = array("q", accumulate(map(len, encoded), initial=0))

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self._joined[self._ends[index] : self._ends[index + 1]])


class _Files:
    """A catalog's files as a source: labels are numbers of classes."""

    transform = None

    def __init__(self, catalog: Catalog) -> None:
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(catalog.classes)}
        numbers[None] = NO_LABEL
        unknown = sorted({row.label for row in catalog.rows if row.label} - set(catalog.classes))
        if unknown:
            raise CatalogError(
                f"the catalog's classes are {listed(catalog.classes)}, but it has labels {listed(unknown)}"
            )
        self._classes = catalog.classes or None
        self._paths = _Texts(str(row.path or "") for row in catalog.rows)
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

    def load(self, index: int) -> Decoded:
        return decode_both(self.data(index))


def _whole(catalog: Catalog) -> Catalog:
    """A catalog from which nothing was left out: a training set never shrinks in silence."""
    if catalog.problems:
        names = listed([f"{problem.name} ({problem.reason})" for problem in catalog.problems])
        raise CatalogError(
            f"{len(catalog.problems)} images of the base cannot be used: {names}; mend or remove them, "
            "or pass a Catalog (srcache.scan), which leaves them out"
        )
    return catalog


def _paired(names: Sequence[str], hr: Any) -> list[Path]:
    """For each name the HR file of the same relative name without suffix. Nothing is hashed here."""
    places: dict[str, list[tuple[str, Path]]] = {}
    for name, path in _files_in(hr):
        places.setdefault(stem_of(name), []).append((name, path))
    found = [places.get(stem_of(name), []) for name in names]
    missing = [name for name, fits in zip(names, found, strict=True) if not fits]
    if missing:
        raise CatalogError(
            f"{len(missing)} of {len(names)} images have no HR image of the same name (without suffix): "
            f"{listed(missing)}"
        )
    twice = [" and ".join(name for name, _ in fits) for fits in found if len(fits) > 1]
    if twice:
        raise CatalogError(f"{len(twice)} names stand for more than one HR image: {listed(twice)}; leave one of each")
    return [fits[0][1] for fits in found]


def _files_in(hr: Any) -> list[tuple[str, Path]]:
    """(relative name, path) of the images that `hr=` stands for: a folder, a CSV file, a Catalog, or a data set."""
    if isinstance(hr, str | Path) and Path(hr).is_dir():
        return [(file.name, file.path) for file in list_folder(Path(os.path.abspath(hr))).files]
    if isinstance(hr, str | Path) and Path(hr).is_file() and Path(hr).suffix.lower() == ".csv":
        return [(file.name, file.path) for file in list_csv(Path(os.path.abspath(hr))).files]
    rows = open_catalog(hr).rows
    paths = [(row.name, row.path) for row in rows if row.path is not None]
    if len(paths) < len(rows):
        raise CatalogError("hr= pairs by file name, but its pictures have none; give a folder")
    return paths
