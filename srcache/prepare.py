"""Data sets made from data sets: splits, LR copies, paired crops. All by name and seed, nothing by order.

Each writes into an empty folder, or completes an earlier run of the same command with the same parameters on the same
images (`claim` tells them apart): what is there is kept, so that twice is the same as once. Files get their names only
when they are whole.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from srcache.catalog import Catalog, Problem, Row, open_catalog
from srcache.claim import claim
from srcache.degrade import Degradation
from srcache.errors import CatalogError, ConfigError, ImageError, listed
from srcache.files import disk_errors
from srcache.images import Pixels, encode
from srcache.keys import ImageKey, image_key
from srcache.memo import Progress, throttled
from srcache.sources import read_file
from srcache.stratify import SPLITS, assign, exact_shares

LINKS = ("copy", "hard")
_WORKERS = 2 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run did.

    Attributes:
        folders: where it wrote.
        written: files of this run.
        kept: files that an earlier run had finished.
        failures: images that could not be used, and why; those that could not be catalogued too.
        counts: for a split: files per split and class, as `train/cat`.
        doubles: for a split: names of files with the same bytes that lie in different classes.
    """

    folders: tuple[Path, ...]
    written: int
    kept: int
    failures: tuple[Problem, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    doubles: tuple[tuple[str, ...], ...] = ()

    @property
    def failed(self) -> dict[str, int]:
        """Failures by reason."""
        return dict(sorted(Counter(problem.reason for problem in self.failures).items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """Which squares to cut: where one lies depends on the image's key, the seed and the square's number alone.

    Attributes:
        size: side in pixels; a multiple of `factor`.
        factor: how much smaller the LR version is.
        per_image: squares per image.
        seed: another seed is other squares.
    """

    size: int = 512
    factor: int = 4
    per_image: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        Degradation(factor=self.factor)
        if self.size < 1 or self.size % self.factor:
            raise ConfigError(f"size must be a multiple of factor {self.factor}, but is {self.size}")
        if self.per_image < 1:
            raise ConfigError(f"per_image must be at least 1, but is {self.per_image}")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one image."""

    written: int = 0
    kept: int = 0
    problem: Problem | None = None


def split(
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


def lr(
    src: str | Path | Catalog,
    dst: str | Path,
    factor: int,
    filter: str = "bicubic",
    progress: Progress | None = None,
) -> Prepared:
    """An LR copy of a tree: the same relative names, as PNG, shrunk by `factor`.

    Raises:
        RecipeError: no such filter, or a factor below 2.
        ConfigError: dst will not do.
        CatalogError: names are equal once their suffixes are dropped, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    degradation = Degradation(factor=factor, filter=filter)
    catalog, target = open_catalog(src), Path(dst)
    stems = _stems(catalog)
    _claim(catalog, (target,), "lr", {"degradation": str(degradation)})

    def work(index: int) -> _Outcome:
        path = target / f"{stems[index]}.png"
        if _is_whole(path):
            return _Outcome(kept=1)
        _write(path, encode(degradation.apply(catalog.load(index, check=True).rgb), "png"))
        return _Outcome(written=1)

    return _run(catalog, (target,), work, progress)


def crops(
    src: str | Path | Catalog,
    hr_dst: str | Path,
    lr_dst: str | Path,
    squares: Squares,
    progress: Progress | None = None,
) -> Prepared:
    """Random squares of every image, and their LR versions under the same names (`…_000.png`, `…_001.png`, …).

    LR is the bicubic degradation of the square itself. An image smaller than a square fails with reason `too_small`.

    Args:
        src: a folder, a CSV or a catalog.
        hr_dst: an empty folder, or one that does not exist; for the squares.
        lr_dst: the same; for their LR versions.
        squares: how large, how many, and the seed.
        progress: called with (done, total) images.

    Raises:
        ConfigError: a folder will not do.
        CatalogError: names are equal once their suffixes are dropped, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    degradation, count = Degradation(factor=squares.factor), squares.per_image
    catalog, folders = open_catalog(src), (Path(hr_dst), Path(lr_dst))
    stems, digits = _stems(catalog), max(3, len(str(count - 1)))
    _claim(catalog, folders, "crops", asdict(squares))

    def work(index: int) -> _Outcome:
        names = [f"{stems[index]}_{number:0{digits}d}.png" for number in range(count)]
        missing = [n for n, name in enumerate(names) if not all(_is_whole(folder / name) for folder in folders)]
        if not missing:
            return _Outcome(kept=2 * count)
        rgb = _large_enough(catalog.load(index, check=True).rgb, squares.size)
        for number in missing:
            square = crop(rgb, squares.size, f"{squares.seed}/{catalog.rows[index].key}/{number}")
            _write(folders[0] / names[number], encode(square, "png"))
            _write(folders[1] / names[number], encode(degradation.apply(square), "png"))
        return _Outcome(written=2 * len(missing), kept=2 * (count - len(missing)))

    return _run(catalog, folders, work, progress)


def crop(rgb: Pixels, size: int, name: str) -> Pixels:
    """The square of `size` pixels that a name picks out of a picture at least as large."""
    dice, (height, width) = _dice(name), rgb.shape[:2]
    top = int.from_bytes(dice[:8], "big") % (height - size + 1)
    left = int.from_bytes(dice[8:], "big") % (width - size + 1)
    return rgb[top : top + size, left : left + size]


def _dice(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()


def _large_enough(rgb: Pixels, size: int) -> Pixels:
    height, width = rgb.shape[:2]
    if min(height, width) < size:
        raise ImageError("too_small", f"{width}×{height} pixels are smaller than a square of {size}")
    return rgb


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


def _stems(catalog: Catalog) -> list[str]:
    """Relative names without suffix; equal ones are refused."""
    stems = [str(PurePosixPath(row.name).with_suffix("")) for row in catalog.rows]
    counts = Counter(stems)
    twice = [row.name for row, stem in zip(catalog.rows, stems, strict=True) if counts[stem] > 1]
    if twice:
        raise CatalogError(
            f"these names are equal without their suffixes, so one would replace the other: {listed(twice)}"
        )
    return stems


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


def _write(path: Path, data: bytes) -> None:
    """Give a file its name when it is whole. Nothing is synced; an empty file is therefore never taken for whole."""
    part = _part(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)


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


def _part(path: Path) -> Path:
    """A hidden name beside a file, the same each time, so that a later run overwrites what a crash left."""
    return path.with_name(f".{blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}.part")


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _claim(catalog: Catalog, folders: Sequence[Path], command: str, parameters: Mapping[str, object]) -> None:
    claim(folders, catalog.root, {"command": command, "parameters": dict(parameters), "source": catalog.digest})


def _run(
    catalog: Catalog,
    folders: tuple[Path, ...],
    work: Callable[[int], _Outcome],
    progress: Progress | None,
    counts: Mapping[str, int] | None = None,
    doubles: tuple[tuple[str, ...], ...] = (),
) -> Prepared:
    """Work on every row in threads; one image's failure is its own."""

    def guarded(index: int) -> _Outcome:
        name = catalog.rows[index].name
        try:
            return work(index)
        except ImageError as error:
            return _Outcome(problem=Problem(name, error.reason, str(error)))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return _Outcome(problem=Problem(name, "bad_name", "the name of its copy would be too long; shorten it"))

    pool, show = ThreadPoolExecutor(_WORKERS), throttled(progress)
    outcomes = []
    try:
        for outcome in pool.map(guarded, range(len(catalog))):
            outcomes.append(outcome)
            show(len(outcomes), len(catalog))
    finally:
        pool.shutdown(cancel_futures=True)
    return Prepared(
        folders=folders,
        written=sum(outcome.written for outcome in outcomes),
        kept=sum(outcome.kept for outcome in outcomes),
        failures=(*catalog.problems, *(outcome.problem for outcome in outcomes if outcome.problem)),
        counts=counts or {},
        doubles=doubles,
    )
