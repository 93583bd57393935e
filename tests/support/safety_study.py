"""Label safety for tests: recipes that change images much, little or not at all, and a classifier of random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from srcache.cache.manifest import RecipeFolder, open_cache
from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Pixels
from srcache.recipe.reading import load_recipe, resolve
from srcache.recipe.recipe import Recipe

NOISY = resolve({"name": "noisy", "engine": "test-noise", "scale": 2})


LOUD = resolve({"name": "loud", "engine": "test-noise", "scale": 2, "options": {"strength": 0.7}})


PLAIN = load_recipe("bicubic", {"scale": 2})


SHRUNK = resolve(
    {"name": "shrunk", "engine": "resample", "scale": 2, "degradation": "lanczos/2", "options": {"filter": "bicubic"}}
)


class RandomClassifier:
    """A network of random weights that looks at 6×6 pixels, and counts the images that it was shown."""

    name, size = "runs/random", (6, 6)

    def __init__(self, digest: str = "random-1", classes: tuple[str, ...] = ("bark", "gravel", "moss")) -> None:
        rng = np.random.default_rng(5)
        self.digest, self.classes = digest, classes
        self.inner, self.outer = rng.normal(0, 0.5, (108, 9)), rng.normal(0, 2, (9, 3))
        self.shown = 0
        self.stop_at, self.broken_at = 0, 0

    def prepare(self, rgb: Pixels) -> torch.Tensor:
        small = Image.fromarray(rgb).resize(self.size[::-1], Image.Resampling.BOX)
        return torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1)

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.shown += 1
        if self.shown == self.stop_at:
            raise KeyboardInterrupt
        logits, features = self.answers(images.numpy())
        if self.shown == self.broken_at:
            logits[0, 0] = np.nan
        return torch.from_numpy(logits), torch.from_numpy(features)

    def answers(self, images: Any) -> tuple[Any, Any]:
        features = np.maximum(0, (images.reshape(len(images), -1).astype(np.float64) - 0.4) @ self.inner)
        return features @ self.outer, features


def built(photos: Path, recipe: Recipe, samples: int = 1) -> RecipeFolder:
    fill(scan(photos), recipe, photos.parent / "cache", FillSettings(samples=samples, device="cpu"))
    return open_cache(photos.parent / "cache").find(recipe)
