"""SRAugmentedDataset: the right pixels for every variant, sample and size, as often as the policy says."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision import transforms as T  # noqa: N812
from torchvision.datasets import ImageFolder
from training_sets import NOISY, PLAIN, SHRUNK, TO_TENSOR, array, built, files_of, same, stored

from srcache.catalog import hashing as memo
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.policy import Policy, Variant
from srcache.errors import (
    CatalogError,
    PolicyError,
)
from srcache.images import Pixels, decode, resize
from srcache.keys import entry_name, file_key
from srcache.recipe.degradation import Degradation


def test_sr_is_what_the_store_holds(photos: Path) -> None:
    cache = built(photos, PLAIN)
    data, entries = SRAugmentedDataset(photos, cache, policy="sr"), stored(cache, PLAIN)
    for index, file in enumerate(files_of(photos)):
        assert same(data[index], decode(entries[entry_name(file_key(file), 0)]))
        assert data[index][0].mode == "RGB"


def test_with_a_degradation_the_base_is_hr_and_lr_is_made_of_it(photos: Path) -> None:
    cache, files = built(photos, SHRUNK), files_of(photos)
    served = {kind: SRAugmentedDataset(photos, cache, policy=kind) for kind in ("hr", "lr", "sr")}
    for index, file in enumerate(files):
        original = decode(file.read_bytes())
        assert same(served["hr"][index], original)
        assert same(served["lr"][index], Degradation(factor=2, filter="bicubic").apply(original))
        assert array(served["sr"][index]).shape == original.shape


def test_hr_is_hr_paths_by_name_without_suffix_and_never_by_order(
    photos: Path, make_image: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = built(photos, PLAIN)
    large = {file: make_image(96, 128, 50 + place) for place, file in enumerate(files_of(photos))}
    for file, pixels in reversed(large.items()):
        (photos.parent / "hr" / file.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photos.parent / "hr" / file.parent.name / f"{file.stem}.bmp")
    Image.fromarray(make_image(8, 8)).save(photos.parent / "hr" / "moss" / "another.png")
    with monkeypatch.context() as patched:
        patched.setattr(memo, "file_key", lambda path: file_key(path) if "hr" not in path.parts else 1 / 0)
        opened = SRAugmentedDataset(photos, cache, policy="hr", hr=photos.parent / "hr")
    bases = (scan(photos.parent / "hr"), ImageFolder(photos.parent / "hr"), Subset(ImageFolder(photos), range(12)))
    others = [SRAugmentedDataset(photos, cache, policy="hr", hr=bases[0])]
    others.append(SRAugmentedDataset(photos, cache, policy="hr", hr=bases[1]))
    others.append(SRAugmentedDataset(bases[2], cache, policy="hr", hr=str(photos.parent / "hr")))
    for data in (opened, *others):
        assert all(same(data[index], pixels) for index, pixels in enumerate(large.values()))


def test_hr_images_that_are_missing_or_twice_there_are_listed(photos: Path) -> None:
    cache, files = built(photos, PLAIN), files_of(photos)
    large = photos.parent / "hr"
    for file in files[2:]:
        (large / file.parent.name).mkdir(parents=True, exist_ok=True)
        (large / file.parent.name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CatalogError, match=r"2 of 12 images have no HR image .*: bark/bark0.png, bark/bark1.png"):
        SRAugmentedDataset(photos, cache, policy="hr", hr=large)
    for file in files[:2]:
        (large / file.parent.name / file.name).write_bytes(file.read_bytes())
    (large / "bark" / "bark0.bmp").write_bytes(files[0].read_bytes())
    with pytest.raises(CatalogError, match=r"bark/bark0.bmp and bark/bark0.png; leave one"):
        SRAugmentedDataset(photos, cache, policy="hr", hr=large)


@pytest.mark.parametrize(("size", "shape"), [(20, (20, 20)), ((12, 30), (12, 30)), ([12, 30], (12, 30))])
def test_size_brings_every_variant_to_one_size(photos: Path, size: Any, shape: tuple[int, int]) -> None:
    cache = built(photos, SHRUNK)
    data = SRAugmentedDataset(photos, cache, policy="hr=1,lr=1,sr=1", size=size, transform=T.ToTensor())
    images, _ = next(iter(DataLoader(data, batch_size=12)))
    assert images.shape == (12, 3, *shape)
    assert all(data.counts[kind] for kind in ("hr", "lr", "sr"))
    for index in range(12):
        kind = data.variant(index).kind
        native = SRAugmentedDataset(photos, cache, policy=kind)[index]
        assert torch.equal(images[index], T.ToTensor()(Image.fromarray(resize(array(native), shape, "bicubic"))))


def test_a_batch_of_several_sizes_is_refused_unless_it_is_wanted(photos: Path) -> None:
    cache = built(photos, PLAIN)

    def batch(**options: Any) -> Any:
        data = SRAugmentedDataset(photos / "bark", cache, policy="sr", **options)
        return data.__getitems__([0, 1])

    with pytest.raises(CatalogError, match=r"a batch of sr images has the sizes 128×96, 96×128, .*give size="):
        batch()
    with pytest.raises(CatalogError, match="3×128×96, 3×96×128"):
        batch(transform=T.ToTensor())
    assert [image.size for image, _ in batch(size="mixed")] == [(128, 96), (96, 128)]
    assert [image.shape for image, _ in batch(transform=TO_TENSOR)] == [(3, 16, 16), (3, 16, 16)]
    assert [image for image, _ in batch(transform=lambda image: {"wide": image.width})] == [{"wide": 128}, {"wide": 96}]


def test_samples_are_served_as_the_policy_says(photos: Path) -> None:
    cache = built(photos, NOISY, samples=3)
    entries, key = stored(cache, NOISY), file_key(files_of(photos)[4])
    assert len(entries) == 36
    one = SRAugmentedDataset(photos, cache, policy="sr#1")
    assert same(one[4], decode(entries[entry_name(key, 1)]))
    some = SRAugmentedDataset(photos, cache, policy="sr")
    seen = set()
    for epoch in range(12):
        some.set_epoch(epoch)
        variant = some.variant(4)
        assert same(some[4], decode(entries[entry_name(key, variant.sample or 0)]))
        seen.add(variant.sample)
    assert seen == {0, 1, 2}
    with pytest.raises(PolicyError, match=r"names sample 3.* 3 per image.*--samples 4"):
        SRAugmentedDataset(photos, cache, policy="lr=1,sr#3=1")


def test_frequencies_follow_the_weights_over_epochs_and_the_seed_decides(photos: Path) -> None:
    cache = built(photos, SHRUNK)
    data = SRAugmentedDataset(photos, cache, policy="lr=1,sr=2,hr=1", seed=5)
    again = SRAugmentedDataset(photos, cache, policy=Policy.parse("lr=1,sr=2,hr=1", seed=5))
    other = SRAugmentedDataset(photos, cache, policy="lr=1,sr=2,hr=1", seed=6)
    served: Counter[Variant] = Counter()
    different = 0
    for epoch in range(200):
        for one in (data, again, other):
            one.set_epoch(epoch)
        row = [data.variant(index) for index in range(12)]
        assert row == [again.variant(index) for index in range(12)]
        different += row != [other.variant(index) for index in range(12)]
        served.update(row)
    assert different > 190
    for variant, share in ((Variant("lr"), 0.25), (Variant("sr", 0), 0.5), (Variant("hr"), 0.25)):
        assert abs(served[variant] - 2400 * share) < 4 * math.sqrt(2400 * share * (1 - share))


def test_a_schedule_follows_the_epoch(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="0: lr; 2: sr")
    kinds = []
    for epoch in range(4):
        data.set_epoch(epoch)
        assert data.epoch == epoch
        kinds.append({data.variant(index).kind for index in range(12)})
        assert data[0][0].width == (32 if epoch < 2 else 128)
    assert kinds == [{"lr"}, {"lr"}, {"sr"}, {"sr"}]
