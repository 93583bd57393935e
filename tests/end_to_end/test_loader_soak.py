"""SRLoader for thirty epochs: every batch has the checksum that a DataLoader's has, and memory stays what it was."""

import gc
import os
import threading
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from training_sets import NOISY

from srcache import SRLoader
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings

EPOCHS, IMAGES, BATCH = 30, 240, 16


@pytest.fixture(scope="module", params=["lmdb", "shards"])
def folder(request, tmp_path_factory):
    """A folder of images; beside it a cache of each kind of store with two samples of each."""
    folder, rng = tmp_path_factory.mktemp("soak") / "images", np.random.default_rng(1)
    folder.mkdir()
    for number in range(IMAGES):
        low = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
        low.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.jpg", quality=90)
    fill(scan(folder), NOISY, folder.parent / "cache", FillSettings(samples=2, store=request.param))
    return folder


def _opened(folder):
    policy = "lr=0.3,sr=0.7"
    return SRAugmentedDataset(folder, folder.parent / "cache", policy=policy, size=96, transform=v2.PILToTensor())


def _checksums(loader):
    """Of every batch of an epoch, the images in memory's order of channels, rows, columns, and the labels."""
    return [zlib.crc32(images.contiguous().numpy().tobytes() + str(labels).encode()) for images, labels in loader]


def _written_bytes():
    """Memory of this process alone that it has written to."""
    gc.collect()
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) << 10


@pytest.mark.slow
def test_thirty_epochs_are_right_and_take_no_memory(folder):
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    wanted = DataLoader(_opened(folder), BATCH, shuffle=True, generator=first)
    loader = SRLoader(_opened(folder), BATCH, shuffle=True, num_workers=3, generator=second)
    held, files, threads = [], [], []
    for epoch in range(EPOCHS):
        wanted.dataset.set_epoch(epoch)
        loader.set_epoch(epoch)
        assert _checksums(loader) == _checksums(wanted), f"epoch {epoch}"
        held.append(_written_bytes())
        files.append(len(os.listdir("/proc/self/fd")))
        threads.append(threading.active_count())
    assert max(held[5:]) - held[4] < 4 << 20, f"bytes after each epoch: {held}"
    assert len(set(files[2:])) == 1, files
    assert len(set(threads)) == 1, threads
    assert loader.dataset.counts == wanted.dataset.counts
