"""The images behind a row of a gallery: SR from the store, LR and HR from the folders that the user named.

A cache knows its source images by key and name, but not where they are. A file that has another key than the row is not
shown: wrong pairs are worse than none. Names in a cache may come from strangers, and never lead out of a folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srcache.cache.manifest import RecipeFolder
from srcache.cache.receipts import KeptRow
from srcache.catalog.pairing import hr_candidates
from srcache.errors import DamagedError, ImageError
from srcache.images import Pixels, decode, decode_both, read_file
from srcache.maintain.export import is_below
from srcache.maintain.training_sources import Sample, require_roles, source_bytes
from srcache.server.gallery.rows import GalleryRow
from srcache.stores import Record, Store, whole

KINDS = {"lr": "LR", "sr": "SR", "hr": "HR"}
"""What is shown of a row, from left to right, and what it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Reads the images of rows. Keeps no state: threads may share it.

    Attributes:
        folder: of the recipe.
        store: holds SR; None where nothing was built yet.
        source: the folder of the source images, if the user named it.
        hr: HR files by the source image's name, where HR is not the source.
        kinds: which of `KINDS` can be there.
    """

    folder: RecipeFolder
    store: Store | None
    source: Path | None
    hr: dict[str, Path]
    kinds: tuple[str, ...]

    def entry(self, row: GalleryRow) -> tuple[bytes, Record]:
        """A stored image and its record.

        Raises:
            DamagedError: it is not what was written, or cannot be read.
        """
        if self.store is None:
            raise DamagedError(f"{self.folder.place} holds no images")
        return whole(self.store, row.entry, where=self.folder.place)

    def pixels(self, row: GalleryRow, kind: str) -> Pixels:
        """One of a row's images.

        Raises:
            ImageError: it is not there, or cannot be read.
            DamagedError: SR is not what was written.
        """
        if kind == "sr":
            return decode(self.entry(row)[0])
        if kind == "hr" and self.folder.recipe.degradation is None:
            path = next((self.hr[name] for name in _names(row) if name in self.hr), None)
            if path is None:
                raise ImageError("no_hr", "there is no HR image of its name")
            return decode_both(read_file(path), self.folder.recipe.colors).rgb
        source = self._source(row)
        degradation = self.folder.recipe.degradation
        return degradation.apply(source) if degradation is not None and kind == "lr" else source

    def might_have(self, row: GalleryRow, kind: str) -> bool:
        """Whether a row may have such an image, as far as can be said without reading one."""
        if kind == "sr":
            return not row.state
        if kind == "hr" and self.folder.recipe.degradation is None:
            return any(name in self.hr for name in _names(row))
        return self._file(row) is not None

    def _source(self, row: GalleryRow) -> Pixels:
        path = self._file(row)
        if path is None:
            raise ImageError("missing", "the source image is not in the folder that was named")
        sample = Sample(row=KeptRow(row.key, row.name, row.label), source=path)
        return decode_both(source_bytes(sample), self.folder.recipe.colors).rgb

    def _file(self, row: GalleryRow) -> Path | None:
        """The file of a source image, by the first of its names that is there."""
        if self.source is None:
            return None
        paths = (self.source / name for name in _names(row) if is_below(name))
        return next((path for path in paths if path.exists()), None)


def _names(row: GalleryRow) -> tuple[str, ...]:
    return (row.name, *row.others)


def open_pictures(
    folder: RecipeFolder, store: Store | None, rows: Sequence[GalleryRow], lr: Path | None, hr: Path | None
) -> Pictures:
    """The images behind rows.

    Args:
        folder, store: of the recipe.
        rows: all of them.
        lr: the folder of the source images, where these are LR.
        hr: the folder of HR images: the source images if the recipe has a degradation, else paired by relative name
            without suffix.

    Raises:
        CacheError: a folder is none, or the recipe makes LR itself.
        CatalogError: a name stands for several HR images.
    """
    require_roles(folder.recipe, lr, hr)
    if folder.recipe.degradation is not None:
        made = tuple(KINDS) if hr is not None else ("sr",)
        return Pictures(folder=folder, store=store, source=hr, hr={}, kinds=made)
    pairs: dict[str, Path] = {}
    if hr is not None:
        names = list(dict.fromkeys(name for row in rows for name in _names(row) if name))
        found = zip(names, hr_candidates(names, hr), strict=True)
        pairs = {name: path for name, path in found if path is not None}
    kinds = (*(["lr"] if lr is not None else []), "sr", *(["hr"] if hr is not None else []))
    return Pictures(folder=folder, store=store, source=lr, hr=pairs, kinds=kinds)
