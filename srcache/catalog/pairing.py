"""Which HR image belongs to which image of a catalog: that of the same relative name without suffix.

Where two names of a folder differ in the suffix alone, these count with it, on both sides.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srcache.catalog.listing import list_csv, list_folder
from srcache.catalog.names import in_one_form, pairing_names, stem_of
from srcache.catalog.scanned import is_scanned
from srcache.catalog.scanning import open_catalog
from srcache.errors import CatalogError, listed


def hr_paths(names: Sequence[str], hr: Any) -> list[Path]:
    """For each name its HR file; every name must have one. Nothing is hashed here.

    Raises:
        CatalogError: as `hr_candidates`, or an image has no HR image.
    """
    found = hr_candidates(names, hr)
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise CatalogError(
            f"{len(missing)} of {len(names)} images have no HR image of the same name (without suffix): "
            f"{listed(missing)}"
        )
    return [path for path in found if path is not None]


def hr_candidates(names: Sequence[str], hr: Any) -> list[Path | None]:
    """For each name its HR file, or None.

    Args:
        names: relative names of images, with `/`.
        hr: a folder, a CSV file, a Catalog, or a data set.

    Raises:
        CatalogError: a name stands for more than one HR image, or `hr` has no files.
    """
    files = _files_in(hr)
    places, alike = dict[str, list[tuple[str, Path]]](), dict[str, list[tuple[str, Path]]]()
    for pairing, file in zip(pairing_names([name for name, _ in files]), files, strict=True):
        places.setdefault(pairing, []).append(file)
        alike.setdefault(in_one_form(stem_of(file[0])), []).append(file)
    found = []
    for pairing, name in zip(pairing_names(names), names, strict=True):
        several = alike.get(in_one_form(stem_of(name)), [])
        found.append(places.get(pairing) or (several if len(several) > 1 else []))
    twice = [" and ".join(name for name, _ in fits) for fits in found if len(fits) > 1]
    if twice:
        raise CatalogError(f"{len(twice)} names stand for more than one HR image: {listed(twice)}; leave one of each")
    return [fits[0][1] if fits else None for fits in found]


def _files_in(hr: Any) -> list[tuple[str, Path]]:
    """(relative name, path) of the images that `hr=` stands for: a folder, a CSV file, a Catalog, or a data set."""
    path = Path(os.path.abspath(hr)) if isinstance(hr, str | Path) else None
    if path and path.is_dir():
        return [(file.name, file.path) for file in list_folder(path).files]
    if path and path.is_file() and path.suffix.lower() == ".csv" and not is_scanned(path):
        return [(file.name, file.path) for file in list_csv(path).files]
    rows = open_catalog(hr).rows
    paths = [(row.name, row.path) for row in rows if row.path is not None]
    if len(paths) < len(rows):
        raise CatalogError("hr= pairs by file name, but its images have none; give a folder")
    return paths
