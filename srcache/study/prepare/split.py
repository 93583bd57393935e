"""Class folders divided into train, validation and test; and files copied or linked to where they belong."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import open_catalog
from srcache.errors import CatalogError, ConfigError, ImageError, listed
from srcache.files import atomic_path, real_path
from srcache.images import read_file
from srcache.keys import ImageKey, image_key
from srcache.progress import Progress
from srcache.study.prepare.claim import claim_folders
from srcache.study.prepare.run import ImageOutcome, Prepared, process_images, write_file
from srcache.study.prepare.stratify import SPLITS, assign, exact_shares

LINKS = ("copy", "hard")
"""How a file gets to its split: as a copy, or as a hard link."""


def make_split(
    src: str | Path | Catalog,
    dst: str | Path,
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    link: str = "copy",
    progress: Progress | None = None,
) -> Prepared:
    """Class folders → `dst/train`, `dst/validation`, `dst/test`, each with the class folders, the names kept.

    Every class is divided by the ratios, to the nearest image. Files with the same bytes stay in one split, even where
    they lie in different classes (the report names those). Which split that is depends on the seed and the keys alone.
    A class of one or two images is not in every split (the report says so).
    A file that cannot be decoded is reported, and goes into no split.

    Args:
        src: a folder of class folders, a CSV with labels, or a catalog of either.
        dst: an empty folder, or one that does not exist.
        ratios: shares of train, validation and test; their sum is 1.
        seed: another seed is another split.
        link: `copy`, or `hard` for hard links (no room taken, but a change of one file is a change of both).
        progress: called with (done, total) files.

    Raises:
        ConfigError: ratios or link that cannot be, or a dst that cannot be written to.
        CatalogError: there are no labels, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    shares = exact_shares(ratios)
    if link not in LINKS:
        raise ConfigError(f"link must be one of {', '.join(LINKS)}, but is {link!r}")
    catalog, target = open_catalog(src), Path(dst)
    names = _names_in_split(catalog)
    parameters = {"ratios": [float(share) for share in shares], "seed": seed, "link": link}
    where = assign([(row.key, str(row.label)) for row in catalog.rows], shares, seed)
    splits = [where[row.key] for row in catalog.rows]

    def work(index: int) -> ImageOutcome:
        path, notes = target / splits[index] / names[index], frozenset[str]()
        if not path.exists():  # a file that no command can use is told now, and goes into no split
            notes = catalog.load(index, check=True).notes
        written = place_file(catalog.rows[index], path, link)
        return ImageOutcome(written=int(written), kept=int(not written), notes=notes)

    with claim_folders((target,), catalog, "split", parameters):
        prepared = process_images(catalog, (target,), work, progress)
    left_out = {problem.name for problem in prepared.failures}
    placed = [(name, row) for name, row in zip(splits, catalog.rows, strict=True) if row.name not in left_out]
    found = Counter((SPLITS.index(name), str(row.label)) for name, row in placed)
    counts = {f"{SPLITS[place]}/{label}": count for (place, label), count in sorted(found.items())}
    wanted = [name for name, share in zip(SPLITS, shares, strict=True) if share]
    lacking = [f"{name}/{label}" for name in wanted for label in catalog.classes if f"{name}/{label}" not in counts]
    return replace(prepared, counts=counts, doubles=_doubles(catalog.rows), lacking=tuple(lacking))


def names_by_class(rows: Iterable[Row]) -> list[str]:
    """The name of each file inside its split, which begins with the folder of its class.

    Raises:
        CatalogError: several files would have the same name.
    """
    names = [row.name if row.name.startswith(f"{row.label}/") else f"{row.label}/{row.name}" for row in rows]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise CatalogError(f"several files would be called {listed(twice)}; rename them")
    return names


def place_file(row: Row, path: Path, link: str) -> bool:
    """Copy or hard-link a catalog's file to where it belongs; False if it is there already.

    Raises:
        ImageError: it cannot be read, or is not what was catalogued.
        ConfigError: it cannot be linked.
        DiskFullError: no room, or no permission.
    """
    source = real_path(row.path or Path(row.name))
    if path.is_file() and source.is_file() and path.stat().st_size == source.stat().st_size:
        return False
    if link == "hard":
        _link(source, path)
    else:
        data = read_file(source)
        if image_key(data) != row.key:
            raise ImageError("changed", "it was changed after it was catalogued; run the same command again")
        write_file(path, data)
    return True


def _link(source: Path, path: Path) -> None:
    try:
        with atomic_path(path) as part:
            os.link(source, part)
    except OSError as error:
        raise ConfigError(
            f"{source} cannot be hard-linked to {path} ({error.strerror}); both must lie on one file system that "
            "allows it; otherwise copy"
        ) from error


def _names_in_split(catalog: Catalog) -> list[str]:
    """`names_by_class` of files whose labels can be folders."""
    if any(row.label is None or row.path is None for row in catalog.rows):
        why = f"; {catalog.unclassed}" if catalog.unclassed else ""
        raise CatalogError(
            f"a split needs files with labels: one folder per class, or a CSV with a column `label`{why}"
        )
    odd = sorted({row.label for row in catalog.rows if row.label and not _is_folder_name(row.label)})
    if odd:
        raise CatalogError(f"labels become folders, so they must be names of folders, but are: {listed(odd)}")
    return names_by_class(catalog.rows)


def _is_folder_name(label: str) -> bool:
    return not label.startswith(".") and "/" not in label and "\0" not in label


def _doubles(rows: Iterable[Row]) -> tuple[tuple[str, ...], ...]:
    """Groups of names with the same bytes in more than one class."""
    groups: dict[ImageKey, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    mixed = [group for group in groups.values() if len({row.label for row in group}) > 1]
    return tuple(sorted(tuple(sorted(row.name for row in group)) for group in mixed))
