"""Mend a damaged cache: keep every image that is intact, keep the damaged file too, and let `build` make the rest.

The intact images are copied into a new store, which takes the place of the old one in one step; whenever the
power fails, one of the two is there. Catalogs, receipts and lines of journals that cannot be read are set aside, not
deleted. Shards that writers left unfinished are completed.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from srcache.cache.failures import readable_journals, readable_lines
from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.cache.receipts import readable_catalogs, readable_receipts, wanted_names
from srcache.errors import CacheError, DamagedError, MachineError
from srcache.files import disk_errors, lock, write_atomic
from srcache.maintain.check_process import Finding, Scan, check, problems_of, stamp
from srcache.progress import Progress
from srcache.stores import Entry, StoreOptions, open_store

_BATCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedRecipe:
    """What became of one recipe.

    Attributes:
        folder: the recipe's folder.
        damaged: whether there was anything to mend.
        kept, lost: entries that were intact, and the names of those that left a trace but are not.
        absent: entries that were asked for and are not there now; `build` makes them.
        completed: entries in shards that writers left unfinished, which are complete now.
        stamped: entries of older versions that got the checksum which new ones have; only where it was asked for.
        old: the damaged store, kept, relative to the cache; None where nothing had to be copied.
    """

    folder: str
    damaged: bool
    kept: int
    lost: tuple[str, ...] = ()
    absent: int = 0
    completed: int = 0
    stamped: int = 0
    old: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What was mended; `set_aside` are text files that cannot be read, by their new names; `left` cannot be mended."""

    path: Path
    recipes: tuple[MendedRecipe, ...]
    set_aside: tuple[str, ...]
    left: tuple[Finding, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was mended, completed, or given a checksum."""
        return bool(self.set_aside) or any(one.damaged or one.completed or one.stamped for one in self.recipes)


def repair(path: str | Path, recipe: str | None = None, progress: Progress | None = None) -> RepairReport:
    """Mend a cache, or one recipe in it; a cache without damage is not touched.

    Raises:
        CacheError: the folder is no cache, or holds no such recipe.
        BusyError: a recipe is being filled, or a training adds images to it.
        DiskFullError: no room for the copy; nothing was changed.
    """
    cache = _on_disk(path)
    aside = _set_aside(readable_catalogs(cache)[1])
    mended, left = [], []
    for home in cache.paths() if recipe is None else [cache.path_of(recipe)]:
        with lock(home):
            aside += _set_aside(readable_receipts(home)[1])
            aside += [_without_damaged_lines(journal) for journal in readable_journals(home)]
            try:
                mended.append(_mended(cache, cache.folder(home), progress))
            except DamagedError as error:
                left.append(Finding(f"{home.name}/recipe.yaml", "", "damaged", str(error)))
    return RepairReport(
        path=cache.path,
        recipes=tuple(mended),
        set_aside=tuple(str(file.relative_to(cache.path)) for file in aside),
        left=tuple(left),
    )


def add_checksums(path: str | Path, recipe: str | None = None, progress: Progress | None = None) -> RepairReport:
    """Give entries that older versions wrote the fast checksum that readers compare, and mend nothing else.

    Each entry is compared with the checksum that it has before it gets another. What is damaged stays as it is, and is
    listed in `left`. A run that was stopped goes on where it was.

    Raises:
        CacheError: the folder is no cache, or holds no such recipe.
        BusyError: a recipe is being filled.
        DiskFullError: no room; what was done stays.
    """
    cache = _on_disk(path)
    stamped, left = [], []
    for home in cache.paths() if recipe is None else [cache.path_of(recipe)]:
        with lock(home):
            try:
                scan = stamp(cache.folder(home), progress)
            except DamagedError as error:
                left.append(Finding(f"{home.name}/recipe.yaml", "", "damaged", str(error)))
                continue
            left += scan.findings
            stamped.append(
                MendedRecipe(folder=home.name, damaged=bool(scan.findings), kept=scan.entries, stamped=scan.stamped)
            )
    return RepairReport(path=cache.path, recipes=tuple(stamped), set_aside=(), left=tuple(left))


def _on_disk(path: str | Path) -> Cache:
    """A cache that can be mended where it lies.

    Raises:
        CacheError: it lies below a URL, where objects are never changed; or it is no cache.
    """
    cache = open_cache(path)
    if cache.mirror is not None:
        raise CacheError(
            f"{path} lies below a URL, where nothing is mended in place; `srcache verify` names what is damaged: "
            "delete those objects (a shard and its .idx) and build again, or copy what is intact: "
            f"srcache merge {path} --into NEW"
        )
    return cache


def _mended(cache: Cache, folder: RecipeFolder, progress: Progress | None) -> MendedRecipe:
    new = folder.store_path.with_suffix(f".{folder.kind}.new")
    shutil.rmtree(new, ignore_errors=True)
    scan, damaged = _checked(folder, progress), False
    if scan.findings and folder.store_kind.reindex(folder.store_path):
        scan, damaged = _checked(folder, progress), True
    if not scan.findings:
        completed = folder.store_kind.finish(folder.store_path, _options(folder)) if scan.begun else 0
        return MendedRecipe(
            folder=folder.path.name, damaged=damaged, kept=scan.entries, absent=scan.absent, completed=completed
        )
    try:
        with folder.store_kind.alone(folder.store_path):
            kept, lost = _copy(folder, new, progress)
            absent = _absent(cache, folder, new)
            old = folder.store_kind.replace(folder.store_path, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return MendedRecipe(
        folder=folder.path.name,
        damaged=True,
        kept=kept,
        lost=tuple(lost),
        absent=absent,
        old=str(old.relative_to(cache.path)),
    )


def _checked(folder: RecipeFolder, progress: Progress | None) -> Scan:
    """What a check found; one that cannot be done is a finding, for what is readable is copied without it."""
    try:
        return check(folder, progress)
    except MachineError as error:
        return Scan(findings=[Finding(folder.path.name, "", "unchecked", str(error))])


def _options(folder: RecipeFolder) -> StoreOptions:
    return StoreOptions(writable=True, fingerprint=folder.recipe.fingerprint)


def _copy(folder: RecipeFolder, new: Path, progress: Progress | None) -> tuple[int, list[str]]:
    """Copy what is intact into a new store; returns how many entries, and the names of those that are not.

    Raises:
        DamagedError: there are only another recipe's.
    """
    store, kept, others, lost = folder.store_kind.open(new, _options(folder)), 0, 0, list[str]()
    with disk_errors(folder.store_path), folder.store_kind.salvage(folder.store_path) as salvage:
        names = salvage.names()
        batch, size = list[Entry](), 0
        for done, name in enumerate(names):
            if progress is not None:
                progress(done, len(names))
            entry, noted = salvage.entry(name), salvage.recipe(name)
            is_other = noted not in (None, folder.recipe.fingerprint)
            if entry is None or is_other or any(problems_of(name, entry.record, entry.payload)):
                lost.append(name)
                others += is_other
                continue
            batch.append(entry)
            size += len(entry.payload)
            if size >= _BATCH_BYTES:
                kept += store.put_many(batch)
                batch, size = [], 0
        kept += store.put_many(batch)
    store.close()
    if others and not kept:
        raise DamagedError(
            f"{folder.store_path} holds images by another recipe; put it back where it belongs, or remove it and run "
            "`srcache build`"
        )
    return kept, lost


def _absent(cache: Cache, folder: RecipeFolder, new: Path) -> int:
    """Entries that the recipe's runs were asked for, but that the new store lacks."""
    store = open_store(folder.kind, new)
    wanted = set(wanted_names(folder.path, readable_catalogs(cache)[0]))
    absent = sum(not store.has(name) for name in wanted)
    store.close()
    return absent


def _without_damaged_lines(journal: Path) -> Path:
    """Leave the lines in a journal that can be read; returns where a copy of the whole is kept."""
    aside = _aside(journal)
    with disk_errors(journal):
        shutil.copyfile(journal, aside)
        write_atomic(journal, readable_lines(journal))
    return aside


def _set_aside(damaged: Mapping[Path, DamagedError]) -> list[Path]:
    """Give files that cannot be read another name, so that they are not read again."""
    found = []
    for path in damaged:
        with disk_errors(path):
            found.append(path.rename(_aside(path)))
    return found


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged-{uuid4().hex[:4]}")
