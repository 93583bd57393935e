"""One of several processes that train together: `python distributed_rank.py RANK RANKS FOLDER CACHE OUT`.

It goes through two epochs with a DataLoader and an SRLoader, each under a DistributedSampler, and the first process
writes down what all of them saw: {loader: [{index: checksum} of each rank, for each epoch]}.
"""

import json
import os
import sys
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.datasets.folder import DatasetFolder, default_loader
from torchvision.transforms import v2

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.loader.loader import SRLoader

EPOCHS = 2


class Numbered(DatasetFolder):
    """torchvision's folder, with items as it gives them, but the label is the index."""

    def __init__(self, root: Path) -> None:
        self.root, self.loader = root, default_loader
        self.transform = self.target_transform = None
        self.samples = [(str(path), index) for index, path in enumerate(sorted(root.iterdir()))]


def opened(folder: Path, cache: Path) -> SRAugmentedDataset:
    """The data set that every process trains on."""
    return SRAugmentedDataset(Numbered(folder), cache, policy="lr=0.5,sr=0.5", size=24, transform=v2.ToImage())


def seen(loader: Iterable[Any]) -> list[tuple[int, int]]:
    """(index, checksum) of every image of an epoch."""
    return [
        (int(index), zlib.crc32(image.contiguous().numpy().tobytes()))
        for images, indices in loader
        for image, index in zip(images, indices, strict=True)
    ]


def epochs(loader: Any, sampler: "DistributedSampler[Any]", data: SRAugmentedDataset) -> list[list[Any]]:
    """What all processes saw, epoch by epoch."""
    found = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        data.set_epoch(epoch)
        ranks: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(ranks, seen(loader))
        found.append(ranks)
    return found


def main(rank: int, ranks: int, folder: Path, cache: Path, out: Path) -> None:
    """Train, so to say."""
    warnings.simplefilter("error")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{out}.meet", rank=rank, world_size=ranks)
    torch.set_num_threads(1)
    found = {}
    for make in (DataLoader, SRLoader):
        data = opened(folder, cache)
        sampler: DistributedSampler[Any] = DistributedSampler(data, shuffle=True, seed=7)  # type: ignore[arg-type]
        loader = make(data, batch_size=5, sampler=sampler, num_workers=2)  # type: ignore[operator]
        found[make.__name__] = epochs(loader, sampler, data)
    if rank == 0:
        out.write_text(json.dumps(found))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:]))
