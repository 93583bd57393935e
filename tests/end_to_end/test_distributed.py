"""Two processes that train together (gloo) see each image once in an epoch, as the variants that one process picks."""

import json
import subprocess
import sys
from pathlib import Path

import distributed_rank
import pytest
from distributed_rank import EPOCHS, opened, seen
from fills import write
from torch.utils.data import DataLoader

from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import load_recipe

RANKS, IMAGES = 2, 24

pytestmark = pytest.mark.medium


@pytest.mark.parametrize("store", [pytest.param("lmdb", marks=pytest.mark.slow), "shards"])
def test_each_image_comes_once_and_as_the_variant_that_one_process_picks(store, make_image, tmp_path):
    folder = write(tmp_path / "images", IMAGES, lambda number: (12, 12), make=make_image)
    settings = FillSettings(device="cpu", store=store, shard_bytes=40_000)
    assert fill(scan(folder), load_recipe("bicubic"), tmp_path / "cache", settings).left == 0
    line = [sys.executable, "-P", distributed_rank.__file__]
    words = [str(RANKS), folder, tmp_path / "cache", tmp_path / "seen.json"]
    pipe = subprocess.PIPE
    ranks = [
        subprocess.Popen([*line, str(rank), *map(str, words)], stdout=pipe, stderr=pipe, text=True)
        for rank in range(RANKS)
    ]
    said = [rank.communicate(timeout=300) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * RANKS, said
    found = json.loads(Path(tmp_path / "seen.json").read_text())
    alone = expected(folder, tmp_path / "cache")
    assert alone[0] != alone[1], "the epochs differ, so that a forgotten one would show"
    assert set(found) == {"DataLoader", "SRLoader"}
    for loader, by_epoch in found.items():
        for epoch, each in enumerate(by_epoch):
            assert [len(rank) for rank in each] == [IMAGES // RANKS] * RANKS, loader
            together = [tuple(one) for rank in each for one in rank]
            assert sorted(together) == sorted(alone[epoch].items()), (loader, epoch)
        orders = [[index for rank in each for index, _ in rank] for each in by_epoch]
        assert orders[0] != orders[1]
    assert found["DataLoader"] == found["SRLoader"], "the same images in the same order, on each process"


def expected(folder, cache):
    """Of each epoch the checksums of all images by index, as one process without workers serves them."""
    epochs = []
    for epoch in range(EPOCHS):
        data = opened(folder, cache)
        data.set_epoch(epoch)
        epochs.append(dict(seen(DataLoader(data, batch_size=IMAGES))))
    assert [len(one) for one in epochs] == [IMAGES] * EPOCHS
    assert 0 < data.counts["sr"] < IMAGES
    return epochs
