"""Write what a cache holds as ordinary image files, or as a cache of its own."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from srcache.cache.manifest import Cache, RecipeFolder, is_cache, open_cache
from srcache.cache.receipts import KeptCatalog, asked_for, readable_catalogs, readable_receipts, store_of
from srcache.catalog.names import stems_apart
from srcache.errors import CacheError, listed
from srcache.files import atomic_path, disk_errors, make_folder, real_path, remove_parts
from srcache.files.claims import is_held, was_stopped, working
from srcache.files.documents import json_text
from srcache.files.urls import is_url
from srcache.images import as_file
from srcache.keys import entry_name, split_name
from srcache.maintain.ahead import work_ahead
from srcache.maintain.merge import MergeReport, merge
from srcache.progress import Progress, throttled
from srcache.recipe.recipe import suffix_for
from srcache.stores import Record, Store, whole

RECORDS = "records.jsonl"
_LONGEST = 255
EXPORT = "export"
"""The command, as it marks the folders that it fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written: `files` images of `recipe` into `path`, and the names of images that the cache lacks."""

    path: Path
    recipe: str
    files: int
    bytes: int
    absent: tuple[str, ...] = ()


_Read = Callable[[str], tuple[bytes, Record]]
"""Reads an entry by its name."""


class _Target(NamedTuple):
    """One file to write: its path without suffix, relative and POSIX, and the entry that it is made of."""

    stem: str
    entry: str


def export(
    path: str | Path,
    destination: str | Path,
    recipe: str | None = None,
    *,
    names: bool = False,
    catalog: str | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a recipe's images into an empty or new folder, with their records beside them in `records.jsonl`.

    An export that was stopped is completed by the same call. What was stored without loss becomes PNG, pixel for pixel;
    JPEG and WebP are copied byte for byte. A file is called `{key}-{sample}.png`, or (`names`) as its source image in
    the catalog that the recipe was last built from, with `-{sample}` behind it if there are several samples.

    Args:
        path: the cache.
        destination: the folder to write into.
        recipe: name, fingerprint or folder; may be left out where the cache holds only one.
        names: use the source images' names.
        catalog: the digest of the catalog that has the names, or its first digits; None means the last one.
        progress: called while files are written.

    Raises:
        CacheError: no such cache or recipe; the destination is not empty; two files would have one name.
        BusyError: another process exports the same into it.
        ChecksumError: an image is not what was written.
        DiskFullError: no room.
    """
    if is_url(destination):
        raise CacheError(f"files are written into a folder of this machine, but got {destination}; --join takes a URL")
    cache, destination = open_cache(path), Path(destination)
    folder, store = filled_recipe(cache, recipe)
    targets = [_Target(name, name) for name in store.names()]
    absent: list[str] = []
    run = {"recipe": folder.path.name, "names": names}
    if names:
        chosen = chosen_catalog(cache, folder, catalog)
        targets, absent = _named(chosen, store)
        _require_apart(targets, suffix_for(folder.recipe))
        run["catalog"] = chosen.digest
    if not was_stopped(destination, EXPORT, run):
        require_empty(destination, cache)
    with working(destination, EXPORT, run, "exported into"):
        remove_parts(destination)
        written = _write_all(targets, partial(whole, store, where=folder.place), destination, progress)
    return ExportReport(
        path=destination,
        recipe=folder.path.name,
        files=len(targets),
        bytes=written,
        absent=tuple(absent),
    )


def export_cache(
    path: str | Path,
    destination: str | Path,
    recipe: str | None = None,
    *,
    kind: str,
    shard_bytes: int | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Write a recipe into an empty or new folder as a cache with another kind of store, or with other shards.

    Args:
        path, destination, recipe, progress: as in `export`.
        kind, shard_bytes: the new cache's kind of store, and the size of its shards, as `merge` takes them.

    Raises:
        CacheError: as in `export`.
        DiskFullError: no room.
    """
    cache = open_cache(path)
    folder, store = filled_recipe(cache, recipe)
    store.close()
    stopped = is_cache(destination) and _is_unfinished(open_cache(destination), folder)
    if is_cache(destination) and not stopped:
        raise CacheError(
            f"{destination} is a cache; choose a new or an empty folder, or add to it by: srcache merge {path} --into "
            f"{destination} --recipe {folder.path.name}"
        )
    if not stopped and not is_url(destination):
        require_empty(Path(destination), cache)
    return merge([path], destination, folder.path.name, store=kind, shard_bytes=shard_bytes, progress=progress)


def _is_unfinished(target: Cache, folder: RecipeFolder) -> bool:
    """Whether a cache is what an export of a recipe left that was stopped: its receipts are copied after its images."""
    homes = target.paths()
    receipts = readable_receipts(folder.path)[0]
    copied = {path.name for home in homes for path in (home / "receipts").glob("*.json")}
    return all(home.name == folder.path.name for home in homes) and not (
        homes and receipts and copied.issuperset(receipts)
    )


def filled_recipe(cache: Cache, recipe: str | None) -> tuple[RecipeFolder, Store]:
    """A recipe's folder and its store.

    Raises:
        CacheError: there is no such recipe, or no image of it.
    """
    folder = cache.folder(cache.path_of(recipe))
    store = store_of(folder)
    if store is None:
        raise CacheError(f"{folder.place} holds no images yet; `srcache build` makes them")
    return folder, store


def chosen_catalog(cache: Cache, folder: RecipeFolder, digest: str | None = None) -> KeptCatalog:
    """The catalog whose digest begins so; else what a recipe was last built from, or, where a killed run left no
    receipt, the only catalog there is.

    Raises:
        CacheError: there is none, or several.
    """
    catalogs = {catalog.digest: catalog for catalog in readable_catalogs(cache)[0]}
    if digest is not None:
        fits = [one for one in catalogs if one.startswith(digest)]
        if len(fits) != 1:
            known = listed(list(catalogs))
            raise CacheError(f"{len(fits)} catalogs of {cache.path} begin with {digest!r}; it has: {known}")
        return catalogs[fits[0]]
    asked = list(asked_for(folder.path)) or (list(catalogs) if len(catalogs) == 1 else [])
    if not asked or asked[-1] not in catalogs:
        raise CacheError(f"no catalog is known that {folder.path} was built from; run the same `build` again first")
    return catalogs[asked[-1]]


def _named(catalog: KeptCatalog, store: Store) -> tuple[list[_Target], list[str]]:
    """The files of a catalog's rows, and the names of rows of which nothing is stored."""
    stored = {key: [split_name(name)[1] for name in store.names(f"{key}-")] for key in catalog.keys}
    stems = stems_apart([row.name for row in catalog.rows])
    several = any(samples not in ([], [0]) for samples in stored.values())
    targets = [
        _Target(f"{stem}-{sample:03d}" if several else stem, entry_name(row.key, sample))
        for stem, row in zip(stems, catalog.rows, strict=True)
        for sample in stored[row.key]
    ]
    return targets, [row.name for row in catalog.rows if not stored[row.key]]


def is_below(name: str) -> bool:
    """Whether a name does not lead out of the folder to which it is relative."""
    parts = PurePosixPath(name).parts
    return bool(parts) and name[0] != "/" and ".." not in parts and "\0" not in name


def require_below(names: Iterable[str]) -> None:
    """Refuse names that lead out of the folder to which they are relative."""
    if odd := [name for name in names if not is_below(name)]:
        raise CacheError(f"expected names below the folder, but the catalog has: {listed(odd)}")


def _require_apart(targets: Sequence[_Target], suffix: str) -> None:
    """Refuse names that lead out of the folder, that a file system cannot hold, or that are one file's."""
    counts = Counter(target.stem for target in targets)
    require_below(counts)
    parts = {stem: PurePosixPath(stem).parts for stem in counts}
    long = [stem for stem, names in parts.items() if len(os.fsencode(names[-1] + suffix)) > _LONGEST]
    if long:
        raise CacheError(f"names longer than {_LONGEST} bytes cannot be written; export without names: {listed(long)}")
    folders = {str(parent) for stem in counts for parent in PurePosixPath(stem).parents}
    same = [stem for stem, count in counts.items() if count > 1 or f"{stem}{suffix}" in folders]
    if same or RECORDS in folders:
        raise CacheError(
            f"several images would be written to one file: {listed(same or [RECORDS])} (with {suffix}); "
            "rename the sources, or export without names"
        )


def require_empty(destination: Path, cache: Cache) -> None:
    """Refuse to write into a folder that holds something, or into the cache itself."""
    if real_path(destination).is_relative_to(real_path(cache.path)):
        raise CacheError(f"{destination} lies in the cache; export to another place")
    if destination.exists() and (
        not destination.is_dir() or any(not is_held(one, EXPORT) for one in destination.iterdir())
    ):
        raise CacheError(f"{destination} exists and is not empty; choose a new or an empty folder")


def _write_all(targets: Sequence[_Target], read: _Read, destination: Path, progress: Progress | None) -> int:
    """Write every file, and a line about each; returns the images' bytes."""
    size, show, records = 0, throttled(progress), destination / RECORDS
    make_folder(destination)
    with disk_errors(records):
        written = work_ahead(lambda target: _write(target, read, destination), targets)
        with records.open("w", encoding="utf-8") as lines:
            for done, (bytes_of_one, line) in enumerate(written, start=1):
                size += bytes_of_one
                lines.write(line + "\n")
                show(done, len(targets))
    return size


def _write(target: _Target, read: _Read, destination: Path) -> tuple[int, str]:
    """Write one file; returns its size, and what to note about it."""
    payload, record = read(target.entry)
    suffix, data = as_file(payload)
    with atomic_path(destination / f"{target.stem}{suffix}") as part:
        part.write_bytes(data)
    key, sample = split_name(target.entry)
    line = {"file": f"{target.stem}{suffix}", "key": key, "sample": sample, "record": record}
    return len(data), json_text(line)
