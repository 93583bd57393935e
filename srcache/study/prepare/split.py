"""Train, validation, test."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import open_catalog
from srcache.errors import CatalogError, ConfigError, ImageError, listed
from srcache.images import read_file
from srcache.keys import ImageKey, image_key
from srcache.progress import Progress
from srcache.study.prepare.run import Prepared, _claim, _Outcome, _part, _run, _write
from srcache.study.prepare.stratify import SPLITS, assign, exact_shares

LINKS = ("copy", "hard")


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

    Args:
        src: a folder of class folders, a CSV with labels, or a catalog of either.
        dst: an empty folder, or one that does not exist.
        ratios: shares of train, validation and test; their sum is 1.
        seed: another seed is another split.
        link: `copy`, or `hard` for hard links (no room taken, but a change of one file is a change of both).
        progress: called with (done, total) files.

    Raises:
        ConfigError: ratios, link, or dst will not do.
        CatalogError: there are no labels, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    shares = exact_shares(ratios)
    if link not in LINKS:
        raise ConfigError(f"link must be one of {', '.join(LINKS)}, but is {link!r}")
    catalog, target = open_catalog(src), Path(dst)
    targets = _class_names(catalog)
    parameters = {"ratios": [float(share) for share in shares], "seed": seed, "link": link}
    _claim(catalog, (target,), "split", parameters)
    where = assign([(row.key, str(row.label)) for row in catalog.rows], shares, seed)
    splits = [where[row.key] for row in catalog.rows]
    paths = [target / name / file for name, file in zip(splits, targets, strict=True)]

    def work(index: int) -> _Outcome:
        return _place(catalog.rows[index], paths[index], link)

    found = Counter((SPLITS.index(name), str(row.label)) for name, row in zip(splits, catalog.rows, strict=True))
    counts = {f"{SPLITS[place]}/{label}": count for (place, label), count in sorted(found.items())}
    return _run(catalog, (target,), work, progress, counts=counts, doubles=_doubles(catalog.rows))


def _doubles(rows: Iterable[Row]) -> tuple[tuple[str, ...], ...]:
    """Groups of names with the same bytes in more than one class."""
    groups: dict[ImageKey, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    mixed = [group for group in groups.values() if len({row.label for row in group}) > 1]
    return tuple(sorted(tuple(sorted(row.name for row in group)) for group in mixed))


def _class_names(catalog: Catalog) -> list[str]:
    """Where each file goes inside its split: class folder first."""
    plain = [row.label for row in catalog.rows if row.label is None or row.path is None]
    if plain:
        raise CatalogError("a split needs files with labels: one folder per class, or a CSV with a column `label`")
    odd = sorted({row.label for row in catalog.rows if row.label and not _is_folder_name(row.label)})
    if odd:
        raise CatalogError(f"labels become folders and must be names of such, but are: {listed(odd)}")
    names = [row.name if row.name.startswith(f"{row.label}/") else f"{row.label}/{row.name}" for row in catalog.rows]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise CatalogError(f"several files would be called {listed(twice)}; rename them")
    return names


def _is_folder_name(label: str) -> bool:
    return not label.startswith(".") and "/" not in label and "\0" not in label


def _place(row: Row, path: Path, link: str) -> _Outcome:
    """Copy or link one file to where it belongs."""
    source = (row.path or Path(row.name)).resolve()
    if path.is_file() and source.is_file() and path.stat().st_size == source.stat().st_size:
        return _Outcome(kept=1)
    if link == "copy":
        data = read_file(source)
        if image_key(data) != row.key:
            raise ImageError("changed", "it was changed while the split was made; run the same command again")
        _write(path, data)
    else:
        _link(source, path)
    return _Outcome(written=1)


def _link(source: Path, path: Path) -> None:
    part = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        os.link(source, part)
        os.replace(part, path)
    except OSError as error:
        raise ConfigError(
            f"{source} cannot be hard-linked to {path} ({error.strerror}); both must lie on one file system that "
            "allows it; otherwise copy"
        ) from error
