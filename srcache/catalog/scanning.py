"""Folder, CSV file or data set → catalog: which images there are, in which order, with which labels and names.

Files are found by `listing`, data sets are opened by `sources`, keys of files are remembered by `hashing`.
Nothing is decoded here: a damaged image is catalogued like any other, and fails when it is loaded.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srcache.catalog.classes import in_order
from srcache.catalog.hashing import DiskFiles, Hasher, memo_path
from srcache.catalog.listing import (
    Listed,
    Listing,
    Problem,
    bad_name,
    is_bad_name,
    list_csv,
    list_folder,
    problem_summary,
    unreadable,
)
from srcache.catalog.names import SUFFIXES
from srcache.catalog.object_source import scan_objects
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanned import is_scanned, read_scanned
from srcache.catalog.sources import Source, label_text, open_source, subset
from srcache.errors import CatalogError, ImageError
from srcache.files.urls import is_url
from srcache.keys import ImageKey, image_key, pixel_key
from srcache.progress import Progress, throttled, timed


def open_catalog(
    base: Any, *, rehash: bool = False, progress: Progress | None = None, workers: int | None = None
) -> Catalog:
    """A catalog of a folder, a CSV file or a data set; a catalog is returned as it is.

    Raises:
        CatalogError: as `scan` and `from_dataset`.
    """
    if isinstance(base, Catalog):
        return base
    if isinstance(base, str | Path):
        return scan(base, rehash=rehash, progress=progress, workers=workers)
    return from_dataset(base, rehash=rehash, progress=progress, workers=workers)


def scan(
    root: str | Path,
    *,
    rehash: bool = False,
    trust: bool = True,
    progress: Progress | None = None,
    workers: int | None = None,
    memo: Path | None = None,
) -> Catalog:
    """Catalog a folder of images, a CSV file that lists them, or the images below a URL.

    Of a catalog that was scanned before nothing but itself is read.

    Args:
        root: a folder, or a file whose name ends in `.csv` with a column `path` (or file, filename, image, name),
            relative to the CSV's folder, and optionally `label`; or the URL of a folder of objects, as text.
        rehash: hash every file, whatever is remembered.
        trust: take the keys that a scanned catalog has (see `scanned`); otherwise its files are hashed.
        progress: called while files are hashed.
        workers: threads that hash; by default some per processor.
        memo: the file to remember keys in; by default one per root in the user's cache folder.

    Raises:
        CatalogError: there is no such folder, or no image in it; or mistakes in the CSV (all of them at once).
    """
    if is_url(root):
        return scan_objects(str(root), rehash=rehash, progress=progress, workers=workers, memo=memo)
    base, known = Path(os.path.abspath(root)), None
    is_csv = base.is_file() and base.suffix.lower() == ".csv"
    if is_scanned(base):
        known = read_scanned(base)
        if trust and not rehash:
            return known
        base = known.root or base.parent
        files = [Listed(row.name, row.label, row.path) for row in known.rows if row.path]
        found = Listing(files=files, classes=known.classes, unclassed=known.unclassed)
    elif is_csv:
        found, base = list_csv(base), base.parent
    elif base.is_dir():
        found = list_folder(base)
    else:
        what = "is another kind of file" if base.exists() else "does not exist"
        raise CatalogError(f"expected a folder of images or a .csv file, but {root} {what}")
    hasher = Hasher(DiskFiles(), memo or memo_path(base), rehash, workers)
    with timed(f"keys of {len(found.files)} files of {root}"):
        rows = _hashed(found, hasher, progress, complete=not is_csv)
    if not rows:
        raise CatalogError(
            f"expected images (files that end in {', '.join(sorted(SUFFIXES))}), but {root} has none; "
            f"{found.ignored} other files lie there{problem_summary(found.problems)}"
        )
    return Catalog(
        rows=tuple(rows),
        classes=found.classes,
        unclassed=f"{root}: {found.unclassed}" if found.unclassed else "",
        root=base,
        problems=tuple(sorted(found.problems, key=lambda problem: problem.name)),
        passed_over=found.passed_over,
    )


def _hashed(found: Listing, hasher: Hasher[Path], progress: Progress | None, complete: bool) -> list[Row]:
    """The files of a listing with their keys; those that cannot be read are noted in it."""
    rows = []
    keys = hasher.keys([(file.name, file.path) for file in found.files], progress, complete)
    for key, file in zip(keys, found.files, strict=True):
        if isinstance(key, OSError):
            found.problems.append(unreadable(file.name, key))
        else:
            rows.append(Row(key, *file))
    return rows


def from_dataset(
    dataset: Any, *, rehash: bool = False, progress: Progress | None = None, workers: int | None = None
) -> Catalog:
    """Catalog a map-style data set, in its order; `sources` says which kinds there are.

    An image that exists only in memory is loaded once, for its key and its label.

    Raises:
        CatalogError: it is of no such kind, or has no usable image.
    """
    source = open_source(dataset)
    classes = source.classes()
    show = throttled(progress)
    items = [_item(source, index, classes, show) for index in range(len(source))]
    hasher = Hasher(DiskFiles(), memo_path(source.root) if source.root else None, rehash, workers)
    files = [(item.name, item.path) for item in items if item.path and item.key is None]
    hashed = iter(hasher.keys(files, progress) if files else ())
    rows, problems, kept = [], [], []
    for index, (name, label, path, early) in enumerate(items):
        key = early or next(hashed)
        if isinstance(key, Problem | OSError):
            problems.append(key if isinstance(key, Problem) else unreadable(name, key))
        else:
            rows.append(Row(key, name, label, path))
            kept.append(index)
    if not rows:
        raise CatalogError(f"expected images, but the data set has none that can be read{problem_summary(problems)}")
    return Catalog(
        rows=tuple(rows),
        classes=classes if classes is not None else in_order(row.label for row in rows if row.label is not None),
        root=source.root,
        problems=tuple(problems),
        source=source if not problems else subset(source, kept),
    )


class _Item(NamedTuple):
    """One item of a data set; its key is still None if it is to be hashed from a file."""

    name: str
    label: str | None
    path: Path | None
    key: ImageKey | Problem | None


def _item(source: Source, index: int, classes: Sequence[str] | None, show: Progress) -> _Item:
    """Look at one item; it is named by its number if it has no file below the root."""
    path, root = source.path(index), f"{source.root}{os.sep}"
    key: ImageKey | Problem | None = None
    label = None
    below = source.root is not None and str(path).startswith(root)
    name = str(path).removeprefix(root) if below else f"{index:08d}"
    if is_bad_name(name):
        key = bad_name(name)
    elif path is None:
        key = _key_in_memory(source, index, name)
        show(index + 1, len(source))
    if not isinstance(key, Problem):
        try:
            label = label_text(source.label(index), classes)
        except ImageError as error:
            key = Problem(name, error.reason, str(error))
    return _Item(name, label, path, key)


def _key_in_memory(source: Source, index: int, name: str) -> ImageKey | Problem:
    try:
        data = source.data(index)
        return image_key(data) if data is not None else pixel_key(source.load(index).rgb)
    except ImageError as error:
        return Problem(name, error.reason, str(error))
