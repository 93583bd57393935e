"""`srcache info`: what is in a cache, counted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from srcache.cache.failures import failures_by_reason, readable_journals
from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.cache.receipts import (
    KeptCatalog,
    asked_for,
    parts_asked_for,
    readable_catalogs,
    readable_receipts,
    store_of,
)
from srcache.catalog.parts import parts_of
from srcache.errors import DamagedError, MachineError, SrcacheError
from srcache.images import suffix_of
from srcache.keys import ImageKey
from srcache.maintain.check_process import Finding, damage_findings


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRun:
    """One run of `build`, as its receipt says: when it ended (UTC), and what it did."""

    ended: str
    added: int
    failed: int
    seconds: float
    device: str | None
    interrupted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a kept catalog a recipe has: `covered` of its different `images` have all samples asked for.

    `missing_parts` are those (`0/8`) of which images have neither been made nor failed, if the last build made a part.
    """

    digest: str
    images: int
    covered: int
    missing_parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeInfo:
    """One recipe of a cache.

    Attributes:
        folder, recipe: the folder's name, and every field of the recipe.
        entries, images: stored SR images, and the different source images that they were made of.
        samples: most samples per image that a run asked for.
        codec: the format of the stored images, taken from the first one; None if there is none.
        failed: entries that failed and are still not there, counted by reason.
        writing: ids of the writers whose shards are not complete, whether they live or not.
    """

    folder: str
    recipe: dict[str, Any]
    entries: int = 0
    images: int = 0
    samples: int = 1
    bytes: int = 0
    codec: str | None = None
    failed: dict[str, int] = field(default_factory=dict)
    writing: tuple[str, ...] = ()
    runs: tuple[BuildRun, ...] = ()
    catalogs: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """What is in a cache; `damaged` says what could not be read, and `bytes` counts everything in the directory."""

    path: Path | str
    store: str
    bytes: int
    recipes: tuple[RecipeInfo, ...]
    damaged: tuple[Finding, ...] = ()


def info(path: str | Path) -> CacheInfo:
    """What is in a cache. Of the stores, little more than names is read.

    Raises:
        CacheError: the folder is no cache.
    """
    cache = open_cache(path)
    catalogs, unread = readable_catalogs(cache)
    recipes, damaged = [], dict[Path, SrcacheError](unread)
    for home in cache.paths():
        damaged |= readable_receipts(home)[1] | readable_journals(home)
        try:
            recipes.append(_recipe_info(cache, cache.folder(home), catalogs))
        except (DamagedError, MachineError) as error:
            damaged[home] = error
    return CacheInfo(
        path=cache.place,
        store=cache.kind,
        bytes=cache.size(),
        recipes=tuple(recipes),
        damaged=tuple(damage_findings(cache, damaged)),
    )


def _recipe_info(cache: Cache, folder: RecipeFolder, catalogs: Sequence[KeptCatalog]) -> RecipeInfo:
    samples = asked_for(folder.path)
    have = dict.fromkeys((row.key for catalog in catalogs for row in catalog.rows), 0)
    store = store_of(folder)
    entries = images = 0
    first, last = "", ""
    for name in store.names() if store else ():
        key = _key_of(name)
        first, entries, images, last = first or name, entries + 1, images + (key != last), key
        if key in have:
            have[key] += 1
    failed = {name: note for name, note in folder.failures().items() if store is None or not store.has(name)}
    return RecipeInfo(
        folder=folder.path.name,
        recipe=folder.recipe.to_dict(),
        entries=entries,
        images=images,
        samples=max(samples.values(), default=1),
        bytes=cache.size(folder.path),
        codec=suffix_of(store.get(first) or b"").lstrip(".") if store and first else None,
        failed=failures_by_reason(failed.values()),
        writing=tuple(folder.store_kind.unfinished(folder.store_path)),
        runs=tuple(_run(name, receipt) for name, receipt in readable_receipts(folder.path)[0].items()),
        catalogs=tuple(
            _coverages(catalogs, have, samples, _Parts(parts_asked_for(folder.path), {*map(_key_of, failed)}))
        ),
    )


class _Parts(NamedTuple):
    """How many parts each catalog was made in, and the images that failed, which no part tries again."""

    counts: Mapping[str, int]
    failed: Set[ImageKey]

    def missing(self, digest: str, lacking: Iterable[ImageKey]) -> tuple[str, ...]:
        """The parts of a catalog that images are in which it lacks."""
        count = self.counts.get(digest)
        indices = parts_of((key for key in lacking if key not in self.failed), count) if count else ()
        return tuple(f"{index}/{count}" for index in indices)


def _key_of(name: str) -> ImageKey:
    return ImageKey(name.rpartition("-")[0])


def _coverages(
    catalogs: Iterable[KeptCatalog], have: Mapping[ImageKey, int], samples: Mapping[str, int], parts: _Parts
) -> Iterator[Coverage]:
    """Of the catalogs that were asked for, or of which there is an image."""
    for catalog in catalogs:
        wanted, keys = samples.get(catalog.digest, 1), catalog.keys
        lacking = [key for key in keys if have[key] < wanted]
        if len(lacking) < len(keys) or catalog.digest in samples:
            yield Coverage(
                digest=catalog.digest,
                images=len(keys),
                covered=len(keys) - len(lacking),
                missing_parts=parts.missing(catalog.digest, lacking),
            )


def _run(name: str, receipt: Mapping[str, Any]) -> BuildRun:
    """Receipts of earlier versions say in their name alone when they were written."""
    day, clock = name[:8], name[9:15]
    named = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"
    return BuildRun(
        ended=str(receipt.get("ended", named)),
        added=receipt["added"],
        failed=sum(receipt["failed"].values()),
        seconds=receipt["seconds"],
        device=receipt["device"],
        interrupted=receipt["interrupted"],
    )
