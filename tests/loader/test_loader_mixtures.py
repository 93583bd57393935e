"""Mixtures in SRLoader: the data set's pixels, with any number of workers, in any order, and after a resumption."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import PILToTensor

from srcache import SRLoader
from srcache.dataset.augmented import SRAugmentedDataset


def batches(loader: Any) -> list[torch.Tensor]:
    return [images.clone() for images, _ in loader]


MANY = "lr=0.2,sr=0.2,patch(sr,lr)=1,patch(sr#0,sr#1,grid=2)=1,blend(lr,sr#1)=1"


@pytest.mark.parametrize("size", [24, 15])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_pixels_of_the_data_set(square: Path, size: int, workers: int) -> None:
    def opened() -> SRAugmentedDataset:
        return SRAugmentedDataset(square, square.parent / "cache", policy=MANY, size=size, transform=PILToTensor())

    fast, plain = opened(), opened()
    fast.transform = None
    loader = SRLoader(fast, batch_size=5, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(1))
    peer = DataLoader(plain, batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(1))
    for epoch in (0, 4):
        loader.set_epoch(epoch)
        plain.set_epoch(epoch)
        for one, other in zip(batches(loader), batches(peer), strict=True):
            assert torch.equal(one, other)
    assert fast.counts == plain.counts
    assert sum(fast.counts.values()) == 44
    assert min(fast.counts[kind] for kind in ("patch", "blend")) > 5


@pytest.mark.medium
def test_neither_workers_nor_a_resumption_change_a_mixture(square: Path) -> None:
    def opened() -> SRAugmentedDataset:
        return SRAugmentedDataset(square, square.parent / "cache", policy=MANY, size=24, transform=PILToTensor())

    alone = opened()
    alone.set_epoch(3)
    expected = [alone[index][0] for index in range(len(alone))]
    data = opened()
    data.set_epoch(3)
    served = torch.cat(batches(DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="fork")))
    assert torch.equal(served, torch.stack(expected))
    assert data.counts == alone.counts
    data.transform = None
    loader = SRLoader(data, batch_size=4, num_workers=1)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    state = loader.state_dict()
    again = SRLoader(SRAugmentedDataset(square, square.parent / "cache", policy=MANY, size=24), batch_size=4)
    again.load_state_dict(state)
    assert torch.equal(torch.cat(batches(again)), torch.stack(expected[8:]))
