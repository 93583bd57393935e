"""SR images that the cache lacks: refused, replaced, or made as `fill` would have made them."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import Faulty, Noise, Shapes
from PIL import Image
from torchvision.datasets import ImageFolder
from training_sets import BROKEN, IN_BATCHES, NOISY, SHRUNK, built, empty, files_of, same, stored

from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.misses import MissFiller, open_miss_filler
from srcache.dataset.missing import Missing
from srcache.engine.registry import open_engine
from srcache.errors import (
    ConfigError,
    DeviceError,
    EngineError,
    MissError,
    RecipeError,
)
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Decoded, Pixels, decode
from srcache.keys import entry_name, file_key, pixel_key
from srcache.recipe.recipe import Recipe


def test_a_cache_of_shards_takes_no_images_from_a_training(photos: Path) -> None:
    cache = photos.parent / "shards"
    fill(scan(photos), NOISY, cache, FillSettings(device="cpu", store="shards"))
    with pytest.raises(ConfigError, match=r"one of shards takes none from a training.*--store lmdb"):
        SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine")
    assert SRAugmentedDataset(photos, cache, policy="sr", on_miss="lr")[0][0].mode == "RGB"


def test_a_miss_says_which_image_and_what_to_do(photos: Path) -> None:
    cache = built(photos, NOISY, samples=2)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photos / "bark" / "new.png")
    data = SRAugmentedDataset(photos, cache, policy="sr")
    with pytest.raises(MissError, match=r"of bark/new.png by recipe noisy-.*`srcache build --samples 2`.*on_miss="):
        data[4]
    assert data[3][0].mode == "RGB"
    memory = SRAugmentedDataset([(Image.new("RGB", (4, 4)), 0)], cache, policy="sr")
    with pytest.raises(MissError, match="of item 0 by recipe"):
        memory[0]


@pytest.mark.parametrize("instead", ["lr", "hr"])
def test_a_miss_falls_back_and_is_counted(photos: Path, instead: str) -> None:
    cache = empty(photos, SHRUNK)
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss=instead)
    expected = SRAugmentedDataset(photos, cache, policy=instead)
    assert all(same(data[index], expected[index]) for index in range(12))
    assert data.counts[instead] == data.counts[f"missed_to_{instead}"] == 12
    assert data.counts["sr"] == 0


@pytest.mark.medium
@pytest.mark.parametrize("recipe", [NOISY, IN_BATCHES, SHRUNK], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("opened", [False, True], ids=["by name", "open"])
def test_an_engine_makes_what_fill_would_have_stored(photos: Path, recipe: Recipe, opened: bool) -> None:
    cache = empty(photos, recipe)
    engine: Any = open_engine(recipe.engine, recipe.setup("cpu")) if opened else "engine"
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss=engine, size="mixed")
    first = data.__getitems__(range(7))
    data[11], data[11], data[0]
    assert data.counts == {
        "hr": 0,
        "lr": 0,
        "sr": 10,
        "missed_to_lr": 0,
        "missed_to_hr": 0,
        "computed": 8,
        "fetched": 0,
    }
    made = stored(cache, recipe)
    (photos.parent / "elsewhere").mkdir()
    fill(scan(photos), recipe, photos.parent / "elsewhere")
    reference = stored(photos.parent / "elsewhere", recipe)
    assert len(made) == 8
    assert all(reference[name] == payload for name, payload in made.items())
    for index, item in enumerate(first):
        assert same(item, decode(reference[entry_name(file_key(files_of(photos)[index]), 0)]))
    assert fill(scan(photos), recipe, cache).added == 4


def test_what_a_batch_misses_goes_to_the_engine_together(photos: Path) -> None:
    for number, file in enumerate(files_of(photos)):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8) ^ np.arange(8, dtype=np.uint8)[:, None]).save(file)
    shapes: list[tuple[int, ...]] = []

    class Watched(Shapes):
        def upscale(self, images: Any, seeds: Sequence[int]) -> Any:
            shapes.append(tuple(images.shape))
            return super().upscale(images, seeds)

    engine = Watched(IN_BATCHES.setup("cpu"))
    data = SRAugmentedDataset(photos, empty(photos, IN_BATCHES), policy="sr", on_miss=engine)
    data.__getitems__([0, 5, 0, 2, 7, 9, 1, 3, 11])
    assert shapes == [(4, 3, 8, 8), (4, 3, 8, 8)]
    assert data.counts["computed"] == 8


def test_an_image_in_memory_is_made_under_its_files_name_where_that_is_known(photos: Path) -> None:
    cache, file = built(photos, NOISY), files_of(photos)[0]
    base = [(Image.open(file).convert("RGB"), 0), (Image.new("RGB", (6, 6), (9, 99, 199)), 1)]
    base[1][0].putpixel((0, 0), (0, 0, 0))
    fill(scan(photos / "moss"), NOISY, cache, FillSettings(samples=2))
    data = SRAugmentedDataset(base, cache, policy="sr#1", on_miss="engine", size="mixed")
    before = set(stored(cache, NOISY))
    data.__getitems__([0, 1])
    new = set(stored(cache, NOISY)) - before
    assert entry_name(file_key(file), 1) in new
    assert len(new) == data.counts["computed"] == 2


def test_an_engine_that_fails_says_why_and_for_which_image(photos: Path, make_image: Callable[..., Pixels]) -> None:
    Image.fromarray(make_image(24, 24, 1, mark="raises")).save(photos / "bark" / "bark1.png")
    Image.fromarray(make_image(24, 24, 2, mark="nan")).save(photos / "moss" / "moss0.png")
    cache = empty(photos, BROKEN)
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine", size="mixed")
    with pytest.raises(MissError, match=r"1 SR images.*bark/bark1.png \(engine_error: .*the image is marked to raise"):
        data[1]
    with pytest.raises(MissError, match=r"2 SR images.*bark1.png.*moss/moss0.png \(not_finite"):
        data.__getitems__(range(12))
    assert len(stored(cache, BROKEN)) == data.counts["computed"] == 10
    assert data[0][0].mode == "RGB"


def test_a_worker_that_was_forked_from_a_process_with_cuda_does_not_fall_back_on_the_processor_unnoticed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    data = SRAugmentedDataset(photos, empty(photos, NOISY), policy="sr", on_miss="engine", size="mixed")
    assert data[0][1] == 0
    heavy, info = replace(NOISY, weights="abc"), replace(Noise.info, weights="abc")
    create_cache(photos.parent / "cache").add(heavy).store(writable=True).close()
    monkeypatch.setattr(Noise, "info", info)
    data = SRAugmentedDataset(photos, photos.parent / "cache", heavy, policy="sr", on_miss="engine", size="mixed")
    with pytest.raises(DeviceError, match=r"engine test-noise cannot use the GPU in them.*spawn.*srcache build"):
        data[0]


def test_only_the_recipes_own_engine_may_make_what_is_missing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = empty(photos, NOISY)
    with pytest.raises(RecipeError, match="made by engine test-noise, but on_miss is test-faulty"):
        SRAugmentedDataset(photos, cache, on_miss=Faulty(BROKEN.setup("cpu")))
    newer: Any = Noise(NOISY.setup("cpu"))
    newer.info = replace(Noise.info, numerics=4)
    with pytest.raises(RecipeError, match=r"version 3 .* but version 4"):
        SRAugmentedDataset(photos, cache, on_miss=newer)
    for wrong in ("ftp://here", None, Noise.info, 3):
        with pytest.raises(ConfigError, match="on_miss must be one of raise, lr, hr, engine, an engine, the http"):
            SRAugmentedDataset(photos, cache, on_miss=wrong)
    gone = Recipe(name="gone", engine="no-such-engine")
    create_cache(cache).add(gone).store(writable=True).close()
    with pytest.raises(EngineError, match="no-such-engine"):
        SRAugmentedDataset(photos, cache, gone, on_miss="engine")
    assert len(SRAugmentedDataset(photos, cache, gone, on_miss="lr")) == 12


# --- the filler itself ---


def test_a_fallback_needs_no_filler(photos: Path) -> None:
    folder = open_cache(empty(photos, NOISY)).find(NOISY)
    assert [open_miss_filler(fallback, folder) for fallback in ("raise", "lr", "hr")] == [None] * 3
    assert isinstance(open_miss_filler("engine", folder), MissFiller)


def test_a_filler_counts_what_it_stored_and_lists_what_it_could_not_make(
    photos: Path, make_image: Callable[..., Pixels]
) -> None:
    folder = open_cache(empty(photos, BROKEN)).find(BROKEN)
    filler = MissFiller(folder)
    marks = [None, "raises", None]
    images = [make_image(24, 24, number, mark=mark) for number, mark in enumerate(marks)]
    wanted = [
        Missing(
            entry_name(pixel_key(image), 0), f"image {number}", lambda: None, lambda image=image: Decoded(image, image)
        )
        for number, image in enumerate(images)
    ]
    made = filler.make(wanted)
    assert made.added == 2
    assert made.failed == ["image 1 (engine_error: RuntimeError: the image is marked to raise)"]
    again = pickle.loads(pickle.dumps(filler)).make(wanted[:1])
    assert again.added == 0, "what is stored is not made again"
    assert set(stored(folder.path.parent, BROKEN)) == {wanted[0].name, wanted[2].name}


def test_what_is_made_after_a_change_of_folder_goes_into_the_cache_that_was_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(photos, NOISY)
    (photos.parent / "outputs").mkdir()
    monkeypatch.chdir(photos.parent)
    cache = next(path.parent.name for path in Path().glob("*/srcache.json"))
    for base in ("photos", ImageFolder("photos")):
        data = SRAugmentedDataset(base, cache, policy="sr", on_miss="engine")
        monkeypatch.chdir(photos.parent / "outputs")
        for index in range(12):
            data[index]
        assert not list(Path().iterdir()), "nothing is written below the new folder"
        monkeypatch.chdir(photos.parent)
    assert len(stored(photos.parent / cache, NOISY)) == 12
