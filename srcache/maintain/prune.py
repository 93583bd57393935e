"""`srcache prune`: drop recipes with their images, and catalogs that no remaining recipe needs."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from srcache.cache.manifest import Cache, open_cache
from srcache.cache.receipts import KeptCatalog, asked_for, readable_catalogs, store_of
from srcache.errors import DamagedError
from srcache.files import disk_errors, lock
from srcache.files.folders import paths_in
from srcache.keys import entry_name
from srcache.stores import Store, store_kind

_LEAVING = ".pruned-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What `prune` removed, or (`done` is false) would remove; paths are relative to the cache."""

    path: Path | str
    removed: tuple[str, ...]
    bytes: int
    done: bool


def prune(path: str | Path, recipes: Sequence[str] = (), *, catalogs: bool = False, yes: bool = False) -> PruneReport:
    """Remove recipes with all their images, and (`catalogs`) the catalogs that no other recipe was built from.

    Args:
        path: the cache.
        recipes: names, fingerprints or folders' names; a recipe that cannot be read goes by these too.
        catalogs: remove catalogs of which no remaining recipe has a run or an image; none of them while a remaining
            recipe is damaged.
        yes: really do it.

    Raises:
        CacheError: the folder is no cache, or holds no such recipe.
        BusyError: a recipe is being filled, or a training adds images to it.
    """
    cache = open_cache(path)
    homes = sorted({cache.path_of(name) for name in recipes})
    needless = _needless(cache, homes) if catalogs else []
    gone = [*homes, *needless]
    size = sum(cache.size(one) for one in gone)
    if yes:
        for home in homes:
            try:
                _remove(cache, home)
            except FileNotFoundError:  # another prune was faster
                if home.exists():
                    raise
        for file in needless:
            _remove_file(cache, file)
        for left in paths_in(cache.path, f"{_LEAVING}*"):
            shutil.rmtree(left, ignore_errors=True)
    return PruneReport(
        path=cache.place, removed=tuple(str(one.relative_to(cache.path)) for one in gone), bytes=size, done=yes
    )


def _needless(cache: Cache, leaving: Sequence[Path]) -> list[Path]:
    """Catalogs of which no recipe that stays has a run or an image; none where one of those cannot be read."""
    try:
        staying = [cache.folder(home) for home in cache.paths() if home not in leaving]
        stores = [store for folder in staying if (store := store_of(folder)) is not None]
    except DamagedError:
        return []
    asked = {digest for folder in staying for digest in asked_for(folder.path)}
    return [
        cache.catalogs()[catalog.digest]
        for catalog in readable_catalogs(cache)[0]
        if catalog.digest not in asked and not _any_of(catalog, stores)
    ]


def _any_of(catalog: KeptCatalog, stores: Sequence[Store]) -> bool:
    names = (entry_name(key, 0) for key in catalog.keys)
    return any(store.has(name) for name in names for store in stores)


def _remove_file(cache: Cache, file: Path) -> None:
    if cache.mirror is not None:
        cache.mirror.delete(str(file.relative_to(cache.path)))
        return
    with disk_errors(file):
        file.unlink()


def _remove(cache: Cache, home: Path) -> None:
    """Take a folder out of sight at once, then delete it; what a crash leaves of it, the next `prune` deletes."""
    kind = store_kind(cache.kind)
    with lock(home), kind.alone(home / f"data.{kind.name}"), disk_errors(home):
        if cache.mirror is not None:
            cache.mirror.delete(home.name)
            return
        away = home.with_name(f"{_LEAVING}{home.name}-{uuid4().hex[:8]}")
        home.rename(away)
        shutil.rmtree(away)
