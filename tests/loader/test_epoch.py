"""An epoch: batches in order whatever the threads do, errors at their own batch, and no thread left behind."""

import gc
import random
import threading
import time

import pytest
import torch
from fake_cuda import FakeCuda

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.loader import epoch as epochs
from srcache.loader.batches import Batch
from srcache.loader.device import DeviceCopier
from srcache.loader.epoch import Epoch, Settings
from srcache.loader.ring import Ring


def _settings(workers=2, ahead=4, **given):
    chosen = {"ring": Ring(ahead + 2), "transform": (), "copier": None, **given}
    return Settings(workers=workers, ahead=ahead if workers else 0, **chosen)


def _threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("srcache-loader")]


@pytest.fixture
def data(square):
    return SRAugmentedDataset(square, square.parent / "cache", policy="sr#0")


@pytest.fixture
def loads(monkeypatch):
    """`load_batch` gives numbered batches, in any order; batch 5 fails. Returns the indices in the order of loading."""
    loaded = []

    def load(data, indices, epoch, slot):
        time.sleep(random.Random(str(indices)).random() / 200)
        loaded.append(indices[0])
        if indices == [5]:
            raise ValueError("the fifth")
        images, array = slot.take(1, (1, 1, 3))
        array[...] = indices[0]
        return Batch(images, torch.tensor(indices), slot)

    monkeypatch.setattr(epochs, "load_batch", load)
    return loaded


def _first(batch):
    return int(batch[0][0, 0, 0, 0])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_their_order(data, loads, workers):
    numbers = [number for number in range(40) if number != 5]
    given = [_first(batch) for batch in Epoch(data, [[n] for n in numbers], None, _settings(workers), (None, 0))]
    assert given == numbers
    assert _threads() == []


@pytest.mark.parametrize("ahead", [1, 2, 6])
def test_this_batch_and_the_last_one_are_valid(data, loads, ahead):
    last = None
    for number, batch in enumerate(Epoch(data, [[n] for n in range(100, 140)], None, _settings(2, ahead), (None, 0))):
        time.sleep(0.002)  # so that threads run into any memory that they may
        assert _first(batch) == 100 + number
        if last is not None:
            assert _first(last) == 99 + number
        last = batch


def test_memory_is_used_again_only_as_often_as_it_must(data, loads):
    def places(**given):
        epoch = Epoch(data, [[n] for n in range(100, 130)], None, _settings(2, 4, **given), (None, 0))
        kept = list(epoch)
        return len({batch[0].data_ptr() for batch in kept}), [_first(batch) for batch in kept]

    assert places()[0] == 6
    assert places(ring=Ring(6, reused=False)) == (30, list(range(100, 130)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_at_its_own_batch_and_the_loop_may_go_on(data, loads, workers):
    epoch = Epoch(data, [[n] for n in range(3, 9)], None, _settings(workers), (None, 0))
    assert [_first(next(epoch)), _first(next(epoch))] == [3, 4]
    with pytest.raises(ValueError, match="the fifth"):
        next(epoch)
    assert (epoch.position.given, epoch.position.is_done) == (3, False)
    assert [_first(batch) for batch in epoch] == [6, 7, 8]
    assert epoch.position.is_done
    with pytest.raises(StopIteration):
        next(epoch)


def test_a_loop_that_ends_early_leaves_no_thread(data, loads):
    for batch in Epoch(data, [[n] for n in range(100, 200)], None, _settings(3), (None, 0)):
        if _first(batch) == 103:
            assert len(_threads()) == 3
            break
    del batch
    gc.collect()
    assert _threads() == []
    assert len(loads) < 20


def test_an_epoch_that_a_thread_of_its_own_drops_ends_too(data, loads):
    held = [Epoch(data, [[n] for n in range(100, 200)], None, _settings(2), (None, 0))]
    held[0]._pool.submit(held.clear).result(10)
    gc.collect()
    for _ in range(100):
        time.sleep(0 if not _threads() else 0.05)
    assert _threads() == []


def test_batches_go_to_a_device_one_ahead(data, loads):
    cuda = FakeCuda()
    copier = DeviceCopier(torch.device("cpu"), cuda)
    epoch = Epoch(data, [[n] for n in range(100, 110)], None, _settings(2, copier=copier), (None, 0))
    given = []
    for batch in epoch:
        given.append(_first(batch))
        time.sleep(0.02)
    assert given == list(range(100, 110))
    steps = [step for step in cuda.log if step[0] != "synchronize"]
    begun = [number for what, *_, number in steps if what == "record"]
    assert begun == list(range(1, 11))
    second = steps.index(("wait", "loop", 2))
    assert steps.index(("record", "own on cpu", 3)) < second, (
        "the copy of the next batch begins before this one is used"
    )


def test_an_error_ahead_does_not_take_the_place_of_a_batch(data, loads):
    copier = DeviceCopier(torch.device("cpu"), FakeCuda())
    epoch = Epoch(data, [[4], [5], [6]], None, _settings(2, copier=copier), (None, 0))
    time.sleep(0.1)
    assert _first(next(epoch)) == 4
    with pytest.raises(ValueError, match="the fifth"):
        next(epoch)
    assert _first(next(epoch)) == 6


def test_the_transform_is_applied_to_whole_batches(data, loads):
    settings = _settings(1, transform=(lambda images: images + 1, lambda images: images.float()))
    batches = list(Epoch(data, [[1], [2]], None, settings, (None, 0)))
    assert [(batch[0].dtype, _first(batch)) for batch in batches] == [(torch.float32, 2), (torch.float32, 3)]
