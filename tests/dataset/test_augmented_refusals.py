"""SRAugmentedDataset: what cannot be served is refused, before the first batch where that is possible."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets as hugging_face
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder
from training_sets import NOISY, PLAIN, SHRUNK, built, empty, files_of

from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.scanning import from_dataset, scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import (
    CacheError,
    CatalogError,
    ConfigError,
    DamagedError,
    ImageError,
    PolicyError,
)
from srcache.fill.run import fill
from srcache.images import encode
from srcache.keys import entry_name, file_key
from srcache.stores import Entry


def test_a_recipe_is_found_by_name_fingerprint_or_itself(photos: Path) -> None:
    cache = built(photos, PLAIN)
    fill(scan(photos / "bark"), NOISY, cache)
    for wanted in ("bicubic", PLAIN.fingerprint, PLAIN.folder, PLAIN):
        assert "bicubic-" in repr(SRAugmentedDataset(photos, open_cache(cache), wanted))
    with pytest.raises(CacheError, match=r"holds 2 recipes \(bicubic-.*, noisy-.*say which recipe is meant"):
        SRAugmentedDataset(photos, cache)
    with pytest.raises(CacheError, match="no recipe 'lanczos'"):
        SRAugmentedDataset(photos, cache, "lanczos")
    with pytest.raises(CacheError, match="no srcache cache"):
        SRAugmentedDataset(photos, photos)


REFUSED: Mapping[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no hr": ({"policy": "hr"}, PolicyError, "give the HR folder as hr="),
    "no hr to fall back on": ({"on_miss": "hr"}, PolicyError, "give the HR folder as hr="),
    "policy of another type": ({"policy": {"lr": 1}}, PolicyError, "a policy is a text like .* but got {'lr': 1}"),
    "policy of nothing": ({"policy": None}, PolicyError, "but got None"),
    "cache of nothing": ({"cache": None}, CacheError, "a cache is a folder .*, or a URL, but got None"),
    "no policy": ({"policy": "sd"}, PolicyError, "hr, lr and sr"),
    "size of no side": ({"size": 0}, ConfigError, "size must be a side"),
    "size of one side": ({"size": (3,)}, ConfigError, "size must be a side"),
    "size of half pixels": ({"size": 2.5}, ConfigError, "size must be a side"),
    "size of truth": ({"size": True}, ConfigError, "size must be a side"),
    "size in words": ({"size": "small"}, ConfigError, "but is 'small'"),
    "hr not there": ({"hr": "nowhere"}, CatalogError, "nowhere does not exist"),
    "hr in memory": ({"hr": [(Image.new("RGB", (2, 2)), 0)]}, CatalogError, "give a folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_possible_is_refused_before_the_first_batch(photos: Path, case: str) -> None:
    options, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        SRAugmentedDataset(photos, **{"cache": empty(photos, PLAIN), **options})


def test_bases_that_cannot_be_used_are_refused(photos: Path) -> None:
    cache = empty(photos, PLAIN)
    with pytest.raises(CatalogError, match="an empty one"):
        SRAugmentedDataset([], cache)
    with pytest.raises(CatalogError, match="hr= pairs by file name"):
        SRAugmentedDataset([(Image.new("RGB", (2, 2)), 0)], cache, hr=photos)
    with pytest.raises(CatalogError, match="got object without"):
        SRAugmentedDataset(object(), cache)
    cache = create_cache(photos.parent / "second")
    cache.add(SHRUNK).store(writable=True).close()
    with pytest.raises(CatalogError, match="leave hr= out"):
        SRAugmentedDataset(photos, cache, hr=photos)


def test_a_training_set_never_shrinks_in_silence(photos: Path) -> None:
    cache = built(photos, PLAIN)
    os.symlink("nowhere.png", photos / "bark" / "away.png")
    (photos / "list.csv").write_text("path\nmoss/moss0.png\nmoss/gone.png\n")
    (photos / "moss/up").symlink_to(photos)
    with pytest.raises(CatalogError, match=r"1 images .* bark/away.png \(unreadable\).*pass a Catalog"):
        SRAugmentedDataset(photos, cache)
    with pytest.raises(CatalogError, match=r"moss/gone.png \(missing\)"):
        SRAugmentedDataset(photos / "list.csv", cache)
    assert len(SRAugmentedDataset(scan(photos), cache)) == 12


def test_a_broken_image_is_named(photos: Path) -> None:
    cache = empty(photos, PLAIN)
    (photos / "bark" / "bark1.png").write_bytes((photos / "bark" / "bark1.png").read_bytes()[:300])
    for base in (photos, ImageFolder(photos)):
        data = SRAugmentedDataset(base, cache, policy="lr")
        with pytest.raises(ImageError, match=r"bark/bark1.png: the file ends too early") as caught:
            data[1]
        assert caught.value.reason == "truncated"
    with pytest.raises(ImageError, match=r"bark/bark1.png"):
        SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine")[1]


def test_a_damaged_entry_is_distinguished_from_a_missing_one(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, files = empty(photos, PLAIN), files_of(photos)
    store = open_cache(cache).find(PLAIN).store(writable=True)
    good = encode(np.zeros((20, 20, 3), np.uint8), "png")
    store.put_many(
        Entry(entry_name(file_key(file), 0), payload, {})
        for file, payload in zip(files, (good[:40], b"not an image", good), strict=False)
    )
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss="lr")
    for index in (0, 1):
        with pytest.raises(DamagedError, match=rf"bark/bark{index}.png in .*cannot be decoded.*srcache verify"):
            data[index]
    assert data[2][0].size == (20, 20)
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "399")
    with pytest.raises(ImageError, match="SRCACHE_MAX_PIXELS raises") as caught:
        data[2]
    assert caught.value.reason == "too_large"


def test_what_a_hugging_face_data_set_would_do_to_rows_is_not_dropped_in_silence(photos: Path) -> None:
    files = [str(row.path) for row in scan(photos).rows]
    rows = hugging_face.Dataset.from_dict({"image": files}).cast_column("image", hugging_face.Image())
    changed = rows.with_transform(lambda batch: batch)
    cache = built(photos, PLAIN)
    for base in (changed, Subset(changed, [0, 1])):
        with pytest.raises(CatalogError, match=r"has a with_transform .* give the part for images as transform="):
            SRAugmentedDataset(base, cache)
        assert SRAugmentedDataset(base, cache, policy="sr", transform=np.asarray)[0][0].shape == (96, 128, 3)
    assert len(scan(photos)) == len(from_dataset(changed)), "a build takes it"
