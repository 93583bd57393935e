"""Helpers for tests that fill caches: recipes of test engines, what a cache holds, and how often engines are called."""

from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import resolve

CPU = FillSettings(device="cpu")


def recipe_of(engine, **fields):
    return resolve({"name": engine, "engine": engine, "scale": 2, **fields})


def contents(report):
    """Every entry of the folder that was filled: name → payload."""
    folder = next(f for f in open_cache(report.folder.parent).folders() if f.path == report.folder)
    store = folder.store()
    return {name: store.get(name) for name in store.names()}


def folder_of(cache, recipe):
    return open_cache(cache).find(recipe)


def write(folder, count, shape=lambda number: (8, 10), mark=lambda number: None, make=None):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(make(*shape(number), number, mark(number))).save(folder / f"{number:04d}.png")
    return folder


class Counted:
    """Counts how often engines are built, and what they are given."""

    def __init__(self, monkeypatch, engine):
        self.built, self.seeds, self.batches = 0, [], []
        build, upscale = engine.__init__, engine.upscale

        def counting_build(this, setup):
            self.built += 1
            build(this, setup)

        def counting_upscale(this, images, seeds):
            self.seeds += seeds
            self.batches.append(len(images))
            return upscale(this, images, seeds)

        monkeypatch.setattr(engine, "__init__", counting_build)
        monkeypatch.setattr(engine, "upscale", counting_upscale)
