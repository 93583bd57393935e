"""Look after a cache: what is in it, whether every byte is as it was written, and dropping what nobody needs."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from srcache.checks import Finding, Progress, check
from srcache.errors import DamagedError
from srcache.files import disk_errors
from srcache.images import suffix_of
from srcache.kept import KeptCatalog, asked_for, find_home, readable_catalogs, readable_receipts, store_of
from srcache.keys import ImageKey, entry_name
from srcache.manifest import Cache, RecipeFolder, failures_by_reason, lock, open_cache
from srcache.stores import Store

_LEAVING = ".pruned-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of `build`, as its receipt tells: when it ended (UTC), and what it did."""

    ended: str
    added: int
    failed: int
    seconds: float
    device: str | None
    interrupted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a kept catalog a recipe has: `covered` of its different `images` have all samples asked for."""

    digest: str
    images: int
    covered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeInfo:
    """One recipe of a cache.

    Attributes:
        folder, recipe: the folder's name, and every field of the recipe.
        entries, images: stored SR images, and the different source images that they were made of.
        samples: most samples per image that a run asked for.
        codec: the format of the stored images, told from the first one; None if there is none.
        failed: entries that failed and are still not there, counted by reason.
    """

    folder: str
    recipe: dict[str, Any]
    entries: int = 0
    images: int = 0
    samples: int = 1
    bytes: int = 0
    codec: str | None = None
    failed: dict[str, int] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    catalogs: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """What is in a cache; `damaged` says what could not be read, and `bytes` counts everything in the directory."""

    path: Path
    store: str
    bytes: int
    recipes: tuple[RecipeInfo, ...]
    damaged: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` checked, and what it found; `absent` counts entries that were asked for but are not there."""

    path: Path
    recipes: tuple[str, ...]
    entries: int
    bytes: int
    absent: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written."""
        return not self.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What `prune` removed, or (`done` is false) would remove; paths are relative to the cache."""

    path: Path
    removed: tuple[str, ...]
    bytes: int
    done: bool


def info(path: str | Path) -> CacheInfo:
    """What is in a cache. Of the stores, little more than names is read.

    Raises:
        CacheError: the folder is no cache.
    """
    cache = open_cache(path)
    catalogs, damaged = readable_catalogs(cache)
    recipes = []
    for home in cache.paths():
        damaged |= readable_receipts(home)[1]
        try:
            recipes.append(_recipe_info(cache.folder(home), catalogs))
        except DamagedError as error:
            damaged[home] = error
    return CacheInfo(
        path=cache.path,
        store=cache.kind,
        bytes=_size(cache.path),
        recipes=tuple(recipes),
        damaged=tuple(_findings(cache, damaged)),
    )


def verify(path: str | Path, recipe: str | None = None, progress: Progress | None = None) -> VerifyReport:
    """Check every byte of a cache, or of one recipe in it: entries, aliases, recipes, receipts, catalogs.

    Raises:
        CacheError: the folder is no cache, or holds no such recipe.
        MachineError: the check could not be done.
    """
    cache = open_cache(path)
    homes = cache.paths() if recipe is None else [find_home(cache, recipe)]
    findings = _findings(cache, readable_catalogs(cache)[1])
    scans = []
    for home in homes:
        findings += _findings(cache, readable_receipts(home)[1])
        try:
            folder = cache.folder(home)
        except DamagedError as error:
            findings += _findings(cache, {home / "recipe.yaml": error})
            continue
        scans.append(check(folder, progress))
        if not scans[-1].begun and any(receipt["added"] for receipt in readable_receipts(home)[0].values()):
            findings += _findings(cache, {folder.store_path: DamagedError("runs filled this store, but it is gone")})
    return VerifyReport(
        path=cache.path,
        recipes=tuple(home.name for home in homes),
        entries=sum(scan.entries for scan in scans),
        bytes=sum(scan.bytes for scan in scans),
        absent=sum(scan.absent for scan in scans),
        findings=(*findings, *(finding for scan in scans for finding in scan.findings)),
    )


def prune(path: str | Path, recipes: Sequence[str] = (), *, catalogs: bool = False, yes: bool = False) -> PruneReport:
    """Remove recipes with all their images, and (`catalogs`) the catalogs that no other recipe was built from.

    Args:
        path: the cache.
        recipes: names, fingerprints or folders' names; a recipe that cannot be read goes by these too.
        catalogs: remove catalogs of which no remaining recipe has a run or an image.
        yes: really do it.

    Raises:
        CacheError: the folder is no cache, or holds no such recipe.
        BusyError: a recipe is being filled.
    """
    cache = open_cache(path)
    homes = sorted({find_home(cache, name) for name in recipes})
    needless = _needless(cache, homes) if catalogs else []
    gone = [*homes, *needless]
    size = sum(_size(one) for one in gone)
    if yes:
        for home in homes:
            _remove(home)
        for file in needless:
            with disk_errors(file):
                file.unlink()
        for left in cache.path.glob(f"{_LEAVING}*"):
            shutil.rmtree(left, ignore_errors=True)
    return PruneReport(
        path=cache.path, removed=tuple(str(one.relative_to(cache.path)) for one in gone), bytes=size, done=yes
    )


def _recipe_info(folder: RecipeFolder, catalogs: Sequence[KeptCatalog]) -> RecipeInfo:
    samples = asked_for(folder.path)
    have = dict.fromkeys((row.key for catalog in catalogs for row in catalog.rows), 0)
    store = store_of(folder)
    entries = images = 0
    first, last = "", ""
    for name in store.names() if store else ():
        key = ImageKey(name.rpartition("-")[0])
        first, entries, images, last = first or name, entries + 1, images + (key != last), key
        if key in have:
            have[key] += 1
    failed = [note for name, note in folder.failures().items() if store is None or store.record(name) is None]
    return RecipeInfo(
        folder=folder.path.name,
        recipe=folder.recipe.to_dict(),
        entries=entries,
        images=images,
        samples=max(samples.values(), default=1),
        bytes=_size(folder.path),
        codec=suffix_of(store.get(first) or b"").lstrip(".") if store and first else None,
        failed=failures_by_reason(failed),
        runs=tuple(_run(name, receipt) for name, receipt in readable_receipts(folder.path)[0].items()),
        catalogs=tuple(_coverages(catalogs, have, samples)),
    )


def _coverages(
    catalogs: Iterable[KeptCatalog], have: Mapping[ImageKey, int], samples: Mapping[str, int]
) -> Iterator[Coverage]:
    """Of the catalogs that were asked for, or of which there is an image."""
    for catalog in catalogs:
        wanted = samples.get(catalog.digest, 1)
        covered = sum(have[key] >= wanted for key in catalog.keys)
        if covered or catalog.digest in samples:
            yield Coverage(digest=catalog.digest, images=len(catalog.keys), covered=covered)


def _run(name: str, receipt: Mapping[str, Any]) -> Run:
    """A receipt's name starts with the time at which it was written."""
    day, clock = name[:8], name[9:15]
    return Run(
        ended=f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z",
        added=receipt["added"],
        failed=sum(receipt["failed"].values()),
        seconds=receipt["seconds"],
        device=receipt["device"],
        interrupted=receipt["interrupted"],
    )


def _needless(cache: Cache, leaving: Sequence[Path]) -> list[Path]:
    """Catalogs of which no recipe that stays has a run or an image."""
    staying = [cache.folder(home) for home in cache.paths() if home not in leaving]
    asked = {digest for folder in staying for digest in asked_for(folder.path)}
    stores = [store for folder in staying if (store := store_of(folder)) is not None]
    return [
        cache.catalogs()[catalog.digest]
        for catalog in readable_catalogs(cache)[0]
        if catalog.digest not in asked and not _any_of(catalog, stores)
    ]


def _any_of(catalog: KeptCatalog, stores: Sequence[Store]) -> bool:
    names = (entry_name(key, 0) for key in catalog.keys)
    return any(store.record(name) is not None for name in names for store in stores)


def _remove(home: Path) -> None:
    """Take a folder out of sight at once, then delete it; what a crash leaves of it, the next `prune` deletes."""
    with lock(home), disk_errors(home):
        away = home.with_name(f"{_LEAVING}{home.name}-{uuid4().hex[:8]}")
        home.rename(away)
        shutil.rmtree(away)


def _findings(cache: Cache, damaged: Mapping[Path, DamagedError]) -> list[Finding]:
    return [Finding(str(path.relative_to(cache.path)), "", "damaged", str(error)) for path, error in damaged.items()]


def _size(path: Path) -> int:
    """Bytes in a file, or in everything below a folder."""
    if path.is_file():
        return path.stat().st_size
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.lstat(file).st_size for file in files)
