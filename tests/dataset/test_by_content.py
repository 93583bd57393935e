"""Variants by content: the same as of the data set over the files, whatever form an image comes in."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.multiprocessing import get_context

from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.by_content import VariantFinder
from srcache.errors import ConfigError, DamagedError, ImageError, MissError, PolicyError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Pixels, decode
from srcache.recipe.reading import resolve
from srcache.stores import Entry

pytestmark = pytest.mark.medium

SHRUNK = resolve({"name": "s", "engine": "test-noise", "scale": 4, "degradation": "box/2"})
PLAIN = resolve({"name": "p", "engine": "resample", "scale": 2})
POLICY = "lr=0.3,sr=0.4,hr=0.3"


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    """Twelve images, one of them with an orientation and one with transparency, and a cache beside them."""
    home = tmp_path / "images"
    home.mkdir()
    for index in range(10):
        Image.fromarray(make_image(16, 24, index)).save(home / f"{index}.{'jpg' if index % 2 else 'png'}")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(make_image(16, 24, 10)).save(home / "turned.jpg", exif=exif)
    clear = np.dstack([make_image(16, 24, 11), np.full((16, 24), 100, np.uint8)])
    Image.fromarray(clear).save(home / "clear.png")
    fill(scan(home), SHRUNK, tmp_path / "cache", FillSettings(samples=2))
    return home


def finder(folder: Path, policy: str = POLICY, on_miss: str = "raise", **given: int) -> VariantFinder:
    return VariantFinder(folder.parent / "cache", policy=policy, on_miss=on_miss, **given)


def as_bytes(path: Path) -> bytes:
    return path.read_bytes()


def as_image(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image.copy()


def as_loaders_give_it(path: Path) -> Image.Image:
    """Without orientation and transparency, as torchvision's loader has it."""
    with Image.open(path) as image:
        return image.convert("RGB")


def as_other_bytes(path: Path) -> bytes:
    """The same pixels in another file."""
    file = io.BytesIO()
    as_loaders_give_it(path).save(file, "BMP")
    return file.getvalue()


@pytest.mark.parametrize("form", [as_bytes, as_image])
def test_an_image_gets_what_the_data_set_over_its_file_serves(folder: Path, form: Callable[[Path], bytes]) -> None:
    data, found = SRAugmentedDataset(folder, folder.parent / "cache", policy=POLICY, seed=3), finder(folder, seed=3)
    for epoch in range(4):
        data.set_epoch(epoch)
        found.set_epoch(epoch)
        for index in range(len(data)):
            kind, pixels = found.find(form(folder / data.name(index)), data.name(index)) or ("none", None)
            assert kind == data.variant(index).kind
            assert np.array_equal(pixels, np.asarray(data[index][0]))
    counted = found.counts
    assert counted.pop("skipped") == 0
    assert counted == data.counts
    assert min(counted[kind] for kind in ("lr", "sr", "hr")) > 0


@pytest.mark.parametrize("form", [as_loaders_give_it, as_other_bytes])
def test_the_same_pixels_in_another_form_find_the_sr_image(folder: Path, form: Callable[[Path], bytes]) -> None:
    data, found = SRAugmentedDataset(folder, folder.parent / "cache", policy="sr#1"), finder(folder, "sr#1")
    for index in range(len(data)):
        kind, pixels = found.find(form(folder / data.name(index)), "it") or ("none", None)
        assert kind == "sr"
        assert np.array_equal(pixels, np.asarray(data[index][0]))


@pytest.mark.parametrize("form", [as_bytes, as_image])
def test_an_image_is_not_taken_for_one_that_looks_the_same_in_other_colours_alone(
    tmp_path: Path, make_image: Callable[..., Pixels], form: Callable[[Path], bytes]
) -> None:
    """Over white, the one is what the other is; but the recipe says black."""
    clear, solid = tmp_path / "clear" / "c.png", tmp_path / "solid" / "s.png"
    for file in (clear, solid):
        file.parent.mkdir()
    Image.fromarray(np.dstack([make_image(8, 8, 1), np.full((8, 8), 90, np.uint8)])).save(clear)
    Image.fromarray(decode(clear.read_bytes())).save(solid)
    recipe = resolve({"name": "b", "engine": "resample", "scale": 2, "background": "black"})
    fill(scan(solid.parent), recipe, tmp_path / "cache")
    found = finder(clear.parent, "sr", "skip")
    assert found.find(form(clear), "it") is None
    light = found.find(form(solid), "it")
    fill(scan(clear.parent), recipe, tmp_path / "cache")
    dark, again = (finder(clear.parent, "sr").find(form(one), "it") for one in (clear, solid))
    assert light is not None
    assert dark is not None
    assert again is not None
    assert np.array_equal(again.pixels, light.pixels)
    in_memory = SRAugmentedDataset([(as_image(clear), 0), (as_image(solid), 0)], tmp_path / "cache", policy="sr")
    assert [np.array_equal(in_memory[n][0], one.pixels) for n, one in enumerate((dark, light))] == [True, True]
    assert dark.pixels.mean() < again.pixels.mean() - 20


def test_a_miss_is_said_or_stands_in_or_is_skipped_and_counted(folder: Path) -> None:
    other = Image.new("RGB", (16, 8), "red")
    with pytest.raises(MissError, match=r"the pixels of it \(pixel key [0-9a-f]{32}\).*`srcache build`"):
        finder(folder, "sr#0").find(other, "it")
    unknown = io.BytesIO()
    other.save(unknown, "PNG")
    with pytest.raises(MissError, match=r"no SR image \w+-000 of it by recipe s-.*`srcache build --samples 2`"):
        finder(folder, "sr#0").find(unknown.getvalue(), "it")
    low, high, none = (finder(folder, "sr", on_miss) for on_miss in ("lr", "hr", "skip"))
    assert low.find(other, "it")[1].shape == (4, 8, 3)  # type: ignore[index]
    assert high.find(other, "it")[1].shape == (8, 16, 3)  # type: ignore[index]
    assert none.find(other, "it") is None
    assert {name: number for name, number in low.counts.items() if number} == {"lr": 1, "missed_to_lr": 1}
    assert {name: number for name, number in high.counts.items() if number} == {"hr": 1, "missed_to_hr": 1}
    assert {name: number for name, number in none.counts.items() if number} == {"skipped": 1}


def test_without_a_degradation_the_image_is_lr(folder: Path) -> None:
    fill(scan(folder), PLAIN, folder.parent / "plain")
    found = VariantFinder(folder.parent / "plain", policy="lr")
    kind, pixels = found.find(as_bytes(folder / "0.png"), "it") or ("none", None)
    assert kind == "lr"
    assert np.array_equal(pixels, np.asarray(as_image(folder / "0.png")))
    for words in ({"policy": "hr"}, {"on_miss": "hr"}):
        with pytest.raises(PolicyError, match="has no degradation, so the images that come in are LR"):
            VariantFinder(folder.parent / "plain", **words)


def test_mistakes_are_said_at_once(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"on_miss must be one of raise, lr, hr, engine, an engine, .* but is 'drop'"):
        finder(folder, on_miss="drop")
    with pytest.raises(PolicyError, match=r"names sample 2, but s-.* was built with 2 per image"):
        finder(folder, "sr#2")
    with pytest.raises(PolicyError, match="srcache safety"):
        finder(folder, "lr=0.5,sr[safe>0.9]=0.5")


def test_images_that_cannot_be_used_are_named(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"^x/1\.jpg: the bytes are not an image") as caught:
        finder(folder, "lr").find(b"nothing", "x/1.jpg")
    assert caught.value.reason == "unreadable"
    with pytest.raises(ImageError, match=r"^x/1\.jpg: floating-point"):
        finder(folder, "lr").find(Image.new("F", (4, 4)), "x/1.jpg")


def test_a_damaged_entry_is_named(folder: Path) -> None:
    other = tmp_entry(folder)
    with pytest.raises(DamagedError, match=r"of it in .* cannot be decoded.*`srcache verify`"):
        finder(folder, "sr#0").find(other, "it")


def tmp_entry(folder: Path) -> bytes:
    """An image whose SR image in the cache is no image."""
    from srcache.cache.manifest import find_folder
    from srcache.keys import entry_name, image_key

    file = io.BytesIO()
    Image.new("RGB", (8, 8), "blue").save(file, "PNG")
    data = file.getvalue()
    store = find_folder(folder.parent / "cache", None).store(writable=True)
    store.put_many([Entry(entry_name(image_key(data), 0), b"nothing", {})])
    store.close()
    return data


def _find_all(found: VariantFinder, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        found.find(path.read_bytes(), path.name)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_other_processes_see_the_epoch_and_their_counts_come_back(folder: Path, method: str) -> None:
    found = finder(folder, "0: lr; 1: sr")
    found.set_epoch(1)
    worker = get_context(method).Process(target=_find_all, args=(found, folder))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert found.counts["sr"] == 12
    twin = pickle.loads(pickle.dumps(found))
    assert twin.epoch == 1
