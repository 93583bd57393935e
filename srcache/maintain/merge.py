"""`srcache merge`: several caches into one. The first write of a name wins; no source is ever changed.

What is stored under a name is decided by the order alone: the destination's own entries, then the sources as they are
given. A source whose entry has other pixels is a conflict, which is counted and listed. Entries are committed in
batches, and what is there already is only compared, so a merge that was killed is gone on with by running it again.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from srcache.cache.failures import FailedEntry, failures_by_reason
from srcache.cache.manifest import Cache, RecipeFolder, create_cache, is_cache, open_cache
from srcache.cache.receipts import readable_catalogs, wanted_names
from srcache.errors import CacheError, DamagedError, Mistakes
from srcache.files import lock, real_path
from srcache.files.urls import checked_url, is_url
from srcache.maintain.copy_entries import Copied, copy_entries
from srcache.maintain.copy_notes import copy_catalogs, copy_notes, copy_safety
from srcache.progress import Progress, throttled
from srcache.stores import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRecipe:
    """What became of one recipe.

    Attributes:
        folder: the recipe's folder in the destination.
        entries: what it holds now.
        added, same: entries of the sources that are new, and that were there already with the same pixels.
        failed: entries of the sources that were not taken, counted by reason; `conflict` for those with other pixels.
        absent: entries that runs were asked for, but that none of the caches has.
    """

    folder: str
    entries: int
    added: int
    same: int
    failed: dict[str, int] = field(default_factory=dict)
    absent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What was merged into `path`; `failures` lists what was not taken, `notes` what else there is to know."""

    path: Path | str
    store: str
    recipes: tuple[MergedRecipe, ...]
    failures: tuple[FailedEntry, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def added(self) -> int:
        """New entries of all recipes."""
        return sum(recipe.added for recipe in self.recipes)


def merge(
    sources: Sequence[str | Path],
    into: str | Path,
    recipe: str | None = None,
    *,
    store: str | None = None,
    shard_bytes: int | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Copy what caches hold into one: images, their records and aliases, catalogs, receipts, failures, label safety.

    Recipes are the same where their fingerprints are. An image that was stored without loss keeps its pixels where
    the stores encode differently (QOI, PNG), one that was not keeps its bytes. One source with many small shards makes
    large shards of them.

    Args:
        sources: caches, the first of which wins.
        into: a new or empty folder, or a cache, which wins over all.
        recipe: name, fingerprint or folder; None merges all recipes.
        store: the kind of a new cache; None takes that of the first source.
        shard_bytes: size of a shard, where the store consists of shards.
        progress: called with (done, total) entries.

    Raises:
        CacheError: a source is no cache, or is there twice, or lies where `into` does; or there is nothing to merge.
        BusyError: one of the recipes is being filled.
        DiskFullError: no room; what was committed stays, and the next run goes on.
    """
    caches = _opened(sources, into)
    kind = open_cache(into).kind if is_cache(into) and store is None else store or caches[0].kind
    if shard_bytes is not None and kind != "shards":
        raise CacheError(f"{into} keeps its images in {kind}, which has no shards; leave --shard-bytes out")
    groups, failures = _groups(caches, recipe)
    target = create_cache(into, kind)
    show, merged, notes = _Total(throttled(progress)), list[MergedRecipe](), list[str]()
    for cache in caches:
        failures += copy_catalogs(cache, target)
    for folders in groups:
        home = target.add(folders[0].recipe)
        home = home if home.mirror is None else home.as_writer()  # below a URL, a journal has one writer
        with lock(home.path), closing(home.store(writable=True, shard_bytes=shard_bytes)) as opened:
            one, failed, note = _merged(folders, home, opened, show, shard_bytes)
            absent = _absent(target, home, opened)
            merged.append(_report(one, home, opened, absent))
        failures += [*failed, *one.failures]
        notes += [note] if note else []
    target.push()
    return MergeReport(
        path=target.place, store=target.kind, recipes=tuple(merged), failures=tuple(failures), notes=tuple(notes)
    )


class _Total:
    """Adds up the progress of one copy after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._before = progress, 0

    def begun(self) -> Callable[[int, int], None]:
        """The progress of the next copy."""
        before = self._before

        def step(done: int, total: int) -> None:
            self._progress(before + done, before + total)
            self._before = before + done

        return step


def _opened(sources: Sequence[str | Path], into: str | Path) -> list[Cache]:
    """The sources as caches.

    Raises:
        CacheError: one is none, all mistakes at once.
    """
    mistakes, caches, seen = Mistakes(), list[Cache](), dict[str, str | Path]()
    mistakes.require(sources, "expected at least one cache to merge, but got none")
    goal = _real(into)
    for source in sources:
        real = _real(source)
        if real in seen:
            mistakes.note(f"{source} is named twice (it is {seen[real]}); name each cache once")
        elif goal == real:
            mistakes.note(f"{source} is also where to merge into; its own entries stay there, so leave it out")
        elif f"{goal}/".startswith(f"{real}/"):
            mistakes.note(f"{into} lies in {source}, which must not change; merge into another place")
        seen[real] = source
        with mistakes.noting():
            caches.append(open_cache(source))
    mistakes.raise_as(CacheError, "these caches cannot be merged")
    return caches


def _real(place: str | Path) -> str:
    """One name for each place."""
    return checked_url(str(place)) if is_url(place) else str(real_path(Path(place)))


def _groups(caches: Sequence[Cache], recipe: str | None) -> tuple[list[list[RecipeFolder]], list[FailedEntry]]:
    """The folders to merge, those of one recipe together in the order of their caches; and those that cannot be read.

    Raises:
        CacheError: a cache does not hold the recipe that was named, or there is none at all.
    """
    groups, damaged, mistakes = dict[str, list[RecipeFolder]](), list[FailedEntry](), Mistakes()
    for cache in caches:
        homes = list[Path]()
        with mistakes.noting():
            homes = cache.paths() if recipe is None else [cache.path_of(recipe)]
        for home in homes:
            try:
                folder = cache.folder(home)
            except DamagedError as error:
                damaged.append(FailedEntry("", str(home), "damaged", str(error)))
                continue
            groups.setdefault(folder.recipe.fingerprint, []).append(folder)
    mistakes.raise_as(CacheError, "not every cache holds the recipe")
    if not groups:
        names = ", ".join(str(cache.path) for cache in caches)
        raise CacheError(
            f"there is nothing to merge: {names} {'hold' if len(caches) > 1 else 'holds'} no recipe that can be read"
        )
    return list(groups.values()), damaged


def _merged(
    folders: Sequence[RecipeFolder], home: RecipeFolder, store: Store, show: _Total, shard_bytes: int | None
) -> tuple[Copied, list[FailedEntry], str | None]:
    """Copy one recipe from all its folders; returns what became of entries, unreadable receipts, and a note."""
    total, unread = Copied(), list[FailedEntry]()
    for folder in folders:
        copied = copy_entries(folder, home, store, show.begun(), shard_bytes)
        total.added, total.same = total.added + copied.added, total.same + copied.same
        total.failures += copied.failures
        unread += copy_notes(folder, home)
    conflicts = any(failed.reason == "conflict" for failed in total.failures)
    return total, unread, copy_safety(folders, home, conflicts)


def _absent(target: Cache, home: RecipeFolder, store: Store) -> int:
    """Entries that the recipe's runs were asked for, but that are not there."""
    return sum(not store.has(name) for name in set(wanted_names(home.path, readable_catalogs(target)[0])))


def _report(copied: Copied, home: RecipeFolder, store: Store, absent: int) -> MergedRecipe:
    return MergedRecipe(
        folder=home.path.name,
        entries=len(store),
        added=copied.added,
        same=copied.same,
        failed=failures_by_reason(copied.failures),
        absent=absent,
    )
