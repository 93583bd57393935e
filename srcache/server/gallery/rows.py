"""What a gallery of a cache shows: a row for each SR image, also for those that failed or are not made yet.

Rows come from what the cache keeps beside its images: catalogs, receipts and journals of failures. No image is read.
What is damaged of these is said in a sentence, and left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from srcache.cache.failures import FailedEntry, readable_journals
from srcache.cache.manifest import Cache, RecipeFolder
from srcache.cache.receipts import KeptCatalog, KeptRow, asked_for, readable_catalogs, readable_receipts, wanted_names
from srcache.keys import ImageKey, split_name
from srcache.stores import Store

ABSENT = "not made yet"
"""The state of an image that was asked for, is not stored, and has not failed."""


class GalleryRow(NamedTuple):
    """One SR image.

    Attributes:
        entry: its name in the store.
        name: the source image's in a catalog; empty where none has it.
        label: the source image's class; empty where there is none.
        state: empty if it is stored; else why it is not: the reason of a failure, or `ABSENT`.
        detail: a sentence about a failure.
        others: further names of the same image.
    """

    entry: str
    name: str
    label: str
    state: str = ""
    detail: str = ""
    others: tuple[str, ...] = ()

    @property
    def key(self) -> ImageKey:
        """The source image's key."""
        return split_name(self.entry)[0]

    @property
    def title(self) -> str:
        """What people call it: the source image's name, or the key; a later sample with its number."""
        sample = split_name(self.entry)[1]
        return f"{self.name or self.key}{f'#{sample}' if sample else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRows:
    """All rows, in the order of the catalogs, and sentences about what could not be read."""

    rows: tuple[GalleryRow, ...]
    warnings: tuple[str, ...]


def gallery_rows(cache: Cache, folder: RecipeFolder, store: Store | None) -> GalleryRows:
    """The rows of a recipe; `store` is None where nothing was built yet."""
    catalogs, damaged = readable_catalogs(cache)
    problems = [*damaged.values(), *readable_receipts(folder.path)[1].values()]
    problems += readable_journals(folder.path).values()
    asked = asked_for(folder.path)
    known = _by_key([one for one in catalogs if one.digest in asked] or catalogs)
    stored = set(store.names()) if store is not None else set()
    failed = {name: one for name, one in folder.failures().items() if name not in stored}
    every = filter(_is_entry, {*stored, *failed, *wanted_names(folder.path, catalogs)})
    order, last = {key: place for place, key in enumerate(known)}, len(known)
    names = sorted(every, key=lambda name: (order.get(_key(name), last), name))
    rows = (_row(name, known.get(_key(name), []), name in stored, failed.get(name)) for name in names)
    return GalleryRows(rows=tuple(rows), warnings=tuple(str(problem) for problem in problems))


def _row(name: str, sources: Sequence[KeptRow], is_stored: bool, failure: FailedEntry | None) -> GalleryRow:
    shown = [source.name for source in sources] or [failure.source if failure else ""]
    state, detail = (failure.reason, failure.detail) if failure else (ABSENT, "")
    return GalleryRow(
        entry=name,
        name=shown[0],
        label=sources[0].label if sources else "",
        state="" if is_stored else state,
        detail="" if is_stored else detail,
        others=tuple(shown[1:]),
    )


def _by_key(catalogs: Iterable[KeptCatalog]) -> dict[str, list[KeptRow]]:
    """The rows of each image, of which several may have different names."""
    found: dict[str, list[KeptRow]] = {}
    for catalog in catalogs:
        for row in catalog.rows:
            rows = found.setdefault(row.key, [])
            if all(row.name != other.name for other in rows):
                rows.append(row)
    return found


def _key(name: str) -> str:
    return name.rpartition("-")[0]


def _is_entry(name: str) -> bool:
    """Whether this is an entry's name; a journal has lines about files without a key, and may be damaged."""
    try:
        split_name(name)
    except ValueError:
        return False
    return True
