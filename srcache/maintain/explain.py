"""Why an image hits or misses: its key, what is stored under it, and which field of the recipe stands in the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.cache.receipts import KeptCatalog, KeptRow, asked_for, readable_catalogs, store_of
from srcache.errors import ImageError, RecipeError, WeightsError
from srcache.images import Colors, decode_both, read_file
from srcache.keys import ImageKey, image_key, split_name
from srcache.recipe.reading import load_recipe
from srcache.recipe.recipe import Recipe
from srcache.stores import Store

_MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a recipe that differs: what was asked for, and what the cache has."""

    field: str
    asked: Any
    cached: Any

    def __str__(self) -> str:
        return f"{self.field} (asked {self.asked}, cached {self.cached})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRecipe:
    """A recipe that the cache holds instead, how it differs, and which samples of the image it has."""

    folder: str
    differences: tuple[Difference, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a cache knows about an image.

    Attributes:
        key: of the file's bytes (`b2sum -l 128`); what it is looked up by.
        problem: why the file cannot be decoded, if that is so.
        recipe: the folder of the recipe that was asked for; `held` says whether the cache has it.
        samples: what is stored of the image under that recipe.
        same_pixels: another key under which that recipe has the same pixels, if that is so.
        wanted: samples that the recipe's runs asked for; 0 if none of their catalogs has the image.
        names: the image's names in the catalogs that the cache keeps; `namesakes` are files of the same name that
            are other images.
        failure: the last time that it failed under this recipe.
        others: the cache's other recipes, the most similar first.
    """

    image: Path
    key: ImageKey
    problem: str | None
    recipe: str
    held: bool
    samples: tuple[int, ...]
    same_pixels: ImageKey | None
    wanted: int
    names: tuple[str, ...]
    namesakes: tuple[str, ...]
    failure: FailedEntry | None
    others: tuple[OtherRecipe, ...]

    @property
    def hit(self) -> bool:
        """Whether anything is stored of the image under the recipe."""
        return bool(self.samples)

    @property
    def why(self) -> str:
        """The answer in one sentence."""
        return "it is stored" if self.hit else _why(self)


def explain(
    path: str | Path, image: str | Path, recipe: str | Recipe, changes: Mapping[str, Any] | None = None
) -> Explanation:
    """Say what a cache has of an image under a recipe, and on a miss, why.

    Args:
        path: the cache.
        image: the file.
        recipe: a recipe; or the folder or fingerprint of one in the cache, a shipped name, a YAML file, or the name of
            one in the cache.
        changes: fields to change of a shipped recipe or a file, as for `load_recipe`.

    Raises:
        CacheError: the folder is no cache.
        RecipeError: there is no such recipe.
        ImageError: the file cannot be read at all.
        DamagedError: the cache cannot be read.
    """
    cache = open_cache(path)
    asked = recipe if isinstance(recipe, Recipe) else find_recipe(cache, recipe, changes or {})
    key, pixels, problem = _keys(Path(image), asked.colors)
    folders = cache.readable()
    mine = next((folder for folder in folders if folder.recipe.fingerprint == asked.fingerprint), None)
    if mine is None and (damaged := [path for path in cache.paths() if path.name.endswith(f"-{asked.fingerprint}")]):
        cache.folder(damaged[0])  # which says what is wrong with it
    store = store_of(mine) if mine else None
    catalogs = readable_catalogs(cache)[0]
    rest = sorted((folder for folder in folders if folder is not mine), key=lambda one: one.recipe.name != asked.name)
    others = sorted((_other(folder, asked, key) for folder in rest), key=lambda other: len(other.differences))
    return Explanation(
        image=Path(image),
        key=key,
        problem=problem,
        recipe=mine.path.name if mine else asked.folder,
        held=mine is not None,
        samples=_samples(store, key),
        same_pixels=_same_pixels(store, pixels),
        wanted=_wanted(mine, catalogs, key),
        names=_names(catalogs, lambda row: row.key == key),
        namesakes=_names(catalogs, lambda row: row.key != key and PurePosixPath(row.name).name == Path(image).name),
        failure=_failure(mine, key),
        others=tuple(others),
    )


def find_recipe(cache: Cache, name: str, changes: Mapping[str, Any]) -> Recipe:
    """A recipe by its folder or fingerprint in the cache; as `load_recipe` finds it; or by its name in the cache.

    Raises:
        RecipeError, WeightsError: there is none; the message is that of `load_recipe`.
    """
    folders = cache.readable()
    exact = [folder for folder in folders if name in (folder.path.name, folder.recipe.fingerprint)]
    if exact and not changes:
        return exact[0].recipe
    try:
        return load_recipe(name, changes)
    except (RecipeError, WeightsError):  # a machine that only reads caches needs no weights
        named = [folder for folder in folders if folder.recipe.name == name]
        if len(named) != 1 or changes:
            raise
        return named[0].recipe


def _keys(image: Path, colors: Colors) -> tuple[ImageKey, ImageKey | None, str | None]:
    """A file's key, the key of its pixels in these colours, and why it has none of these."""
    data = read_file(image)
    try:
        decoded = decode_both(data, colors)
    except ImageError as error:
        return image_key(data), None, f"{error.reason}: {error}"
    return image_key(data), decoded.alias(), None


def _samples(store: Store | None, key: ImageKey) -> tuple[int, ...]:
    return tuple(split_name(name)[1] for name in store.names(f"{key}-")) if store else ()


def _same_pixels(store: Store | None, pixels: ImageKey | None) -> ImageKey | None:
    """The key of another file, or of an image in memory, with these pixels."""
    if store is None or pixels is None:
        return None
    meaning = ImageKey(store.resolve(pixels) or pixels)
    return meaning if _samples(store, meaning) else None


def _other(folder: RecipeFolder, asked: Recipe, key: ImageKey) -> OtherRecipe:
    """How a cached recipe differs from the one asked for."""
    theirs, ours = _fields(folder.recipe), _fields(asked)
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return OtherRecipe(
        folder=folder.path.name,
        differences=tuple(Difference(name, ours.get(name), theirs.get(name)) for name in names),
        samples=_samples(store_of(folder), key),
    )


def _fields(recipe: Recipe) -> dict[str, Any]:
    """A recipe's fields, each option as one of its own."""
    plain = recipe.to_dict()
    options = plain.pop("options")
    del plain["name"]
    return {**plain, **{f"options.{name}": value for name, value in options.items()}}


def _wanted(folder: RecipeFolder | None, catalogs: Sequence[KeptCatalog], key: ImageKey) -> int:
    asked = asked_for(folder.path) if folder else {}
    return max((asked.get(catalog.digest, 0) for catalog in catalogs if key in catalog.keys), default=0)


def _failure(folder: RecipeFolder | None, key: ImageKey) -> FailedEntry | None:
    found = folder.failures().values() if folder else ()
    return next((failed for failed in found if failed.name.startswith(f"{key}-")), None)


def _names(catalogs: Sequence[KeptCatalog], fits: Callable[[KeptRow], bool]) -> tuple[str, ...]:
    names = sorted({row.name for catalog in catalogs for row in catalog.rows if fits(row)})
    return tuple(names[:_MOST_NAMES])


def _why(miss: Explanation) -> str:
    """Why nothing is stored, the most specific reason first."""
    if miss.problem:
        return f"the file cannot be used; {miss.problem}"
    if not miss.held:
        return "the cache does not hold this recipe" + _nearest(miss.others)
    if miss.failure:
        times = f"{miss.failure.tries} times, last with" if miss.failure.tries > 1 else "with"
        return f"it failed {times} {miss.failure.reason} ({miss.failure.detail}); `build --retry-failed` tries again"
    if miss.same_pixels:
        return f"its pixels are stored under {miss.same_pixels}, but the file has other bytes, hence another key"
    if miss.wanted:
        return "it was asked for, but is not made yet; `build` goes on where it stopped"
    if miss.names:
        return "the cache knows the image, but this recipe was never built from a catalog that has it"
    if miss.namesakes:
        return f"no catalog of the cache has a file with this key; {miss.namesakes[0]} has other bytes"
    return "no catalog of the cache has a file with this key"


def _nearest(others: Sequence[OtherRecipe]) -> str:
    if not others:
        return ", nor any other"
    nearest = others[0]
    which = ", ".join(map(str, nearest.differences))
    return f"; the most similar one, {nearest.folder}, differs in {which}"
