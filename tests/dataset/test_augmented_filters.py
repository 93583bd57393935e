"""SRAugmentedDataset with a policy that filters by what was measured of each SR image."""

import copy
import pickle
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from training_sets import (
    NOISY,
    built,
    files_of,
    same,
    stored,
)

from srcache.cache.manifest import open_cache
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.policy import Policy, Variant
from srcache.dataset.scores import LabelScore, begin_scores, open_score_filter, write_scores
from srcache.errors import (
    DamagedError,
    PolicyError,
)
from srcache.images import decode
from srcache.keys import entry_name, file_key
from srcache.recipe.recipe import Recipe


def measured(cache: Path, recipe: Recipe, safe: Mapping[tuple[Path, int], float]) -> Path:
    """A side table: (photo, sample) → safe; returns the recipe's folder."""
    home = open_cache(cache).find(recipe).path
    begin_scores(home, {"classifier": None}, {})
    rest = {"back_projection": 30.0, "back_projection_error": 1.0}
    rows = [
        LabelScore(image=file.stem, key=file_key(file), sample=sample, safe=value, **rest)
        for (file, sample), value in safe.items()
    ]
    write_scores(home, rows)
    return home


def with_samples(photos: Path) -> tuple[Path, list[Path]]:
    """A cache of 3 samples; of photo n (n < 10), n % 4 of them are safe, the first ones last; two have no row."""
    cache, files = built(photos, NOISY, samples=3), files_of(photos)
    table = {(file, sample): float(sample >= 3 - n % 4) for n, file in enumerate(files[:10]) for sample in range(3)}
    measured(cache, NOISY, table)
    return cache, files


@pytest.mark.medium
def test_a_filter_serves_only_what_passes_and_the_rest_by_the_other_terms(photos: Path) -> None:
    cache, files = with_samples(photos)
    entries = stored(cache, NOISY)
    data = SRAugmentedDataset(photos, cache, policy="lr=1,sr[safe>0.9]=3", seed=4, size="mixed")
    plain = SRAugmentedDataset(photos, cache, policy="lr=1,sr=3", seed=4)
    served: list[Counter[Variant]] = [Counter() for _ in files]
    for epoch in range(80):
        data.set_epoch(epoch)
        plain.set_epoch(epoch)
        for index in range(12):
            variant = data.variant(index)
            served[index][variant] += 1
            if index % 4 == 3 and index < 10:
                assert variant == plain.variant(index), "what passes everything is served as without a filter"
            if epoch < 4:
                key = file_key(files[index])
                name = entry_name(key, variant.sample or 0)
                assert same(data[index], decode(entries[name] if variant.kind == "sr" else files[index].read_bytes()))
    for index, counts in enumerate(served):
        fits = {Variant("sr", sample) for sample in range(3) if index < 10 and sample >= 3 - index % 4}
        assert set(counts) == {Variant("lr")} | fits
    assert data.counts["sr"] + data.counts["lr"] == 48


def test_one_named_sample_is_filtered_by_its_own_row(photos: Path) -> None:
    cache, _ = with_samples(photos)
    data = SRAugmentedDataset(photos, cache, policy="0: lr; 2: lr=1e-9,sr#1[safe>0.9&back_projection>=30]=1")
    data.set_epoch(2)
    kinds = [data.variant(index) for index in range(12)]
    assert kinds == [Variant("sr", 1) if n % 4 >= 2 and n < 10 else Variant("lr") for n in range(12)]


def test_a_policy_that_leaves_nothing_for_some_images_is_refused_at_once(photos: Path) -> None:
    cache, files = with_samples(photos)
    words = (
        r"the policy sr\[safe>0.9\]=1 leaves nothing for 5 of 12 images, 2 of which have no row in .*safety.csv "
        r"\(`srcache safety` measures them\): bark/bark0.png, gravel/gravel0.png, moss/moss0.png, .*; "
        "add a plain term that serves them, such as lr"
    )
    with pytest.raises(PolicyError, match=words):
        SRAugmentedDataset(photos, cache, policy="sr[safe>0.9]")
    with pytest.raises(PolicyError, match="leaves nothing for 5 of 12"):
        SRAugmentedDataset(photos, cache, policy="0: lr; 90: sr[safe>0.9],sr#1[safe>0.95]")
    with pytest.raises(PolicyError, match="leaves nothing for 2 of 12 images, 2 of which have no row"):
        SRAugmentedDataset(photos, cache, policy="sr[safe>=0]")
    measured(cache, NOISY, {(file, 2): 0.95 for file in files})
    data = SRAugmentedDataset(photos, cache, policy="sr[safe>0.9]")
    assert {data.variant(index) for index in range(12)} == {Variant("sr", 2)}
    with pytest.raises(PolicyError, match=r"leaves nothing for 12 of 12 images: bark/bark0.png.* and 2 more"):
        SRAugmentedDataset(photos, cache, policy="sr[safe>0.95]")


def test_filters_need_measurements(photos: Path) -> None:
    cache = built(photos, NOISY)
    with pytest.raises(PolicyError, match=r"by safe>0.9, but nothing was measured .* run `srcache safety` first"):
        SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    home = measured(cache, NOISY, {(file, 0): 1 for file in files_of(photos)})
    with pytest.raises(PolicyError, match="measured without a classifier, so it has no agree"):
        SRAugmentedDataset(photos, cache, policy="lr,sr[agree>0.9]")
    (home / "safety.csv").write_text("mine")
    with pytest.raises(DamagedError, match=r"safety.csv is not the table"):
        SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    assert SRAugmentedDataset(photos, cache, policy="lr,sr").measurements is None


def test_the_table_is_read_once(photos: Path) -> None:
    cache, files = with_samples(photos)
    data = SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    before = [data.variant(index) for index in range(12)]
    home = measured(cache, NOISY, {(file, 0): 0 for file in files})
    assert [data.variant(index) for index in range(12)] == before
    for twin in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert [twin.variant(index) for index in range(12)] == before
        assert twin.measurements == data.measurements
    opened = SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    assert {opened.variant(index) for index in range(12)} == {Variant("lr")}
    assert (
        data.measurements != opened.measurements == open_score_filter(home, Policy.parse("sr[safe>1]").filters).digest
    )


def test_images_in_memory_are_filtered_by_their_files_rows(photos: Path) -> None:
    cache, files = with_samples(photos)
    images = [(Image.open(file).convert("RGB"), 0) for file in files]
    data = SRAugmentedDataset(images, cache, policy="lr=1e-9,sr[safe>0.9]=1")
    kinds = [data.variant(index).kind for index in range(12)]
    assert kinds == ["sr" if n % 4 and n < 10 else "lr" for n in range(12)]
    with pytest.raises(PolicyError, match=r"5 of 12 images, 2 of which .*: item 0, item 4, item 8, item 10"):
        SRAugmentedDataset(images, cache, policy="sr[safe>0.9]")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("workers", "start"), [(0, None), (2, "fork"), pytest.param(1, "spawn", marks=pytest.mark.slow)]
)
def test_filtered_variants_are_the_same_for_any_workers(photos: Path, workers: int, start: str | None) -> None:
    cache, _ = with_samples(photos)

    def opened() -> SRAugmentedDataset:
        return SRAugmentedDataset(photos, cache, policy="lr=1,sr[safe>0.9]=1", seed=2, size=8, transform=np.array)

    data, alone = opened(), opened()
    persistent: dict[str, Any] = {"multiprocessing_context": start, "persistent_workers": True} if start else {}
    loader = DataLoader(data, batch_size=5, num_workers=workers, **persistent)
    epochs = []
    for epoch in (0, 3):
        data.set_epoch(epoch)
        alone.set_epoch(epoch)
        epochs.append(torch.cat([images for images, _ in loader]).numpy())
        assert same(epochs[-1], np.stack([alone[index][0] for index in range(12)]))
    assert not same(*epochs)
