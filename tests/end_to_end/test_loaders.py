"""SRAugmentedDataset in real loaders: the same images whatever the workers, and gaps filled under them.

Every image is served as a checksum of its pixels, and every label is the image's index, so a test can say of each item
what it should be.
"""

import itertools
import multiprocessing
import os
import pickle
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import Noise
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler
from torchvision.datasets.folder import DatasetFolder, default_loader

import srcache.stores.lmdb
from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError, MissError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Pixels, decode
from srcache.keys import entry_name, file_key
from srcache.recipe.reading import load_recipe, resolve
from srcache.recipe.recipe import Recipe

PLAIN = load_recipe("bicubic")
NOISY = resolve({"name": "noisy", "engine": "test-noise", "scale": 2})
BROKEN = resolve({"name": "broken", "engine": "test-faulty", "scale": 2})
SLEEPY = resolve({"name": "sleepy", "engine": "test-sleepy", "scale": 4, "options": {"milliseconds": 40}})
STARTS = ["fork", pytest.param("spawn", marks=pytest.mark.slow), "forkserver"]


class Files(DatasetFolder):
    """torchvision's folder, with items as it gives them, but the label is the index."""

    def __init__(self, root: Path) -> None:
        self.root, self.loader = root, default_loader
        self.transform = self.target_transform = None
        self.samples = [(str(path), index) for index, path in enumerate(sorted(root.iterdir()))]


def checksum(image: Image.Image) -> int:
    return zlib.crc32(image.tobytes())


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    (tmp_path / "images").mkdir()
    for index in range(24):
        Image.fromarray(make_image(16, 16 + 8 * (index % 2), index)).save(tmp_path / "images" / f"{index:02d}.png")
    return tmp_path / "images"


def built(folder: Path, recipe: Recipe, samples: int = 1) -> Path:
    fill(scan(folder), recipe, folder.parent / "cache", FillSettings(samples=samples))
    return folder.parent / "cache"


def empty(folder: Path, recipe: Recipe) -> Path:
    cache = create_cache(folder.parent / "cache")
    cache.add(recipe).store(writable=True).close()
    return cache.path


def opened(folder: Path, cache: Path, **given: Any) -> SRAugmentedDataset:
    return SRAugmentedDataset(Files(folder), cache, **{"transform": checksum, "size": "mixed", **given})


def served(loader: Any) -> dict[int, int]:
    """Checksum by index, of a whole epoch; an index that came twice must have been the same image."""
    found: dict[int, int] = {}
    for sums, indices in loader:
        for checked, index in zip(sums.tolist(), indices.tolist(), strict=True):
            assert found.setdefault(index, checked) == checked
    return found


def refusal(loader: Any) -> Exception:
    """What a loader raises, without the traceback: that holds the loader's workers until somebody collects garbage."""
    try:
        served(loader)
    except Exception as error:
        return error.with_traceback(None)
    raise AssertionError("the loader raised nothing")


def expected(data: SRAugmentedDataset, epoch: int) -> dict[int, int]:
    data.set_epoch(epoch)
    return {index: checked for checked, index in data}


def sums_of(folder: Path, recipe: Recipe, cache: Path) -> tuple[list[int], list[int]]:
    """Checksums of all LR and all SR images, from the files and the store."""
    files = [Path(path) for path, _ in Files(folder).samples]
    store = open_cache(cache).find(recipe).store()
    stored = [decode(store.get(entry_name(file_key(file), 0)) or b"") for file in files]
    lr = [decode(file.read_bytes()) for file in files]
    return [zlib.crc32(pixels.tobytes()) for pixels in lr], [zlib.crc32(pixels.tobytes()) for pixels in stored]


# --- the same images, whatever the workers ---


@pytest.mark.parametrize("start", STARTS)
def test_epochs_reach_persistent_workers_and_counts_come_back(folder: Path, start: str) -> None:
    cache = built(folder, NOISY, samples=2)
    data, alone = (opened(folder, cache, policy="lr=0.4,sr=0.6") for _ in range(2))
    loader = DataLoader(data, batch_size=3, num_workers=2, persistent_workers=True, multiprocessing_context=start)
    by_epoch = []
    for epoch in (0, 1, 7):
        data.set_epoch(epoch)
        by_epoch.append(served(loader))
        assert by_epoch[-1] == expected(alone, epoch)
    assert len({tuple(sums.values()) for sums in by_epoch}) == 3
    assert data.counts == alone.counts
    assert sum(data.counts.values()) == 3 * 24


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_neither_workers_nor_order_change_an_image(folder: Path, workers: int, shuffle: bool) -> None:
    cache = built(folder, PLAIN)
    alone = expected(opened(folder, cache), 5)
    for data in (opened(folder, cache), pickle.loads(pickle.dumps(opened(folder, cache)))):
        data.set_epoch(5)
        assert served(DataLoader(data, batch_size=5, num_workers=workers, shuffle=shuffle)) == alone


def test_all_ranks_see_the_same_variant_of_an_image(folder: Path) -> None:
    cache = built(folder, PLAIN)
    for epoch in range(2):
        ranks = []
        for rank in range(5):
            data = opened(folder, cache)
            sampler = DistributedSampler(data, num_replicas=5, rank=rank, shuffle=True, seed=3)  # type: ignore[arg-type]
            sampler.set_epoch(epoch)
            data.set_epoch(epoch)
            ranks.append(served(DataLoader(data, batch_size=2, sampler=sampler)))
            assert len(ranks[-1]) == 5
        together = {index: checked for found in ranks for index, checked in found.items()}
        assert together == expected(opened(folder, cache), epoch)
        assert all(together[index] == checked for found in ranks for index, checked in found.items())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_stopped_in_an_epoch_goes_on_with_the_same_images(folder: Path, workers: int) -> None:
    cache = built(folder, PLAIN)

    def batches(skip: int) -> list[tuple[list[int], list[int]]]:
        """Those of epoch 3, as a fresh process would see them; what is skipped is not decoded."""
        data = opened(folder, cache)
        data.set_epoch(3)
        order = BatchSampler(RandomSampler(range(24), generator=torch.Generator().manual_seed(103)), 4, drop_last=False)
        rest = list(itertools.islice(order, skip, None))
        loader = DataLoader(data, batch_sampler=rest, num_workers=workers)  # type: ignore[arg-type]
        found = [(sums.tolist(), indices.tolist()) for sums, indices in loader]
        assert sum(data.counts.values()) == 24 - 4 * skip
        return found

    whole = batches(0)
    assert sorted(index for _, indices in whole for index in indices) == list(range(24))
    assert batches(2) == whole[2:]


def shown(message: Warning | str, *_: Any) -> None:
    os.write(2, f"{message}\n".encode())


def loud(worker: int) -> None:
    """Show warnings as a script would, whatever pytest does with them in the process that was forked."""
    warnings.simplefilter("always")
    warnings.showwarning = shown


def test_a_forgotten_epoch_is_told_once_by_whichever_worker_notices(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = built(folder, PLAIN)
    for policy, times in (("lr=0.5,sr=0.5", 1), ("sr", 0)):
        data = opened(folder, cache, policy=policy)
        loader = DataLoader(data, batch_size=2, num_workers=2, persistent_workers=True, worker_init_fn=loud)
        served(loader)
        assert "set_epoch" not in capfd.readouterr().err
        for _ in range(3):
            served(loader)
        del loader
        assert capfd.readouterr().err.count("Call set_epoch(epoch)") == times


# --- what the cache lacks ---


def test_a_miss_in_a_worker_is_as_readable_as_one_without(folder: Path) -> None:
    data = opened(folder, empty(folder, PLAIN), policy="sr")
    for workers in (0, 1):
        error = refusal(DataLoader(data, batch_size=4, num_workers=workers))
        assert isinstance(error, MissError)
        assert re.search(r"no SR image .* of 00.png by recipe bicubic-.*run `srcache build`", str(error))


def test_sizes_that_do_not_stack_are_told_by_workers_too(folder: Path) -> None:
    data = SRAugmentedDataset(Files(folder), built(folder, PLAIN), policy="lr=0.5,sr=0.5")
    for workers in (0, 1):
        error = refusal(DataLoader(data, batch_size=8, num_workers=workers))
        assert isinstance(error, CatalogError)
        assert re.search(r"lr, sr images has the sizes .*16×16.* give size=", str(error))


@pytest.mark.parametrize("instead", ["lr", "hr"])
def test_fallbacks_in_workers_are_counted(folder: Path, instead: str) -> None:
    data = opened(folder, empty(folder, PLAIN), policy="sr", on_miss=instead, hr=folder)
    found = served(DataLoader(data, batch_size=4, num_workers=2))
    files = [Path(path) for path, _ in Files(folder).samples]
    assert found == {index: zlib.crc32(decode(file.read_bytes()).tobytes()) for index, file in enumerate(files)}
    assert data.counts == {**dict.fromkeys(data.counts, 0), instead: 24, f"missed_to_{instead}": 24}


@pytest.mark.parametrize(
    ("start", "engine"),
    [("fork", "by name"), ("fork", "open"), pytest.param("spawn", "by name", marks=pytest.mark.slow)],
)
def test_workers_that_miss_the_same_images_at_once_store_them_once(folder: Path, start: str, engine: str) -> None:
    cache = empty(folder, NOISY)
    on_miss: Any = "engine" if engine == "by name" else Noise(NOISY.setup("cpu"))
    data = opened(folder, cache, policy="sr", on_miss=on_miss)
    twice = [batch for first in range(0, 24, 4) for batch in [list(range(first, first + 4))] * 2]
    found = served(DataLoader(data, batch_sampler=twice, num_workers=2, multiprocessing_context=start))
    store = open_cache(cache).find(NOISY).store()
    assert len(list(store.names())) == 24
    assert 24 <= data.counts["computed"] <= 48
    reference = folder.parent / "reference"
    fill(scan(folder), NOISY, reference)
    undisturbed = open_cache(reference).find(NOISY).store()
    assert {name: store.get(name) for name in store.names()} == {n: undisturbed.get(n) for n in undisturbed.names()}
    assert found == dict(enumerate(sums_of(folder, NOISY, reference)[1]))
    computed = data.counts["computed"]
    assert served(DataLoader(data, batch_size=4, num_workers=1)) == found
    assert data.counts["computed"] == computed


def test_an_engine_that_fails_in_a_worker_says_why(folder: Path, make_image: Callable[..., Pixels]) -> None:
    Image.fromarray(make_image(24, 24, 1, mark="fails")).save(folder / "03.png")
    data = opened(folder, empty(folder, BROKEN), policy="sr", on_miss="engine")
    error = refusal(DataLoader(data, batch_size=8, num_workers=1))
    assert isinstance(error, MissError)
    assert "03.png (marked: the image is marked to fail)" in str(error)


def fill_slowly(folder: Path, cache: Path) -> None:
    """In a process of its own, with a map that has to grow under the readers."""
    srcache.stores.lmdb._FIRST_MAP = 1 << 16
    torch.set_num_threads(1)
    fill(scan(folder), SLEEPY, cache, FillSettings(batch=4))


@pytest.fixture
def filling(folder: Path) -> Iterator[tuple[Path, Any]]:
    cache = empty(folder, SLEEPY)
    process = multiprocessing.get_context("fork").Process(target=fill_slowly, args=(folder, cache))
    yield cache, process
    if process.pid is not None:
        process.kill()
        process.join()


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8 worker processes:UserWarning")
def test_eight_workers_read_while_a_fill_writes(folder: Path, filling: tuple[Path, Any]) -> None:
    cache, writer = filling
    data = opened(folder, cache, policy="sr", on_miss="lr")
    loader = DataLoader(data, batch_size=1, num_workers=8, persistent_workers=True)
    rounds = [served(loader)]
    writer.start()
    while writer.is_alive():
        rounds.append(served(loader))
    writer.join()
    assert writer.exitcode == 0
    rounds.append(served(loader))
    lr, sr = sums_of(folder, SLEEPY, cache)
    assert rounds[0] == dict(enumerate(lr))
    assert rounds[-1] == dict(enumerate(sr))
    for found in rounds:
        assert all(found[index] in (lr[index], sr[index]) for index in range(24))
    for earlier, later in itertools.pairwise(rounds):
        assert all(later[index] == sr[index] for index in range(24) if earlier[index] == sr[index])
    assert data.counts["sr"] + data.counts["lr"] == 24 * len(rounds)
    assert data.counts["missed_to_lr"] == data.counts["lr"]
