"""SRLoader against a DataLoader over the same data set: the same batches, item by item, whatever the arguments."""

import os
import pickle
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from training_sets import empty

from srcache import SRLoader
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import ConfigError, DamagedError, MissError
from srcache.keys import file_key
from srcache.recipe.reading import resolve

SCALED = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)])
ARGUMENTS = {
    "in order": lambda data, generator: {"batch_size": 4},
    "shuffled": lambda data, generator: {"batch_size": 5, "shuffle": True},
    "last one dropped": lambda data, generator: {"batch_size": 5, "shuffle": True, "drop_last": True},
    "one by one": lambda data, generator: {"shuffle": True},
    "sampler": lambda data, generator: {"batch_size": 3, "sampler": RandomSampler(data, generator=generator)},
    "replacement": lambda data, generator: {
        "batch_size": 7,
        "sampler": WeightedRandomSampler([1.0, 3.0] * 11, 30, generator=generator),
    },
    "batch sampler": lambda data, generator: {"batch_sampler": BatchSampler(SequentialSampler(data), 6, False)},
    "plain lists": lambda data, generator: {"batch_sampler": [[1, 2, 3], [-1], [4, 4]]},
    "distributed": lambda data, generator: {
        "batch_size": 4,
        "sampler": DistributedSampler(data, num_replicas=3, rank=1, shuffle=True),
    },
}


def opened(folder, policy="lr=0.4,sr=0.6", **given):
    given.setdefault("transform", SCALED)
    return SRAugmentedDataset(folder, folder.parent / "cache", policy=policy, size=24, seed=3, **given)


def epochs_of(make, folder, arguments, workers):
    """Three epochs of a loader whose generator is shared with its sampler and with the loop."""
    data, generator = opened(folder), torch.Generator().manual_seed(11)
    torch.manual_seed(12)
    given = ARGUMENTS[arguments](data, generator)
    loader = make(data, num_workers=workers, generator=generator, **given)
    found = []
    for epoch in range(3):
        data.set_epoch(epoch)
        if hasattr(given.get("sampler"), "set_epoch"):
            given["sampler"].set_epoch(epoch)
        for images, labels in loader:
            found.append((images.clone(), labels, torch.rand(1, generator=generator).item(), torch.rand(1).item()))
        found.append(len(loader))
    return found


WITH_WORKERS = ("shuffled", "sampler", "batch sampler")
"""With whom workers are tried in the quick suite: a shuffle of its own, a sampler, and a sampler of batches."""


@pytest.mark.medium
@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        pytest.param(name, count, marks=[pytest.mark.slow] * (count > 0 and name not in WITH_WORKERS))
        for name in ARGUMENTS
        for count in (0, 2)
    ],
)
def test_it_gives_a_data_loaders_batches(square, arguments, workers):
    wanted = epochs_of(DataLoader, square, arguments, workers)
    for threads in (workers,) if workers == 0 else (2,):
        got = epochs_of(SRLoader, square, arguments, threads)
        assert len(got) == len(wanted)
        for left, right in zip(wanted, got, strict=True):
            if isinstance(left, int):
                assert left == right
                continue
            assert torch.equal(left[0], right[0])
            assert torch.equal(left[1], right[1])
            assert left[2:] == right[2:]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("arguments", ["shuffled", "in order", "distributed"])
def test_threads_change_nothing(square, arguments, threads):
    wanted, got = (epochs_of(SRLoader, square, arguments, workers) for workers in (0, threads))
    for left, right in zip(wanted, got, strict=True):
        assert left == right if isinstance(left, int) else torch.equal(left[0], right[0])


def test_a_data_loaders_prefetching_draws_ahead_as_this_one_does(square):
    def drawn(make):
        data, generator = opened(square, policy="sr#0"), torch.Generator().manual_seed(4)
        sampler = RandomSampler(data, replacement=True, num_samples=200, generator=generator)
        loader = make(data, 2, sampler=sampler, num_workers=1, prefetch_factor=3, generator=generator)
        iterator = iter(loader)
        numbers = [torch.rand(1, generator=generator).item()]
        for _ in range(20):
            next(iterator)
            numbers.append(torch.rand(1, generator=generator).item())
        return numbers

    assert drawn(SRLoader) == drawn(DataLoader)


def test_without_a_transform_images_are_bytes(square):
    images, labels = next(iter(SRLoader(opened(square, transform=None), 6, num_workers=1)))
    assert (images.shape, images.dtype, labels.dtype) == ((6, 3, 24, 24), torch.uint8, torch.int64)
    assert images.is_contiguous(memory_format=torch.channels_last)
    wanted = next(iter(DataLoader(opened(square, transform=v2.PILToTensor()), 6)))
    assert torch.equal(images, wanted[0])


def test_an_image_folders_transform_is_taken_to_batches(square):
    base = ImageFolder(square, transform=v1.ToTensor())
    data = SRAugmentedDataset(base, square.parent / "cache", policy="sr")
    wanted = next(iter(DataLoader(data, 8)))
    assert torch.equal(next(iter(SRLoader(data, 8)))[0], wanted[0])


def test_the_loaders_transform_comes_last_and_sees_batches(square):
    seen = []
    loader = SRLoader(opened(square), 8, transform=lambda images: seen.append(images.shape) or images.amax((1, 2, 3)))
    assert [batch[0].shape for batch in loader] == [(8,), (8,), (6,)]
    assert seen == [(8, 3, 24, 24), (8, 3, 24, 24), (6, 3, 24, 24)]


def test_the_next_epoch_uses_the_memory_of_the_last(square):
    loader = SRLoader(opened(square, policy="sr#0", transform=None), 3, num_workers=2)
    places = [{images.data_ptr() for images, _ in loader} for _ in range(3)]
    assert places[0] == places[1] == places[2]
    first, second = iter(loader), iter(loader)
    for _ in range(3):
        (one, _), (other, _) = next(first), next(second)
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr(), "two at a time have memory of their own"


def test_batches_may_be_kept_with_copy(square):
    kept = list(SRLoader(opened(square, transform=None), 3, num_workers=2, copy=True))
    fresh = [batch[0].clone() for batch in SRLoader(opened(square, transform=None), 3, num_workers=2)]
    assert all(torch.equal(batch[0], image) for batch, image in zip(kept, fresh, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("own", [True, False], ids=["a generator", "torch's own"])
@pytest.mark.parametrize("taken", [0, 1, 4, 8])
def test_it_goes_on_in_the_middle_of_an_epoch(square, taken, own, workers):
    def make():
        generator = torch.Generator().manual_seed(1) if own else None
        return SRLoader(opened(square), 3, shuffle=True, num_workers=workers, generator=generator)

    torch.manual_seed(8)
    first, whole = make(), []
    first.set_epoch(5)
    iterator = iter(first)
    for _ in range(taken):
        whole.append(next(iterator)[0].clone())
    state, numbers = pickle.loads(pickle.dumps(first.state_dict())), torch.get_rng_state()
    whole += [batch[0].clone() for batch in iterator]
    torch.manual_seed(1000)
    second = make()
    second.load_state_dict(state)
    if taken == 0:
        torch.set_rng_state(numbers)  # an epoch that has not begun draws as the loop's own numbers are
        return
    rest = [batch[0].clone() for batch in second]
    assert len(rest) == len(whole) - taken
    assert all(torch.equal(left, right) for left, right in zip(whole[taken:], rest, strict=True))
    assert second.dataset.epoch == 5


def test_after_an_epoch_the_state_means_the_next(square):
    generator = torch.Generator().manual_seed(1)
    loader = SRLoader(opened(square), 5, shuffle=True, generator=generator)
    list(loader)
    state = loader.state_dict()
    wanted = [batch[1].tolist() for batch in loader]
    other = SRLoader(opened(square), 5, shuffle=True, generator=torch.Generator().manual_seed(77))
    other.load_state_dict(state)
    assert state["batches"] == 0
    assert [batch[1].tolist() for batch in other] == wanted


def test_a_state_survives_a_loop_that_broke_off(square):
    loader = SRLoader(opened(square), 4, shuffle=True, num_workers=2)
    seen = [batch[1].tolist() for batch in islice(loader, 2)]
    assert loader.state_dict()["batches"] == len(seen) == 2
    assert [thread for thread in threading.enumerate() if thread.name.startswith("srcache-loader")] == []


def test_set_epoch_reaches_the_data_set_and_the_sampler(square):
    data = opened(square)
    sampler = DistributedSampler(data, num_replicas=2, rank=0)
    for loader in (
        SRLoader(data, 4, sampler=sampler),
        SRLoader(data, batch_sampler=BatchSampler(sampler, 4, False)),
    ):
        loader.set_epoch(9)
        assert (data.epoch, sampler.epoch) == (9, 9)
        data.set_epoch(0)
        sampler.set_epoch(0)
    SRLoader(data, 4).set_epoch(2)
    assert data.epoch == 2


def test_served_images_are_counted(square):
    data = opened(square)
    list(SRLoader(data, 4, num_workers=2))
    assert data.counts["lr"] + data.counts["sr"] == len(data)


def test_missing_images_are_told_replaced_or_made(square, tmp_path):
    recipe = resolve({"name": "noisy", "engine": "test-noise", "scale": 2})
    (tmp_path / "images").symlink_to(square)
    cache = empty(tmp_path / "images", recipe)
    with pytest.raises(MissError, match=r"has no SR image \w+-000 of a/00\.png"):
        list(SRLoader(SRAugmentedDataset(square, cache, policy="sr"), 4, num_workers=2))
    fallen = SRAugmentedDataset(square, cache, policy="sr", on_miss="lr")
    list(SRLoader(fallen, 4, num_workers=2))
    assert fallen.counts["missed_to_lr"] == len(fallen)
    made = SRAugmentedDataset(square, cache, policy="sr", on_miss="engine")
    wanted = SRAugmentedDataset(square, square.parent / "cache", policy="sr#0", transform=v2.PILToTensor())
    for batch, other in zip(SRLoader(made, 4, num_workers=3), DataLoader(wanted, 4), strict=True):
        assert torch.equal(batch[0], other[0])
    assert made.counts["computed"] == len(made)


def test_damage_surfaces_with_the_images_name(square, monkeypatch):
    data = opened(square, policy="sr#0")
    broken = file_key(square / "a" / "04.png")

    def find_many(self, view, wanted, *how):
        found = zip(wanted, real(self, view, wanted, *how), strict=True)
        return [(name, b"qoif" if key == broken else payload) for (key, _), (name, payload) in found]

    real = type(data.reader.images).find_many
    monkeypatch.setattr(type(data.reader.images), "find_many", find_many)
    with pytest.raises(DamagedError, match=r"the SR image \w+-000 of a/04\.png in .* cannot be decoded"):
        list(SRLoader(data, 4, num_workers=2))


def test_what_it_cannot_do_names_the_data_loader(square):
    flipped = opened(square, transform=v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip()]))
    with pytest.raises(ConfigError, match=r"RandomHorizontalFlip.* is for one image at a time.*use a DataLoader"):
        SRLoader(flipped, 4)
    mixed = SRAugmentedDataset(square, square.parent / "cache", policy="lr=0.5,sr=0.5", size="mixed")
    with pytest.raises(ConfigError, match=r'has size="mixed"; give it size=, or use a DataLoader'):
        SRLoader(mixed, 4)
    with pytest.raises(ConfigError, match=r"serves an SRAugmentedDataset, but got ImageFolder; .* or use a DataLoader"):
        SRLoader(ImageFolder(square), 4)
    with pytest.raises(ConfigError, match="batch_size is None; use a DataLoader"):
        SRLoader(opened(square), None)
    with pytest.raises(ValueError, match="mutually exclusive"):
        SRLoader(opened(square), shuffle=True, sampler=[1, 2])
    for threads in ({"num_workers": -1}, {"prefetch_factor": 2}, {"num_workers": 1, "prefetch_factor": 0}):
        with pytest.raises(ConfigError, match=r"must be"):
            SRLoader(opened(square), 4, **threads)
    data = opened(square, transform=None)
    loader = SRLoader(data, 4)
    data.transform = lambda image: image
    with pytest.raises(ConfigError, match="is for one image at a time"):
        iter(loader)


def test_its_arguments_can_be_read(square):
    data, generator = opened(square), torch.Generator()
    loader = SRLoader(data, 4, shuffle=True, num_workers=1, drop_last=True, generator=generator)
    assert (loader.batch_size, loader.num_workers, loader.drop_last, len(loader)) == (4, 1, True, 5)
    assert (loader.dataset, loader.generator) == (data, generator)
    assert isinstance(loader.sampler, RandomSampler)
    assert isinstance(loader.batch_sampler, BatchSampler)


@pytest.mark.medium
def test_a_program_that_ends_in_the_middle_of_an_epoch_ends(square):
    program = (
        "import sys; from srcache import SRAugmentedDataset, SRLoader\n"
        f"data = SRAugmentedDataset({str(square)!r}, {str(square.parent / 'cache')!r}, policy='sr')\n"
        "iterator = iter(SRLoader(data, 2, num_workers=3)); next(iterator); print('one batch')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one batch\n", "")


def test_no_file_is_left_open(square):
    def files():
        links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        return {os.readlink(link) for link in links if link.is_symlink()}

    data = opened(square, policy="sr#0")
    list(SRLoader(data, 4, num_workers=2))
    before = files()
    for _ in range(3):
        for _batch in SRLoader(data, 4, num_workers=2):
            break
    assert {path for path in files() - before if str(square.parent) in path} == set()
