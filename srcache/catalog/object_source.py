"""Images below a URL: listed with the rules of a folder, named by the hash of their bytes, read one by one.

An object is hashed once: of one that the service gives the same version again, the key is remembered.
"""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from srcache.catalog.classes import classes_of_folders
from srcache.catalog.hashing import Hasher, Stamp
from srcache.catalog.listing import (
    CACHE_MARK,
    Listing,
    Problem,
    labelled,
    lacking_decoder,
    problem_summary,
    unreadable,
    why_unclassed,
)
from srcache.catalog.names import SUFFIXES
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.sources import NO_LABEL
from srcache.errors import CatalogError, ImageError
from srcache.files import user_folder
from srcache.files.objects import ObjectFolder, ObjectInfo, object_folder
from srcache.files.urls import checked_url, local_name
from srcache.images import AS_EVER, Colors, Decoded, decode_both
from srcache.keys import ImageKey, image_key
from srcache.progress import Progress


class ObjectSource:
    """Objects below a URL as a source of images; see `srcache.catalog.sources.Source`. Picklable, and safe under fork.

    Args:
        url: of the folder.
        names: of the images, relative to it.
        labels: of each, as a place in the class names; NO_LABEL without classes.
        class_names: None if there are no classes.

    Attributes:
        url: as given.
    """

    transform: Callable[[Any], Any] | None = None
    root: Path | None = None

    def __init__(
        self, url: str, names: Sequence[str], labels: Sequence[int], class_names: tuple[str, ...] | None
    ) -> None:
        self.url, self._names, self._labels, self._classes = url, names, labels, class_names

    def __len__(self) -> int:
        return len(self._names)

    def path(self, index: int) -> Path | None:
        """See `Source.path`: there is no file."""
        return None

    def data(self, index: int) -> bytes | None:
        """See `Source.data`.

        Raises:
            ImageError: the object is gone (`unreadable`).
            MachineError: the service does not answer, or refuses.
        """
        try:
            return object_folder(self.url).read(self._names[index])
        except FileNotFoundError as error:
            raise ImageError("unreadable", f"{self.url}/{self._names[index]} is gone") from error

    def label(self, index: int) -> Any:
        """See `Source.label`."""
        return self._labels[index]

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        """See `Source.load`."""
        return decode_both(self.data(index) or b"", colors)

    def classes(self) -> tuple[str, ...] | None:
        """See `Source.classes`."""
        return self._classes


def scan_objects(
    url: str,
    *,
    rehash: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
    memo: Path | None = None,
) -> Catalog:
    """Catalog the images below a URL; see `srcache.catalog.scanning.scan`, which takes URLs too.

    Raises:
        CatalogError: no image is there.
        MachineError: the service does not answer, or refuses.
    """
    url = checked_url(url)
    if url.lower().endswith(".csv"):
        raise CatalogError(f"a CSV file is read from this machine, but got {url}; copy it and the images it names")
    objects = object_folder(url)
    listing = objects.listing()
    found, names = _images_among(listing)
    hasher = Hasher(_Objects(objects, listing), memo or _memo_path(url), rehash, workers)
    ordered = labelled(names)
    keys = hasher.keys([(name, name) for name, _ in ordered], progress, complete=True)
    rows = list[Row]()
    for key, (name, label) in zip(keys, ordered, strict=True):
        if isinstance(key, OSError):
            found.problems.append(unreadable(name, key))
        else:
            rows.append(Row(key, name, label, None))
    if not rows:
        raise CatalogError(
            f"expected images (objects that end in {', '.join(sorted(SUFFIXES))}), but {url} has none; "
            f"{found.ignored} other objects lie there{problem_summary(found.problems)}"
        )
    classes, unclassed = _classes(listing, ordered), why_unclassed(names)
    numbers = {label: number for number, label in enumerate(classes)}
    labels = [NO_LABEL if row.label is None else numbers[row.label] for row in rows]
    return Catalog(
        rows=tuple(rows),
        classes=classes,
        unclassed=f"{url}: {unclassed}" if unclassed else "",
        problems=tuple(sorted(found.problems, key=lambda problem: problem.name)),
        passed_over=found.passed_over,
        source=ObjectSource(url, [row.name for row in rows], labels, classes or None),
    )


class _Objects:
    """Where a hasher's objects lie; see `srcache.catalog.hashing.Files`."""

    def __init__(self, objects: ObjectFolder, listing: dict[str, ObjectInfo]) -> None:
        self._objects, self._listing = objects, listing

    def stamp(self, file: str) -> tuple[Stamp, bool]:
        """See `Files.stamp`."""
        info = self._listing[file]
        return (info.size, int(info.stamp, 16), 0, 0), True

    def key(self, file: str) -> ImageKey:
        """See `Files.key`."""
        return image_key(self._objects.read(file))


def _images_among(listing: dict[str, ObjectInfo]) -> tuple[Listing, list[str]]:
    """The names of images, and a listing of what is wrong with the rest; hidden ones are left out, as in a folder."""
    found, names = Listing(), list[str]()
    for name in listing:
        parts = name.split("/")
        if any(part.startswith(".") and part not in (".", "..") for part in parts):
            continue
        if os.path.splitext(name)[1].lower() not in SUFFIXES:
            found.pass_over(name)
        elif any(part in ("", ".", "..") for part in parts) or "\0" in name:
            found.problems.append(Problem(name, "bad_name", "the name is none of a file in a folder; rename it"))
        elif (problem := lacking_decoder(name)) is not None:
            found.problems.append(problem)
        else:
            names.append(name)
    return found, names


def _classes(listing: Collection[str], labels: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
    """The classes of what lies below a URL: a folder is there if any object is in it, as an empty one is on a disk."""
    folders = {name.partition("/")[0] for name in listing if "/" in name}
    caches = [folder for folder in folders if f"{folder}/{CACHE_MARK}" in listing]
    shown = {folder for folder in folders if folder and not folder.startswith(".")}
    return classes_of_folders((label for _, label in labels), shown, caches)


def _memo_path(url: str) -> Path:
    return user_folder() / "memo" / f"{local_name(url)}.json"
