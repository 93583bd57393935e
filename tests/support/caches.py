"""A small cache with everything that happens in caches, for tests: two recipes, a failure, equal images, odd names."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from images import picture
from PIL import Image

from srcache.cache.manifest import RecipeFolder, open_cache
from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillReport, FillSettings
from srcache.images import decode
from srcache.recipe.reading import load_recipe
from srcache.stores import Entry, Store, with_checksums

RECIPES = {
    "bicubic": "engine: resample\nscale: 2\n",
    "lanczos": "engine: resample\nscale: 2\noptions: {filter: lanczos}\n",
    "small": "engine: resample\nscale: 2\noptions: {filter: lanczos}\ncodec: jpeg:90\n",
    "noisy": "engine: test-noise\nscale: 2\nseed: 7\n",
}


def make_photos(folder: Path) -> Path:
    """Seven files: names with spaces, umlauts and dots, two with equal bytes, one without any."""
    for number, name in enumerate(("Möwen & Co/erste möwe.png", "Möwen & Co/v1.2 final.jpg", "wörter/日本.webp")):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(20 + number, 24, number)).save(file)
    Image.fromarray(picture(20, 24, 9)).save(folder / "wörter/doppelt.png")
    shutil.copy(folder / "wörter/doppelt.png", folder / "wörter/doppelt nochmal.png")
    Image.fromarray(picture(20, 24, 5)).save(folder / "wörter/letzte.png")
    (folder / "wörter/leer.png").touch()
    return folder


def recipe_file(folder: Path, name: str) -> Path:
    """One of `RECIPES` as a file."""
    path = folder / f"{name}.yaml"
    path.write_text(RECIPES[name])
    return path


def build(photos: Path, cache: Path, name: str = "bicubic", samples: int = 1, **settings: Any) -> FillReport:
    """Fill a cache with one of `RECIPES`; `settings` as `FillSettings` takes them."""
    recipe = load_recipe(recipe_file(photos.parent, name))
    return fill(scan(photos), recipe, cache, FillSettings(samples=samples, device="cpu", **settings))


def build_two(home: Path) -> Path:
    """The photos in `home/photos`, and of them in `home/cache`: `bicubic`, and two samples each of `noisy`."""
    photos = make_photos(home / "photos")
    build(photos, home / "cache")
    build(photos, home / "cache", "noisy", samples=2)
    return home


def only(cache: Path, name: str = "bicubic") -> RecipeFolder:
    """A recipe's folder."""
    return open_cache(cache).find(name)


def home(cache: Path, name: str = "bicubic") -> Path:
    """The path of a recipe's folder, readable or not."""
    return open_cache(cache).path_of(name)


@contextmanager
def opened(cache: Path, name: str = "bicubic", writable: bool = False) -> Iterator[Store]:
    """A recipe's store, closed at the end, so that files may be damaged."""
    with closing(only(cache, name).store(writable=writable)) as store:
        yield store


def contents(cache: Path, name: str = "bicubic") -> dict[str, bytes | None]:
    """Every entry's payload by name."""
    with opened(cache, name) as store:
        return {entry: store.get(entry) for entry in store.names()}


def pixels(cache: Path, name: str = "bicubic") -> dict[str, bytes]:
    """Every entry's decoded pixels by name: the same, whatever the kind of store."""
    return {entry: decode(payload or b"").tobytes() for entry, payload in contents(cache, name).items()}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def replace_payload(cache: Path, entry: str, payload: bytes, name: str = "bicubic") -> None:
    """Put an entry with another payload in the place of a stored one, in a store that is written anew."""
    folder = only(cache, name)
    with closing(folder.store()) as store:
        entries = {one: (store.get(one) or b"", store.record(one) or {}) for one in store.names()}
    entries[entry] = (payload, entries[entry][1])
    shutil.rmtree(folder.store_path)
    with closing(folder.store(writable=True)) as store:
        store.put_many([Entry(one, data, with_checksums(record, data)) for one, (data, record) in entries.items()])
