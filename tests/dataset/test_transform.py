"""SRAugment: the variants that SRAugmentedDataset serves, found by pixels, in any loop and any worker."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from training_sets import BROKEN, NOISY, PLAIN, SHRUNK, array, built, corner, empty, files_of, same, stored

import srcache
from srcache.cache.manifest import open_cache
from srcache.catalog import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.lookup import SRImages
from srcache.dataset.policy import Policy, Variant
from srcache.dataset.scores import LabelScore, begin_scores, write_scores
from srcache.dataset.transform import SRAugment
from srcache.errors import ConfigError, DamagedError, MissError, PolicyError
from srcache.fill import FillSettings, fill
from srcache.images import Pixels, decode, pixel_limit, resize
from srcache.keys import entry_name, file_key, pixel_key
from srcache.stores import KINDS

STARTS = ("fork", pytest.param("spawn", marks=pytest.mark.slow))
MIXED = "lr=0.4,sr=0.6"
HALF = "hr=0.3,lr=0.3,sr=0.4"


def test_it_is_a_public_name() -> None:
    assert srcache.SRAugment is SRAugment


@pytest.mark.parametrize(("recipe", "samples", "policy"), [(PLAIN, 1, MIXED), (NOISY, 3, MIXED), (SHRUNK, 1, HALF)])
@pytest.mark.parametrize("size", [None, 20])
def test_the_variants_are_those_of_the_data_set(
    photos: Path, recipe: Any, samples: int, policy: str, size: int | None
) -> None:
    cache = built(photos, recipe, samples)
    data, transform = SRAugmentedDataset(photos, cache, policy=policy, size=size, seed=5), None
    transform = SRAugment(cache, policy=policy, size=size, seed=5)
    base = ImageFolder(photos, transform=transform)
    kinds = set()
    for epoch in (0, 1, 9):
        data.set_epoch(epoch)
        transform.set_epoch(epoch)
        for index in range(len(data)):
            assert same(data[index], base[index])
            assert base[index][1] == data[index][1]
            plain = Image.open(files_of(photos)[index])
            kinds.add(variant := transform.variant(plain))
            assert variant == data.variant(index)
    assert len(kinds) > 1
    assert data.counts == transform.counts


@pytest.mark.medium
@pytest.mark.parametrize("start", STARTS)
def test_epochs_reach_workers_that_run_and_counts_come_back(photos: Path, start: str) -> None:
    cache = built(photos, NOISY, 2)
    transform = SRAugment(cache, policy=MIXED)
    base = ImageFolder(photos, transform=v1.Compose([transform, corner]))
    data = SRAugmentedDataset(photos, cache, policy=MIXED, transform=corner)
    loader = DataLoader(
        base, batch_size=5, num_workers=2, persistent_workers=True, multiprocessing_context=start, shuffle=False
    )
    seen = []
    for epoch in (0, 3):
        transform.set_epoch(epoch)
        data.set_epoch(epoch)
        images = torch.cat([images for images, _ in loader])
        assert torch.equal(images, torch.stack([data[index][0] for index in range(len(data))]))
        seen.append(images)
    assert not torch.equal(*seen)
    assert transform.counts == data.counts


def test_any_form_comes_out_as_it_went_in(photos: Path) -> None:
    cache = built(photos, PLAIN)
    transform = SRAugment(cache, policy="sr")
    for file in files_of(photos)[:3]:
        image = Image.open(file).convert("RGB")
        expected = np.asarray(transform(image))
        assert expected.shape[0] == image.height * PLAIN.scale
        assert np.array_equal(transform(np.asarray(image)), expected)
        tensor = transform(v2.functional.pil_to_tensor(image))
        assert type(tensor) is torch.Tensor
        assert np.array_equal(tensor.permute(1, 2, 0).numpy(), expected)
        assert type(transform(v2.functional.to_image(image))).__name__ == "Image"


def test_in_torchvisions_lists_with_boxes_and_labels(photos: Path) -> None:
    transform = SRAugment(built(photos, PLAIN), policy="sr")
    image, boxes = Image.open(files_of(photos)[0]).convert("RGB"), torch.tensor([[1.0, 2, 3, 4]])
    plain = v2.Compose([transform, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    assert plain(image).shape == (3, image.height * PLAIN.scale, image.width * PLAIN.scale)
    found, target = plain(image, {"boxes": boxes, "label": 3})
    assert torch.equal(found, plain(image))
    assert target["boxes"] is boxes
    assert target["label"] == 3
    assert v1.Compose([transform, v1.ToTensor()])(image).shape == found.shape
    assert "SRAugment(bicubic-" in repr(plain)


def test_pixels_that_the_cache_does_not_know_say_what_may_be_wrong(photos: Path) -> None:
    cache = built(photos, PLAIN)
    image = Image.open(files_of(photos)[0]).convert("RGB").resize((11, 9))
    transform = SRAugment(cache, policy="sr")
    with pytest.raises(MissError, match=r"an image of 11×9 pixels \(pixel key \w+\): SRAugment must be the first"):
        transform(image)
    assert not any(transform.counts.values())
    with pytest.raises(ConfigError, match="SRAugment must be the first transform"):
        v2.Compose([v1.ToTensor(), transform])(image)


def test_a_sample_that_was_not_made_says_how_to_make_it(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = built(photos, NOISY, 2)
    image = Image.open(files_of(photos)[0]).convert("RGB")
    transform = SRAugment(cache, policy="sr#1")
    name = entry_name(file_key(files_of(photos)[0]), 1)
    monkeypatch.setattr(SRImages, "get", lambda images, view, key, sample: (name, None))
    with pytest.raises(MissError, match=rf"no SR image {name} of .* by recipe noisy-.* `srcache build --samples 2`"):
        transform(image)


@pytest.mark.parametrize(("recipe", "on_miss"), [(PLAIN, "lr"), (SHRUNK, "lr"), (SHRUNK, "hr")])
def test_a_miss_is_counted_and_gets_what_on_miss_says(photos: Path, recipe: Any, on_miss: str) -> None:
    cache = empty(photos, recipe)
    transform = SRAugment(cache, policy="sr", on_miss=on_miss)
    plain = SRAugment(cache, policy=on_miss)
    data = SRAugmentedDataset(photos, cache, policy=on_miss)
    for index, file in enumerate(files_of(photos)):
        image = Image.open(file).convert("RGB")
        assert same(transform(image), data[index])
        assert same(plain(image), data[index])
    assert transform.counts[f"missed_to_{on_miss}"] == transform.counts[on_miss] == 12
    assert plain.counts[f"missed_to_{on_miss}"] == 0


def test_an_engine_makes_what_is_missing_and_stores_it(photos: Path) -> None:
    cache = empty(photos, PLAIN)
    transform = SRAugment(cache, policy="sr", on_miss="engine")
    images = [Image.open(file).convert("RGB") for file in files_of(photos)[:3]]
    made = [transform(image) for image in images]
    assert transform.counts["computed"] == transform.counts["sr"] == 3
    assert all(same(transform(image), first) for image, first in zip(images, made, strict=True))
    assert transform.counts["computed"] == 3
    keys = {pixel_key(np.asarray(image)) for image in images}
    assert set(stored(cache, PLAIN)) == {entry_name(key, 0) for key in keys}
    built(photos, PLAIN)
    full = SRAugment(cache, policy="sr")
    assert all(same(full(image), first) for image, first in zip(images, made, strict=True))


def test_an_engine_that_fails_says_why(photos: Path, make_image: Callable[..., Pixels]) -> None:
    transform = SRAugment(empty(photos, BROKEN), policy="sr", on_miss="engine")
    with pytest.raises(MissError, match=r"could not be made: an image of 40×40 pixels \("):
        transform(Image.fromarray(make_image(40, 40, 0, "fails")))


def test_hr_is_refused_where_there_is_none(photos: Path) -> None:
    cache = built(photos, PLAIN)
    for words in ({"policy": "hr=0.5,sr=0.5"}, {"policy": "sr", "on_miss": "hr"}):
        with pytest.raises(PolicyError, match=r"recipe bicubic-.* has no degradation"):
            SRAugment(cache, **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"policy": "sr#3"}, "names sample 3"),
        ({"policy": "best"}, "a policy is made of"),
        ({"on_miss": "drop"}, "on_miss must be one of"),
        ({"on_miss": "skip"}, "is for streams"),
        ({"size": 0}, "size must be"),
        ({"recipe": "other"}, "other"),
        ({"policy": "sr[safe>0.5]"}, "srcache safety"),
    ],
)
def test_mistakes_are_refused_at_once(photos: Path, words: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, PolicyError, srcache.SrcacheError), match=message):
        SRAugment(built(photos, PLAIN), **words)


def test_an_image_is_turned_and_its_transparency_laid_over_white_as_in_the_cache(photos: Path) -> None:
    folder = photos / "moss"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(files_of(photos)[0]).convert("RGB").save(folder / "turned.jpg", exif=exif)
    clear = Image.open(files_of(photos)[1]).rotate(180).convert("RGBA")
    clear.putalpha(128)
    clear.save(folder / "clear.png")
    transform = SRAugment(cache := built(photos, PLAIN), policy="sr")
    entries = stored(cache, PLAIN)
    for name in ("turned.jpg", "clear.png"):
        expected = decode(entries[entry_name(file_key(folder / name), 0)])
        for image in (Image.open(folder / name), Image.open(folder / name).convert("RGB")):
            assert same(transform(image), expected)


@pytest.mark.parametrize("store", KINDS)
@pytest.mark.parametrize("first", ["opaque.png", "clear.png"])
def test_images_that_differ_in_transparency_alone_are_told_apart_whichever_was_stored_first(
    tmp_path: Path, store: str, first: str
) -> None:
    colors = np.random.default_rng(7).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    folder = tmp_path / "photos" / "moss"
    folder.mkdir(parents=True)
    files = {name: folder / name for name in ("opaque.png", "clear.png")}
    solid = Image.fromarray(colors)
    clear = solid.convert("RGBA")
    clear.putalpha(60)
    entries: dict[str, bytes] = {}
    for name in (first, *(files.keys() - {first})):
        (solid if name == "opaque.png" else clear).save(files[name])
        fill(scan(folder), PLAIN, tmp_path / "cache", FillSettings(device="cpu", store=store))
        if len(entries := stored(tmp_path / "cache", PLAIN)) == 1 and name == "clear.png":
            dropped = Image.open(files[name]).convert("RGB")
            assert same(SRAugment(tmp_path / "cache", policy="sr")(dropped), decode(*entries.values()))
    transform = SRAugment(tmp_path / "cache", policy="sr")
    wanted = {name: decode(entries[entry_name(file_key(file), 0)]) for name, file in files.items()}
    assert not same(*wanted.values())
    for name, file in files.items():
        assert same(transform(Image.open(file)), wanted[name])
    assert same(transform(Image.open(files["clear.png"]).convert("RGB")), wanted["opaque.png"])
    data = SRAugmentedDataset([(Image.open(files[name]), 0) for name in sorted(files)], tmp_path / "cache", policy="sr")
    assert same(data[0], wanted["clear.png"])
    assert same(data[1], wanted["opaque.png"])


def test_filters_choose_as_in_the_data_set(photos: Path) -> None:
    cache = built(photos, PLAIN)
    home, rest = open_cache(cache).find(PLAIN).path, {"back_projection": 30.0, "back_projection_error": 1.0}
    begin_scores(home, {"classifier": None}, {})
    files = enumerate(files_of(photos))
    write_scores(home, [LabelScore(image="x", key=file_key(file), sample=0, safe=n / 12, **rest) for n, file in files])
    policy = "lr=0.2,sr[safe>0.5]=0.8"
    data, transform = SRAugmentedDataset(photos, cache, policy=policy), SRAugment(cache, policy=policy)
    found = [transform.variant(Image.open(file)) for file in files_of(photos)]
    assert found == [data.variant(index) for index in range(12)]
    assert set(found) == {Variant("lr"), Variant("sr", 0)}
    assert set(found[:6]) == {Variant("lr")}


def test_a_copy_serves_the_same(photos: Path) -> None:
    transform = SRAugment(built(photos, PLAIN), policy=Policy.parse(MIXED, 3))
    transform.set_epoch(4)
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert other.epoch == 4
        for file in files_of(photos):
            assert same(other(Image.open(file)), transform(Image.open(file)))


def test_damaged_entries_are_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transform = SRAugment(built(photos, PLAIN), policy="sr")
    monkeypatch.setattr(SRImages, "get", lambda images, view, key, sample: ("an-entry", b"qoif" + bytes(30)))
    with pytest.raises(DamagedError, match=r"the SR image an-entry of an image of .* in"):
        transform(Image.open(files_of(photos)[0]))
    assert pixel_limit() > 0


def test_a_forgotten_epoch_is_told_once_where_all_images_are_cached(photos: Path) -> None:
    cache = built(photos, PLAIN)
    images = [Image.open(file).convert("RGB") for file in files_of(photos)]
    for words, times in (({"policy": MIXED}, 1), ({"policy": "sr"}, 0), ({"policy": MIXED, "on_miss": "lr"}, 0)):
        transform = SRAugment(cache, **words)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(12):
                for image in images:
                    transform(image)
        assert [str(warning.message).count("Call set_epoch(epoch)") for warning in caught] == [1] * times


def test_a_size_is_that_of_every_variant(photos: Path) -> None:
    cache = built(photos, PLAIN)
    for policy in ("lr", "sr"):
        transform, plain = SRAugment(cache, policy=policy, size=(20, 30)), SRAugment(cache, policy=policy)
        image = Image.open(files_of(photos)[0]).convert("RGB")
        assert same(transform(image), resize(array(plain(image)), (20, 30), "bicubic"))
