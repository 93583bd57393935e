"""A gallery that is open: its rows, what is known of each, and the images behind them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcache.cache.failures import journals_of
from srcache.cache.manifest import RecipeFolder, open_cache
from srcache.cache.receipts import store_of
from srcache.dataset.scores import TABLE, LabelScore, read_scores
from srcache.errors import DamagedError
from srcache.files.documents import json_text
from srcache.files.folders import paths_in
from srcache.files.locks import ForkLock
from srcache.server.gallery.index import GalleryIndex, shown_number
from srcache.server.gallery.pictures import KINDS, Pictures, open_pictures
from srcache.server.gallery.quality import read_quality
from srcache.server.gallery.rows import GalleryRow, gallery_rows
from srcache.stores import Record, sides_in

Item = dict[str, Any]
"""What a page is told of a row, as plain JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySettings:
    """What a gallery shows.

    Attributes:
        cache: a cache directory, or a URL.
        recipe: name, fingerprint or folder; None where the cache holds only one.
        lr: the folder of the source images, where these are LR.
        hr: the folder of HR images: the source images if the recipe has a degradation, else paired by relative name.
        quality: a table of `srcache eval images`, or its folder.
        seed: of the mixed order, and of what a file shows.
    """

    cache: Path | str
    recipe: str | None = None
    lr: Path | None = None
    hr: Path | None = None
    quality: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A gallery that is open; see `OpenGallery`. Threads may share it.

    Attributes:
        settings: what is shown.
        folder: of the recipe.
        index: the rows, and how they are chosen.
        pictures: the images behind them.
        warnings: sentences about what is damaged.
    """

    settings: GallerySettings
    folder: RecipeFolder
    index: GalleryIndex
    pictures: Pictures
    warnings: tuple[str, ...]

    def item(self, place: int) -> Item:
        """What is known of a row: its title, its state in a word and in a sentence, facts, and its size if it is whole.

        Reads the stored entry, and compares it with its checksums; decodes nothing.
        """
        row = self.index.rows[place]
        state, detail, record = "", "", Record()
        if row.state:
            state, detail = row.state, row.detail or f"{row.title}: {row.state}"
        else:
            try:
                record = self.pictures.entry(row)[1]
            except DamagedError as error:
                state, detail = "damaged", str(error)
        return {
            "entry": row.entry,
            "title": row.title,
            "state": state,
            "detail": detail,
            "size": _size(record),
            "facts": [[term, value] for term, value in self._facts(place, row, record) if value],
        }

    def _facts(self, place: int, row: GalleryRow, record: Record) -> Iterator[tuple[str, str]]:
        yield "Class", row.label
        yield "Size", " → ".join(" × ".join(map(str, size)) for size in (_size(record, "lr"), _size(record)) if size)
        for name, value in self.index.numbers(place):
            yield name, shown_number(value)
        if (score := self.index.score(place)) is not None:
            yield from _safety_facts(score)
        if notes := record.get("notes"):
            yield "Notes", json_text(notes, sort_keys=True)
        yield "Also named", ", ".join(row.others)
        yield "Entry", row.entry


class OpenGallery:
    """A cache's recipe that is open for looking at it: a context manager that reads its rows anew where it has grown.

    Nothing is ever written.

    Args:
        settings: what is shown.

    Raises:
        CacheError: no such cache or recipe; a folder is none, or belongs to another recipe.
        CatalogError: a name stands for several HR images.
        ConfigError: the table of quality is none.
        DamagedError: the store cannot be opened.
    """

    def __init__(self, settings: GallerySettings) -> None:
        self._settings = settings
        self._quality = read_quality(settings.quality) if settings.quality is not None else {}
        self._cache = open_cache(settings.cache)
        self._folder = self._cache.find(settings.recipe)
        self._store = store_of(self._folder)
        self._lock = ForkLock()
        self._seen, self._gallery = self._state(), self._read()

    def __enter__(self) -> "OpenGallery":
        return self

    def __exit__(self, *rest: object) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def gallery(self) -> Gallery:
        """The gallery as it was read last."""
        return self._gallery

    def refresh(self) -> Gallery:
        """The gallery, read anew if something was added to the cache since."""
        with self._lock:
            if self._store is None:
                self._store = store_of(self._folder)
            if (now := self._state()) != self._seen:
                self._seen, self._gallery = now, self._read()
            return self._gallery

    def _state(self) -> tuple[object, ...]:
        """What differs when something was added."""
        home = self._folder.path
        files = [home / TABLE, *journals_of(home), *paths_in(home / "receipts", "*.json")]
        sizes = [(path.name, path.stat().st_size) for path in files if path.exists()]
        return len(self._store) if self._store is not None else 0, *sizes

    def _read(self) -> Gallery:
        found = gallery_rows(self._cache, self._folder, self._store)
        scores, trouble = _scores(self._folder)
        settings = self._settings
        pictures = open_pictures(self._folder, self._store, found.rows, settings.lr, settings.hr)
        return Gallery(
            settings=settings,
            folder=self._folder,
            index=GalleryIndex(found.rows, scores, self._quality, settings.seed),
            pictures=pictures,
            warnings=(*found.warnings, *trouble, *_strange_folders(pictures, found.rows, settings)),
        )


def _strange_folders(pictures: Pictures, rows: Sequence[GalleryRow], settings: GallerySettings) -> Iterator[str]:
    """A sentence about each folder that was named and has an image of no row."""
    for kind, folder in (("lr", settings.lr), ("hr", settings.hr)):
        if folder is not None and rows and not any(pictures.might_have(row, kind) for row in rows):
            first = next((row.name for row in rows if row.name), None)
            wanted = f"no image such as {first}" if first else "no image by name, since the cache knows no names"
            yield f"no {KINDS[kind]} is shown: {folder} has {wanted}; name the folder that the names begin in"


def _scores(folder: RecipeFolder) -> tuple[dict[str, LabelScore], tuple[str, ...]]:
    """What `srcache safety` measured, by entry; or why it cannot be read."""
    try:
        table = read_scores(folder.path)
    except DamagedError as error:
        return {}, (str(error),)
    return ({score.name: score for score in table.rows} if table is not None else {}), ()


def _safety_facts(score: LabelScore) -> Iterator[tuple[str, str]]:
    said = [(kind, label) for kind, label in zip(KINDS, (score.lr_label, score.sr_label, score.hr_label), strict=True)]
    yield "Classifier", ", ".join(f"{KINDS[kind]}: {label}" for kind, label in said if label)
    yield "Back-projection", shown_number(score.back_projection)


def _size(record: Record, field: str = "size") -> tuple[int, int] | None:
    """(width, height) that a record says."""
    found = sides_in(record, field)
    return (found[1], found[0]) if found else None
