"""Folders of images with a filled cache beside them, and comparisons of what a data set serves, for its tests."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as T  # noqa: N812

from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Pixels
from srcache.recipe.reading import load_recipe, resolve
from srcache.recipe.recipe import Recipe

PLAIN = load_recipe("bicubic")


SHRUNK = resolve(
    {"name": "shrunk", "engine": "resample", "scale": 2, "degradation": "bicubic/2", "options": {"filter": "lanczos"}}
)


NOISY = resolve({"name": "noisy", "engine": "test-noise", "scale": 2})


BROKEN = resolve({"name": "broken", "engine": "test-faulty", "scale": 2})


IN_BATCHES = resolve({"name": "batches", "engine": "test-shapes", "scale": 2})


def built(
    folder: Any,
    recipe: Recipe,
    samples: int = 1,
    into: str = "cache",
    store: str | None = None,
    codec: str | None = None,
) -> Path:
    """A cache beside a folder of images, filled."""
    cache = Path(folder).parent / into
    fill(scan(folder), recipe, cache, FillSettings(samples=samples, store=store, codec=codec))
    return cache


def empty(folder: Path, recipe: Recipe, into: str = "cache", store: str | None = None) -> Path:
    """A cache that holds a recipe, but no image yet."""
    cache = create_cache(folder.parent / into, store)
    cache.add(recipe).store(writable=True).close()
    return cache.path


def stored(cache: Path, recipe: Recipe) -> dict[str, bytes]:
    store = open_cache(cache).find(recipe).store()
    return {name: store.get(name) or b"" for name in store.names()}


def array(item: Any) -> Pixels:
    """The pixels of an item, or of its image."""
    return np.asarray(item[0] if isinstance(item, tuple) else item)


def same(left: Any, right: Any) -> bool:
    return array(left).shape == array(right).shape and bool((array(left) == array(right)).all())


def files_of(folder: Path) -> list[Path]:
    return [row.path for row in scan(folder).rows if row.path]


def corner(image: Image.Image) -> torch.Tensor:
    """A transform: the top left corner's pixels, uint8 (16, 16, 3), which stack whatever the sizes of images are."""
    return torch.from_numpy(np.array(image)[:16, :16])


TO_TENSOR = T.Compose([T.Resize((16, 16)), T.ToTensor()])
