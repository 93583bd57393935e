"""What a cache directory says about itself: its format, recipes, catalogs, receipts and failures.

    CACHE/srcache.json              format version, store kind; its presence makes a folder a cache
    CACHE/catalogs/<digest>.csv     what was built from
    CACHE/<name>-<fingerprint>/     one recipe: recipe.yaml, the store, receipts/, failures.jsonl or failures/, lock

A recipe has a folder of its own because LMDB files never shrink: dropping the folder gives the disk back. Everything
but the store is small text, written in one step or appended line by line, and readable without srcache. Two processes
may make a cache or add to it at once: what both write has equal bytes, and what one alone writes has a name of its own.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from srcache.cache.failures import FailedEntry, append_failure, read_failures
from srcache.errors import BusyError, CacheError, DamagedError, MachineError, RecipeError, listed
from srcache.files import brief_lock, disk_errors, lock, write_atomic
from srcache.recipe.reading import dump, restore
from srcache.recipe.recipe import Recipe
from srcache.stores import KINDS, Store, StoreKind, StoreOptions, store_kind

FORMAT = 1
MARK = "srcache.json"


@dataclass(frozen=True, slots=True)
class RecipeFolder:
    """One recipe's folder in a cache: its store, its receipts, its journal of failures and its lock.

    Attributes:
        path: the folder, CACHE/<name>-<fingerprint>.
        kind: the name of the cache's kind of store.
        recipe: as recipe.yaml has it.
        writer: the id of this process where it fills the folder together with others; see `as_writer`.
    """

    path: Path
    kind: str
    recipe: Recipe
    writer: str | None = None

    def store(self, *, writable: bool = False, shard_bytes: int | None = None, take_over: str | None = None) -> Store:
        """Open the entries; `shard_bytes` and `take_over` as in `StoreOptions`."""
        options = StoreOptions(
            writable=writable, fingerprint=self.recipe.fingerprint, writer=self.writer, take_over=take_over
        )
        if shard_bytes is not None:
            options = replace(options, shard_bytes=shard_bytes)
        return self.store_kind.open(self.store_path, options)

    def as_writer(self) -> "RecipeFolder":
        """The folder for a process that fills it: where several may at once, with an id for all that it writes."""
        return replace(self, writer=uuid4().hex[:8]) if self.store_kind.shared else self

    @property
    def store_kind(self) -> StoreKind:
        """What the store can do beside holding entries."""
        return store_kind(self.kind)

    @property
    def store_path(self) -> Path:
        """Where the store lies."""
        return self.path / f"data.{self.kind}"

    def receipts(self) -> list[dict[str, Any]]:
        """What earlier runs wrote down, oldest first."""
        return [_json(path) for path in sorted((self.path / "receipts").glob("*.json"))]

    def write_receipt(self, receipt: dict[str, Any]) -> None:
        """Keep what a run did; a receipt is written once and never changed.

        Raises:
            MachineError: the folder was taken away.
        """
        if not self.path.is_dir():
            raise self._taken_away
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)  # one look at one clock: others may be a tick behind
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
        name = f"{stamp}-{nanoseconds:09d}-{uuid4().hex[:8]}.json"
        write_atomic(self.path / "receipts" / name, json.dumps(receipt, indent=1, sort_keys=True) + "\n")

    @property
    def samples(self) -> int:
        """Samples per image that this folder was built with, as far as receipts tell; at least 1."""
        return max((int(receipt.get("samples", 1)) for receipt in self.receipts()), default=1)

    def failures(self) -> dict[str, FailedEntry]:
        """The latest failure of each entry, with the number of tries; entries made since then are still listed."""
        return read_failures([self.path / "failures.jsonl", *sorted((self.path / "failures").glob("*.jsonl"))])

    def note_failure(self, failed: FailedEntry) -> None:
        """Append one failure to the journal, or to the writer's own where several fill the folder.

        Raises:
            MachineError: the folder was taken away.
        """
        journal = self.path / ("failures.jsonl" if self.writer is None else f"failures/{self.writer}.jsonl")
        try:
            with disk_errors(journal):
                if self.writer is not None:
                    journal.parent.mkdir(exist_ok=True)
                append_failure(journal, failed)
        except FileNotFoundError as error:
            raise self._taken_away from error

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the folder's lock, alone or with others, as the kind of store allows; see `files.lock`.

        Raises:
            BusyError: another process fills it, and only one may; or it is repaired, or was taken away.
        """
        with lock(self.path, shared=self.store_kind.shared) as alone:
            if not (self.path / "recipe.yaml").exists():
                raise BusyError(f"{self.path} was taken away a moment ago; run the same command again")
            yield alone

    @property
    def _taken_away(self) -> MachineError:
        return MachineError(f"{self.path} was taken away while it was being filled; run the same command again")


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache directory, opened by `open_cache` or made by `create_cache`: its recipes' folders and its catalogs.

    Attributes:
        path: as it was given, for messages and for work that is done at once.
        kind: of the store.
        place: the same from the root of the file system, for what lives on when the process changes its folder.
    """

    path: Path
    kind: str
    place: Path = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", Path(os.path.abspath(self.path)))

    def folders(self) -> list[RecipeFolder]:
        """Every recipe in the cache, by folder name."""
        return [self.folder(path) for path in self.paths() if (path / "recipe.yaml").exists()]

    def paths(self) -> list[Path]:
        """The folders that hold a recipe or images, readable or not; a hidden one is on its way out."""
        found = {path.parent for name in ("recipe.yaml", "data.*") for path in self.path.glob(f"*/{name}")}
        return sorted(path for path in found if not path.name.startswith("."))

    def find(self, recipe: str | Recipe | None = None) -> RecipeFolder:
        """A recipe's folder: by the recipe, its name, its fingerprint or the folder's name; None means the only one.

        Raises:
            CacheError: none or several fit.
            DamagedError: its description cannot be read.
        """
        return self.folder(self.path_of(recipe, [path for path in self.paths() if (path / "recipe.yaml").exists()]))

    def path_of(self, recipe: str | Recipe | None = None, among: Sequence[Path] | None = None) -> Path:
        """The path of a recipe's folder, as `find` takes it; the recipe need not be readable. Chosen from `among`.

        Raises:
            CacheError: none or several fit.
        """
        paths = self.paths() if among is None else among
        held = listed([path.name for path in paths]) or "no recipe yet"
        if recipe is None:
            if len(paths) != 1:
                raise CacheError(f"{self.path} holds {len(paths)} recipes ({held}); say which (recipe=, or --recipe)")
            return paths[0]
        if isinstance(recipe, Recipe):
            fits = [path for path in paths if path.name.endswith(f"-{recipe.fingerprint}")]
        else:
            fits = [path for path in paths if recipe in (path.name, *path.name.rpartition("-")[::2])]
        if len(fits) == 1:
            return fits[0]
        wanted = recipe.folder if isinstance(recipe, Recipe) else recipe
        if fits:
            raise CacheError(f"{self.path} holds several recipes named {wanted!r}; say which by fingerprint: {held}")
        raise CacheError(f"{self.path} holds no recipe {wanted!r}; it holds: {held}")

    def add(self, recipe: Recipe) -> RecipeFolder:
        """A recipe's folder, made if it is not there; also where others add the same at this moment."""
        if (folder := self._held(recipe)) is not None:
            return folder
        with brief_lock(self.path):
            if (folder := self._held(recipe)) is not None:
                return folder
            path = self.path / recipe.folder
            write_atomic(path / "recipe.yaml", dump(recipe))
        return RecipeFolder(path, self.kind, recipe)

    def _held(self, recipe: Recipe) -> RecipeFolder | None:
        return next((one for one in self.folders() if one.recipe.fingerprint == recipe.fingerprint), None)

    def keep_catalog(self, digest: str, text: str) -> None:
        """Keep a catalog's CSV under its digest."""
        path = self.path / "catalogs" / f"{digest}.csv"
        if not path.exists():
            write_atomic(path, text)

    def catalogs(self) -> dict[str, Path]:
        """The kept catalogs: digest → CSV file with the columns key, name, label (see `kept`)."""
        return {path.stem: path for path in sorted((self.path / "catalogs").glob("*.csv"))}

    def folder(self, path: Path) -> RecipeFolder:
        """The recipe in one of the cache's folders.

        Raises:
            DamagedError: its description cannot be read, or is another recipe's.
        """
        file = path / "recipe.yaml"
        try:
            recipe = restore(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError, RecipeError) as error:
            raise DamagedError(f"{file} is not a recipe that this srcache can read: {error}") from error
        if not path.name.endswith(recipe.fingerprint):
            raise DamagedError(
                f"{file} does not belong to its folder: it describes recipe {recipe.fingerprint}. "
                "Recipes are never edited in place; restore the file, or `srcache prune` the folder"
            )
        return RecipeFolder(path, self.kind, recipe)


def is_cache(path: str | Path) -> bool:
    """Whether a folder says that it is a cache."""
    return (Path(path) / MARK).is_file()


def open_cache(path: str | Path) -> Cache:
    """Open a cache directory.

    Raises:
        CacheError: it is none, or of another format.
        DamagedError: its marker cannot be read.
    """
    path = Path(path)
    if not is_cache(path):
        raise CacheError(f"{path} is no srcache cache (it has no {MARK}); `srcache build` makes one")
    mark = _json(path / MARK)
    if mark.get("format") != FORMAT or mark.get("store") not in KINDS:
        raise CacheError(
            f"{path} has cache format {mark.get('format')} with store {mark.get('store')!r}; "
            f"this srcache reads format {FORMAT} with {', '.join(KINDS)}; use the srcache that wrote it"
        )
    return Cache(path, str(mark["store"]))


def create_cache(path: str | Path, kind: str | None = None) -> Cache:
    """Open a cache directory, or make one in a folder that is empty or not there.

    `kind` None means what the cache has, or the default for a new one.

    Raises:
        CacheError: the folder holds something else, or a cache with another kind of store.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise CacheError(f"a cache's store is one of {', '.join(KINDS)}, but got {kind!r}")
    if is_cache(path):
        return _of_kind(open_cache(path), kind)
    _require_free(path)
    wanted = kind or KINDS[0]
    store_kind(wanted).refuse(path)
    with disk_errors(path / MARK):
        path.mkdir(parents=True, exist_ok=True)
    with brief_lock(path):
        if is_cache(path):  # another process made it just now
            return _of_kind(open_cache(path), kind)
        _require_free(path)
        write_atomic(path / MARK, json.dumps({"format": FORMAT, "store": wanted}) + "\n")
    return Cache(path, wanted)


def _of_kind(cache: Cache, kind: str | None) -> Cache:
    if kind not in (None, cache.kind):
        raise CacheError(
            f"{cache.path} keeps its images in {cache.kind}, not in {kind}; leave the store out, or use a new folder"
        )
    return cache


def _require_free(path: Path) -> None:
    """Refuse a folder that holds something and is no cache."""
    occupied = path.exists() and (not path.is_dir() or any(not _is_torn_mark(inner) for inner in path.iterdir()))
    if occupied and not is_cache(path):
        raise CacheError(f"{path} exists, is not empty, and is no srcache cache; choose a new or an empty folder")


def _is_torn_mark(path: Path) -> bool:
    """Whether this is what a crash leaves of a marker that was being written."""
    return path.name.startswith(f".{MARK}.")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DamagedError(f"{path} must hold a JSON object, but holds {type(found).__name__}")
    return found


def find_folder(cache: str | Path | Cache, recipe: str | Recipe | None) -> RecipeFolder:
    """A recipe's folder in a cache; without a recipe, the only one; the process may change its folder later.

    Raises:
        CacheError: no such cache or recipe, or several and none was named.
    """
    if not isinstance(cache, str | Path | Cache):
        raise CacheError(f"a cache is a folder that `srcache build` made, but got {cache!r}")
    opened = cache if isinstance(cache, Cache) else open_cache(cache)
    return replace(opened, path=opened.place).find(recipe)
