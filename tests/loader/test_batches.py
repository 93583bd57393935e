"""One batch: its images and labels are the data set's, and an error says which image it was."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate
from torchvision.transforms import v2
from training_sets import NOISY

from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError, MissError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.loader.batches import load_batch
from srcache.loader.ring import Slot


@pytest.mark.parametrize("policy", ["sr", "lr", "sr#1=0.5,sr#0=0.5"])
def test_a_batch_is_what_the_data_set_serves(square, policy):
    data = SRAugmentedDataset(square, square.parent / "cache", policy=policy, transform=v2.PILToTensor())
    data.set_epoch(2)
    indices = [5, 0, 21, -1, 5]
    images, labels = default_collate(data.__getitems__(indices))
    batch = load_batch(data, indices, 2, Slot())
    assert torch.equal(batch.images, images)
    assert torch.equal(batch.labels, labels)


def test_images_of_different_sizes_are_refused(square):
    data = SRAugmentedDataset(square, square.parent / "cache", policy="lr=0.5,sr=0.5")
    with pytest.raises(CatalogError, match="a batch of lr, sr images has the sizes 12×12, 24×24, which do not stack"):
        load_batch(data, range(22), 0, Slot())


def test_labels_are_collated_as_a_data_loader_does(square):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 12, 12, 3), np.uint8)
    for labels in (["one", "two", "three"], [0.5, 1.5, 2.5], [{"a": 1, "b": "x"}] * 3, [(1, 2.0)] * 3):
        base = list(zip(pixels, labels, strict=True))
        data = SRAugmentedDataset(base, square.parent / "cache", policy="lr")
        assert str(load_batch(data, range(3), 0, Slot()).labels) == str(default_collate(labels))


def test_an_error_names_the_image(square, monkeypatch):
    data = SRAugmentedDataset(square, square.parent / "cache", policy="sr#1")
    missing = SRAugmentedDataset([(np.zeros((4, 4, 3), np.uint8), 0)], square.parent / "cache", policy="sr")
    with pytest.raises(MissError, match=r"has no SR image .* of item 0"):
        load_batch(missing, [0], 0, Slot())
    monkeypatch.setattr("srcache.dataset.lookup.decode_lent", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:
        load_batch(data, [4, 2], 0, Slot())
    assert raised.value.__notes__ == ["while reading a/08.png for a batch"]
    with pytest.raises(IndexError, match="expected an index below 22, but got 22"):
        load_batch(data, [22], 0, Slot())


@pytest.mark.parametrize("codec", ["ppm", "qoi"])
@pytest.mark.parametrize("policy", ["sr", "lr=0.5,sr=0.5"])
def test_pixels_that_lie_in_the_store_are_copied_before_the_batch_ends(square, tmp_path, codec, policy):
    fill(scan(square), NOISY, tmp_path / "cache", FillSettings(codec=codec))
    data = SRAugmentedDataset(square, tmp_path / "cache", policy=policy, size=24, transform=v2.PILToTensor())
    for epoch in range(3):
        data.set_epoch(epoch)
        indices = [3, 1, 4, 1, 5, 9, 2, 6]
        images, _ = default_collate(data.__getitems__(indices))
        batch = load_batch(data, indices, epoch, Slot())
        data.reader.images._store.close()
        assert torch.equal(batch.images, images)
