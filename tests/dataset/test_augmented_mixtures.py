"""Mixtures as they are served: draw and pixels are recomputed apart from srcache; misses, HR, transforms and arms."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_sets import NOISY, PLAIN, SHRUNK, array, built, empty, files_of, same, stored

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.transform import SRAugment
from srcache.errors import CatalogError, MissError, PolicyError
from srcache.images import Pixels, decode
from srcache.keys import entry_name, file_key
from srcache.study.arms.arms import arm_dataset

PATCH, BLEND = "patch(lr,sr,grid=3,share=0.4)", "blend(sr,lr,least=0.1)"


def oracle_patch(first: Pixels, second: Pixels, name: str, grid: int, share: float) -> Pixels:
    """Cells by numbers of SHAKE-128 below the share; each pixel looks its cell up."""
    stream = hashlib.shake_128(f"{name}/patch".encode()).digest(4 * grid * grid)
    drawn = np.array([int.from_bytes(stream[at : at + 4], "big") for at in range(0, len(stream), 4)]) / 2**32
    rows, columns = (
        np.searchsorted([i * n // grid for i in range(grid)], range(n), "right") - 1 for n in first.shape[:2]
    )
    return np.where(drawn.reshape(grid, grid)[rows][:, columns, None] < share, second, first)


def oracle_blend(first: Pixels, second: Pixels, name: str, least: float, most: float) -> Pixels:
    """By real numbers, rounded to the nearest, halves up."""
    digest = hashlib.blake2b(f"{name}/blend".encode(), digest_size=16).digest()
    weight = round(256 * (least + int.from_bytes(digest[:6], "big") / 2**48 * (most - least))) / 256
    return np.floor((1 - weight) * first.astype(float) + weight * second.astype(float) + 0.5).astype(np.uint8)


def oracle(policy: str, file: Path, sr: Pixels, epoch: int, seed: int = 0) -> Pixels:
    small = Image.open(file).convert("RGB")
    enlarged = np.asarray(small.resize((sr.shape[1], sr.shape[0]), Image.Resampling.BICUBIC))
    name = f"{seed}/{epoch}/{file_key(file)}"
    if policy == PATCH:
        return oracle_patch(enlarged, sr, name, 3, 0.4)
    return oracle_blend(sr, enlarged, name, 0.1, 1.0)


@pytest.mark.parametrize("policy", [PATCH, BLEND])
@pytest.mark.parametrize("codec", [None, "ppm"])
def test_a_data_set_serves_what_the_oracle_says(photos: Path, policy: str, codec: str | None) -> None:
    cache, files = built(photos, NOISY, codec=codec), files_of(photos)
    entries = stored(cache, NOISY)
    data = SRAugmentedDataset(photos, cache, policy=policy, seed=5)
    seen = set()
    for epoch in (0, 3):
        data.set_epoch(epoch)
        for index, file in enumerate(files):
            expected = oracle(policy, file, decode(entries[entry_name(file_key(file), 0)]), epoch, 5)
            assert same(data[index], expected)
            seen.add(expected.tobytes())
    assert len(seen) == 24
    kind = policy[:5]
    assert data.counts == {**dict.fromkeys(data.counts, 0), kind: 24}
    assert stored(cache, NOISY) == entries


def test_hr_mixes_with_what_is_made_of_it(photos: Path) -> None:
    cache = built(photos, SHRUNK)
    served = {
        policy: SRAugmentedDataset(photos, cache, policy=policy)
        for policy in ("hr", "sr", "patch(hr,sr)", "patch(lr,hr)", "blend(hr,sr,least=0.5,most=0.5)")
    }
    for index in range(12):
        hr, sr = (array(served[kind][index]).astype(int) for kind in ("hr", "sr"))
        patched = array(served["patch(hr,sr)"][index])
        assert ((patched == hr) | (patched == sr)).all()
        assert array(served["patch(lr,hr)"][index]).shape == hr.shape
        assert (array(served["blend(hr,sr,least=0.5,most=0.5)"][index]) == (hr + sr + 1) // 2).all()


def test_a_mixture_with_hr_needs_hr_of_the_same_size(photos: Path) -> None:
    cache = built(photos, PLAIN)
    with pytest.raises(PolicyError, match="HR was asked for, but the base holds LR images"):
        SRAugmentedDataset(photos, cache, policy="patch(hr,sr)")
    with pytest.raises(PolicyError, match="needs HR images"):
        arm_dataset("blend(lr,hr)", lr=photos, cache=cache)
    data = SRAugmentedDataset(photos, cache, policy="patch(hr,sr)", hr=photos)
    with pytest.raises(CatalogError, match=r"patch mixes .*bark/bark0.png hr has .* and sr has .*; give size="):
        data[0]
    assert SRAugmentedDataset(photos, cache, policy="patch(hr,sr)", hr=photos, size=20)[0][0].size == (20, 20)


def test_more_samples_than_there_are_are_refused(photos: Path) -> None:
    with pytest.raises(PolicyError, match="names sample 1, but"):
        SRAugmentedDataset(photos, built(photos, PLAIN), policy="patch(sr#0,sr#1)")


@pytest.mark.parametrize("policy", [PATCH, BLEND])
def test_without_its_sr_image_a_mixture_is_a_miss(photos: Path, policy: str) -> None:
    cache = empty(photos, NOISY)
    with pytest.raises(MissError, match=r"no SR image \S+ of bark/bark0.png"):
        SRAugmentedDataset(photos, cache, policy=policy)[0]
    data = SRAugmentedDataset(photos, cache, policy=policy, on_miss="lr")
    for index, file in enumerate(files_of(photos)):
        assert same(data[index], decode(file.read_bytes()))
    assert data.counts == {**dict.fromkeys(data.counts, 0), "lr": 12, "missed_to_lr": 12}
    made = SRAugmentedDataset(photos, cache, policy=policy, on_miss="engine")
    whole = SRAugmentedDataset(photos, built(photos, NOISY, into="whole"), policy=policy)
    assert all(same(made[index], whole[index]) for index in range(12))
    assert (made.counts["computed"], made.counts[policy[:5]]) == (12, 12)


def test_what_has_no_sr_needs_no_cache_entries(photos: Path) -> None:
    data = SRAugmentedDataset(photos, empty(photos, SHRUNK), policy="blend(lr,hr)")
    assert array(data[3]).shape == decode(files_of(photos)[3].read_bytes()).shape
    assert data.counts["blend"] == 1


@pytest.mark.parametrize("as_array", [False, True])
def test_a_transform_serves_the_same_and_leaves_the_image_as_it_was(photos: Path, as_array: bool) -> None:
    policy = "hr=0.1,patch(sr,hr)=1,blend(lr,hr)=1,blend(sr,lr)=1"
    cache = built(photos, SHRUNK)
    data, augment = SRAugmentedDataset(photos, cache, policy=policy), SRAugment(cache, policy=policy)
    for index, file in enumerate(files_of(photos)):
        image: Any = decode(file.read_bytes()).copy() if as_array else Image.open(file)
        before = np.array(image)
        assert same(augment(image), data[index])
        assert (np.asarray(image) == before).all()
    assert augment.counts == data.counts
    assert set(augment.counts) >= {"patch", "blend"}
    assert "patch" not in SRAugment(cache).counts


def test_a_transform_brings_both_to_its_size_as_the_data_set_does(photos: Path) -> None:
    cache = built(photos, NOISY)
    data = SRAugmentedDataset(photos, cache, policy=PATCH, size=(10, 14))
    augment = SRAugment(cache, policy=PATCH, size=(10, 14))
    assert all(same(augment(Image.open(file)), data[index]) for index, file in enumerate(files_of(photos)))


def test_an_arm_of_a_mixture_is_the_data_sets_and_reads_every_variant_once(photos: Path) -> None:
    cache = built(photos, NOISY, samples=2)
    arm = arm_dataset("sr=0.1,patch(lr,sr)=0.9", lr=photos, cache=cache, seed=4)
    data = SRAugmentedDataset(photos, cache, policy="sr=0.1,patch(lr,sr)=0.9", seed=4)
    for epoch in (0, 2):
        arm.set_epoch(epoch)
        data.set_epoch(epoch)
        assert all(same(arm[index], data[index]) for index in range(12))
    arm.check(0, range(20))


def test_a_forgotten_epoch_is_told_for_mixtures_too(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy=PATCH)
    with pytest.warns(UserWarning, match=r"Call set_epoch\(epoch\)"):
        [data[index] for _ in range(3) for index in range(12)]
    fixed = SRAugmentedDataset(photos, photos.parent / "cache", policy="blend(lr,sr,least=0.5,most=0.5)")
    assert len([fixed[index] for _ in range(3) for index in range(12)]) == 36
