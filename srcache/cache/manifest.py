"""What a cache directory says about itself: its format, recipes, catalogs, receipts and failures.

    CACHE/srcache.json              format version, store kind; its presence makes a folder a cache
    CACHE/catalogs/<digest>.csv     what was built from
    CACHE/<name>-<fingerprint>/     one recipe: recipe.yaml, the store, receipts/, failures.jsonl or failures/, lock

A recipe has a folder of its own because LMDB files never shrink: dropping the folder gives the disk back. Everything
but the store is small text, written in one step or appended line by line, and readable without srcache. Two processes
may make a cache or add to it at once: what both write has equal bytes, and what one alone writes has a name of its own.

A cache may lie below a URL (s3://bucket/folder) too, with the same names; it is worked with in a folder that mirrors it
(`srcache.cache.mirror`).
"""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srcache.cache.folder import RecipeFolder as RecipeFolder
from srcache.cache.folder import read_json
from srcache.cache.mirror import Mirror, mirror_of
from srcache.errors import CacheError, DamagedError, MachineError, RecipeError, listed
from srcache.files import brief_lock, make_folder, size_of, write_atomic
from srcache.files.folders import paths_in
from srcache.files.system_errors import reading
from srcache.files.urls import is_url
from srcache.recipe.reading import dump, restore
from srcache.recipe.recipe import Recipe
from srcache.stores import KINDS, store_kind

FORMAT = 1
MARK = "srcache.json"
_NAME = re.compile(r"-[0-9a-f]{16}$")
"""What the name of a recipe's folder ends with: its fingerprint."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache directory, opened by `open_cache` or made by `create_cache`: its recipes' folders and its catalogs.

    Attributes:
        path: the directory as it was given; of a cache below a URL, that which mirrors it.
        kind: the name of its kind of store.
        mirror: of a cache below a URL.
        home: the directory from the root of the file system, for what lives on when the process changes its folder.
    """

    path: Path
    kind: str
    mirror: Mirror | None = None
    home: Path = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", Path(os.path.abspath(self.path)))

    @property
    def place(self) -> Path | str:
        """Where it lies, for people: a path or a URL."""
        return self.path if self.mirror is None else self.mirror.url

    def size(self, path: Path | None = None) -> int:
        """The size in bytes of one of its files or folders, or of all of it."""
        path = path or self.path
        if self.mirror is None:
            return size_of(path)
        below = path.relative_to(self.path).as_posix()
        return self.mirror.size("" if below == "." else below)

    def folders(self) -> list[RecipeFolder]:
        """Every recipe in the cache, by folder name."""
        return [self.folder(path) for path in self.described()]

    def readable(self) -> list[RecipeFolder]:
        """`folders`, but for those that are damaged, of which the others should know nothing."""
        found = list[RecipeFolder]()
        for path in self.paths():
            with suppress(DamagedError):
                found.append(self.folder(path))
        return found

    def paths(self) -> list[Path]:
        """The folders that hold a recipe or images, readable or not; a hidden one is on its way out."""
        return [path for path in paths_in(self.path, "[!.]*") if _holds(path, "recipe.yaml", "data.*")]

    def described(self) -> list[Path]:
        """Those of them that hold a recipe; one that may not be entered counts, and says so when it is opened."""
        return [path for path in paths_in(self.path, "[!.]*") if _holds(path, "recipe.yaml")]

    def find(self, recipe: str | Recipe | None = None) -> RecipeFolder:
        """A recipe's folder: by the recipe, its name, its fingerprint or the folder's name; None means the only one.

        Raises:
            CacheError: none or several fit.
            DamagedError: its description cannot be read.
        """
        return self.folder(self.path_of(recipe, self.described()))

    def path_of(self, recipe: str | Recipe | None = None, among: Sequence[Path] | None = None) -> Path:
        """The path of a recipe's folder, as `find` takes it; the recipe need not be readable. Chosen from `among`.

        Raises:
            CacheError: none or several fit.
        """
        paths = self.paths() if among is None else among
        held = listed([path.name for path in paths]) or "no recipe yet"
        if recipe is None:
            if len(paths) != 1:
                raise CacheError(
                    f"{self.place} holds {len(paths)} recipes ({held}); say which recipe is meant (--recipe)"
                )
            return paths[0]
        if isinstance(recipe, Recipe):
            fits = [path for path in paths if path.name.endswith(f"-{recipe.fingerprint}")]
        else:
            fits = [path for path in paths if recipe in (path.name, *path.name.rpartition("-")[::2])]
        if len(fits) == 1:
            return fits[0]
        wanted = recipe.folder if isinstance(recipe, Recipe) else recipe
        if fits:
            raise CacheError(f"{self.place} holds several recipes named {wanted!r}; say which by fingerprint: {held}")
        raise CacheError(f"{self.place} holds no recipe {wanted!r}; it holds: {held}")

    def add(self, recipe: Recipe) -> RecipeFolder:
        """A recipe's folder, made if it is not there; also where others add the same at this moment."""
        if (folder := self._held(recipe)) is not None:
            return folder
        with brief_lock(self.path):
            if (folder := self._held(recipe)) is not None:
                return folder
            path = self.path / recipe.folder
            write_atomic(path / "recipe.yaml", dump(recipe))
        folder = RecipeFolder(path, self.kind, recipe).mirrored(self.mirror)
        folder.push()
        return folder

    def _held(self, recipe: Recipe) -> RecipeFolder | None:
        held = (self.folder(path) for path in self.described() if path.name.endswith(f"-{recipe.fingerprint}"))
        return next(held, None)

    def keep_catalog(self, digest: str, text: str) -> None:
        """Keep a catalog's CSV under its digest."""
        path = self.path / "catalogs" / f"{digest}.csv"
        if not path.exists():
            write_atomic(path, text)
            self.push()

    def catalogs(self) -> dict[str, Path]:
        """The kept catalogs: digest → CSV file with the columns key, name, label (see `kept`)."""
        return {path.stem: path for path in paths_in(self.path / "catalogs", "*.csv")}

    def push(self) -> None:
        """Where it lies below a URL, upload the small files that were made or changed here; see `RecipeFolder.push`."""
        if self.mirror is not None:
            self.mirror.push()

    def folder(self, path: Path) -> RecipeFolder:
        """The recipe in one of the cache's folders.

        Raises:
            DamagedError: its description cannot be read, or is another recipe's.
        """
        file = path / "recipe.yaml"
        try:
            with reading(file):
                recipe = restore(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError, RecipeError) as error:
            raise DamagedError(f"{file} is not a recipe that this srcache can read: {error}") from error
        if not path.name.endswith(recipe.fingerprint):
            raise DamagedError(
                f"{file} does not belong to its folder: it describes recipe {recipe.fingerprint}. "
                "Recipes are never edited in place; restore the file, or `srcache prune` the folder"
            )
        return RecipeFolder(path, self.kind, recipe).mirrored(self.mirror)


def is_cache(path: str | Path) -> bool:
    """Whether a folder, or what is below a URL, says that it is a cache."""
    if is_url(path):
        mirror = mirror_of(str(path))
        mirror.pull(notes=False)
        path = mirror.path
    with reading(Path(path)):
        return (Path(path) / MARK).is_file()


def open_cache(path: str | Path, *, notes: bool = True, spool: Path | None = None) -> Cache:
    """Open a cache.

    Args:
        path: a directory, or a URL.
        notes: where it is a URL, bring catalogs, receipts and failures here too.
        spool: where it is a URL, a folder for what is kept of it on this machine; None: the user's own.

    Raises:
        CacheError: it is none, or of another format.
        DamagedError: its marker cannot be read.
        MachineError: the service of a URL does not answer, or refuses.
    """
    mirror = mirror_of(str(path), spool) if is_url(path) else None
    if mirror is not None:
        mirror.pull(notes=notes)
    return _opened(Path(path) if mirror is None else mirror.path, mirror)


def _opened(path: Path, mirror: Mirror | None = None) -> Cache:
    place = path if mirror is None else mirror.url
    if not is_cache(path):
        raise CacheError(f"{place} is no srcache cache (it has no {MARK}); `srcache build` makes one")
    mark = read_json(path / MARK)
    if mark.get("format") != FORMAT or mark.get("store") not in KINDS:
        raise CacheError(
            f"{place} has cache format {mark.get('format')} with store {mark.get('store')!r}; "
            f"this srcache reads format {FORMAT} with {', '.join(KINDS)}; use the srcache that wrote it"
        )
    if mirror is not None and store_kind(str(mark["store"])).stand_in is None:
        raise CacheError(
            f"{place} keeps its images in {mark['store']}, which cannot be read over a network; copy it to a disk, or "
            f"make a cache of shards of it: srcache merge COPY --into {place} --store shards"
        )
    return Cache(path, str(mark["store"]), mirror)


def create_cache(path: str | Path, kind: str | None = None, *, spool: Path | None = None) -> Cache:
    """Open a cache, or make one in a folder that is empty or not there, or below a URL where nothing is.

    Args:
        path: a directory, or a URL.
        kind: the kind of store; None means what the cache has, or the default for a new one.
        spool: as in `open_cache`.

    Raises:
        CacheError: the folder holds something else, or a cache with another kind of store.
        MachineError: the service of a URL does not answer, or refuses.
    """
    if kind is not None and kind not in KINDS:
        raise CacheError(f"a cache's store is one of {', '.join(KINDS)}, but got {kind!r}")
    if is_url(path):
        return _create_remote(mirror_of(str(path), spool), kind)
    path = Path(path)
    if spool is not None:
        raise CacheError(f"{path} is a folder of this machine, in which shards are written at once; leave --spool out")
    if is_cache(path):
        return _of_kind(open_cache(path), kind)
    _require_free(path)
    wanted = kind or default_kind(path)
    store_kind(wanted).refuse(path)
    make_folder(path)
    with brief_lock(path):
        if is_cache(path):  # another process made it just now
            return _of_kind(open_cache(path), kind)
        _require_free(path)
        write_atomic(path / MARK, _mark(wanted))
    return Cache(path, wanted)


def default_kind(path: str | Path) -> str:
    """The kind of store of a new cache at a place."""
    return next(name for name in KINDS if not is_url(path) or store_kind(name).stand_in is not None)


def _create_remote(mirror: Mirror, kind: str | None) -> Cache:
    """Open or make a cache below a URL; of several processes that make one, the first one's marker stays."""
    occupied = mirror.pull()
    if not is_cache(mirror.path):
        if occupied:
            raise CacheError(f"{mirror.url} holds objects, and is no srcache cache; choose a place that is empty")
        wanted = kind or default_kind(mirror.url)
        if store_kind(wanted).stand_in is None:
            raise CacheError(
                f"a cache below a URL keeps its images in {default_kind(mirror.url)}, not in {wanted}, which needs a "
                f"disk; leave the store out, or choose a folder instead of {mirror.url}"
            )
        mirror.objects.put(MARK, _mark(wanted).encode())
        mirror.pull()
    return _of_kind(_opened(mirror.path, mirror), kind)


def _mark(kind: str) -> str:
    return json.dumps({"format": FORMAT, "store": kind}) + "\n"


def _of_kind(cache: Cache, kind: str | None) -> Cache:
    if kind not in (None, cache.kind):
        raise CacheError(
            f"{cache.place} keeps its images in {cache.kind}, not in {kind}; leave the store out, or use a new folder"
        )
    return cache


def _require_free(path: Path) -> None:
    """Refuse a folder that holds something and is no cache."""
    with reading(path):
        occupied = path.exists() and (not path.is_dir() or any(not _is_torn_mark(inner) for inner in path.iterdir()))
    if occupied and not is_cache(path):
        raise CacheError(f"{path} exists, is not empty, and is no srcache cache; choose a new or an empty folder")


def _holds(path: Path, *patterns: str) -> bool:
    """Whether a folder holds such a file; of one that may not be entered, whether it is named like a recipe's.

    Raises:
        MachineError: a limit of the system is in the way.
    """
    try:
        return any(paths_in(path, pattern) for pattern in patterns)
    except MachineError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        return bool(_NAME.search(path.name))


def _is_torn_mark(path: Path) -> bool:
    """Whether this is what a crash leaves of a marker that was being written."""
    return path.name.startswith(f".{MARK}.")


def find_folder(cache: str | Path | Cache, recipe: str | Recipe | None) -> RecipeFolder:
    """A recipe's folder in a cache; without a recipe, the only one; the process may change its folder later.

    Raises:
        CacheError: no such cache or recipe, or several and none was named.
    """
    cache = lasting(cache)
    return (cache if isinstance(cache, Cache) else open_cache(cache, notes=False)).find(recipe)


def lasting(cache: Any) -> str | Path | Cache:
    """A cache by a path from the root of the file system, which stays the same when the process changes its folder.

    Raises:
        CacheError: it is no path, no URL and no Cache.
    """
    if isinstance(cache, Cache):
        return replace(cache, path=cache.home)
    if not isinstance(cache, str | Path):
        raise CacheError(f"a cache is a folder that `srcache build` made, or a URL, but got {cache!r}")
    return cache if is_url(cache) else Path(os.path.abspath(cache))
