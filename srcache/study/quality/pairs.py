"""Which image belongs to which reference: by name, never by order.

A name is a path relative to its folder, POSIX, without the suffix of the image (but with it where that alone tells two
images of the folder apart). The images of a cache are named by
the catalog that it was built from; of several catalogs, the one whose names fit the references is taken.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srcache.cache.manifest import Cache, RecipeFolder, is_cache, open_cache
from srcache.cache.receipts import KeptCatalog, KeptRow, asked_for, readable_catalogs, store_of
from srcache.catalog.listing import LOOP, list_folder, problem_summary
from srcache.catalog.names import in_one_form, pairing_names
from srcache.errors import CacheError, CatalogError, listed
from srcache.images import AS_EVER, Colors, Pixels, decode, read_file
from srcache.keys import entry_name
from srcache.stores import Store, whole

ReadImage = Callable[[], Pixels]
"""Reads and decodes one image."""

_MOST = 50


@dataclass(frozen=True, slots=True)
class ImagePair:
    """One image and its reference, if there is one, each read when it is called for."""

    name: str
    image: ReadImage
    reference: ReadImage | None


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs in the order of their names.

    Attributes:
        pairs: the pairs.
        recipe: the cache's folder that the images come from, if any.
        colors: how the colours of images in folders become RGB.
    """

    pairs: tuple[ImagePair, ...]
    recipe: str | None = None
    colors: Colors = AS_EVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Which of a cache's images are meant.

    Attributes:
        recipe: name, fingerprint or folder; may be left out where the cache holds only one.
        sample: which of several samples of an image.
        catalog: the start of a catalog's digest, where several fit.
        under: a folder within the names: only what lies there is meant, and named without it.
    """

    recipe: str | None = None
    sample: int = 0
    catalog: str | None = None
    under: str = ""


def pair_up(reference: Path | None, test: Path, pick: Pick, colors: Colors | None = None) -> Pairs:
    """Pair the images of a folder or a cache with those of a folder of references, or with none.

    Args:
        reference, test: where they are.
        pick: which images of a cache.
        colors: how the colours of images in folders become RGB; None: as the cache's recipe says, or as ever.

    Raises:
        CatalogError: a folder is none, has no images, has two of one name or some that cannot be listed; or names
            that only one of the two has.
        CacheError: no such recipe, sample or catalog.
    """
    folder = _recipe_folder(test, pick) if is_cache(test) or pick.recipe else None
    colors = colors or (folder[1].recipe.colors if folder else AS_EVER)
    references = None if reference is None else _folder_images(reference, colors)
    if folder is not None:
        images = _cache_images(*folder, pick, None if references is None else set(references))
    else:
        images = _folder_images(test / pick.under if pick.under else test, colors)
    recipe = folder[1].path.name if folder else None
    if references is None or reference is None:
        return Pairs(tuple(ImagePair(name, images[name], None) for name in sorted(images)), recipe, colors)
    _require_same(reference, references, test, images)
    pairs = (ImagePair(name, images[name], references[name]) for name in sorted(references))
    return Pairs(tuple(pairs), recipe, colors)


def _recipe_folder(path: Path, pick: Pick) -> tuple[Cache, RecipeFolder]:
    """A cache, and the folder in it of the recipe that is meant."""
    cache = open_cache(path)
    return cache, cache.folder(cache.path_of(pick.recipe))


def _folder_images(path: Path, colors: Colors) -> dict[str, ReadImage]:
    """The images of a folder by name."""
    if not path.is_dir():
        raise CatalogError(f"expected a folder of images, but {path} is none")
    found = list_folder(path)
    if problems := [problem for problem in found.problems if problem.reason != LOOP]:
        raise CatalogError(f"{path} has files that cannot be paired{problem_summary(problems)}")
    if not found.files:
        raise CatalogError(f"expected images, but {path} has none; {found.ignored} other files lie there")
    names = pairing_names([file.name for file in found.files])
    _require_apart(path, names)
    return {name: partial(_read_image, file.path, colors) for name, file in zip(names, found.files, strict=True)}


def _cache_images(cache: Cache, folder: RecipeFolder, pick: Pick, wanted: set[str] | None) -> dict[str, ReadImage]:
    """The images of a recipe in a cache by the names of their source images."""
    store = store_of(folder)
    if store is None:
        raise CacheError(f"{folder.path} holds no images yet; `srcache build` makes them")
    catalog = _catalog(cache, folder, pick, wanted)
    rows = _rows(catalog, pick.under)
    _require_apart(Path(cache.place), pairing_names([row.name for row in catalog.rows]))
    stored = set(store.names())
    images = dict[str, ReadImage]()
    for name, row in rows.items():
        entry = entry_name(row.key, pick.sample)
        if entry in stored:
            images[name] = partial(_read_entry, store, entry, folder.path)
    return images


def _catalog(cache: Cache, folder: RecipeFolder, pick: Pick, wanted: set[str] | None) -> KeptCatalog:
    """The catalog whose names are those of the references; where none fits, the one with the most of them. Without
    references any of them fits."""
    catalogs = {catalog.digest: catalog for catalog in readable_catalogs(cache)[0]}
    asked = [digest for digest in asked_for(folder.path) if digest in catalogs] or list(catalogs)
    found = [catalogs[digest] for digest in asked if digest.startswith(pick.catalog or "")]
    if not found:
        raise CacheError(f"no catalog {pick.catalog or ''} is known that {folder.path} was built from; has: {asked}")
    names = {catalog.digest: set(_rows(catalog, pick.under)) for catalog in found}
    fits = [catalog for catalog in found if wanted is None or names[catalog.digest] == wanted]
    if len({frozenset((name, row.key) for name, row in _rows(one, pick.under).items()) for one in fits}) > 1:
        digests = ", ".join(catalog.digest for catalog in fits)
        raise CacheError(f"several catalogs of {folder.path} have these names; say which with --catalog: {digests}")
    return (
        fits[-1] if fits else max(reversed(found), key=lambda catalog: len(names[catalog.digest] & (wanted or set())))
    )


def _rows(catalog: KeptCatalog, under: str) -> dict[str, KeptRow]:
    """A catalog's rows below a folder of names, by name."""
    start = in_one_form(f"{under.strip('/')}/" if under.strip("/") else "")
    named = zip(pairing_names([row.name for row in catalog.rows]), catalog.rows, strict=True)
    return {name.removeprefix(start): row for name, row in named if name.startswith(start)}


def _require_apart(path: Path, names: Iterable[str]) -> None:
    counts = Counter(names)
    same = sorted(stem for stem, count in counts.items() if count > 1)
    if same:
        raise CatalogError(f"{path} has several images of one name (suffixes do not count): {listed(same)}")


def _require_same(reference: Path, references: Collection[str], test: Path, images: Collection[str]) -> None:
    missing, surplus = sorted(set(references) - set(images)), sorted(set(images) - set(references))
    summary = [f"{len(missing)} missing in {test}: {listed(missing, _MOST)}"] if missing else []
    summary += [f"{len(surplus)} surplus, not in {reference}: {listed(surplus, _MOST)}"] if surplus else []
    if summary:
        raise CatalogError(
            "images and references do not pair by name (suffixes count only where two "
            "images of a folder have nothing else to tell them apart); " + "; ".join(summary)
        )


def _read_image(path: Path, colors: Colors) -> Pixels:
    return decode(read_file(path), colors)


def _read_entry(store: Store, entry: str, where: Path) -> Pixels:
    return decode(whole(store, entry, where)[0])
