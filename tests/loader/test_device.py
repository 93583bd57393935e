"""Batches on a device: copied on a stream of their own, waited for where they are used; slots are kept until then."""

import pytest
import torch
from fake_cuda import FakeCuda

from srcache.errors import DeviceError
from srcache.loader.batches import Batch
from srcache.loader.device import DeviceCopier, open_copier
from srcache.loader.ring import Slot


def _batch(slot, value):
    images, array = slot.take(2, (3, 3, 3))
    array[...] = value
    return Batch(images, torch.tensor([value, value]), slot)


def test_a_batch_is_copied_and_the_loop_waits_for_it():
    cuda, slot = FakeCuda(), Slot()
    copier = DeviceCopier(torch.device("cpu"), cuda)
    copied = copier.begin(_batch(slot, 7))
    assert cuda.log == [("record", "own on cpu", 1)]
    images, labels = copier.finish(copied)
    assert cuda.log[1:] == [("wait", "loop", 1)]
    assert images.unique().tolist() == [7]
    assert labels.tolist() == [7, 7]


def test_a_slot_is_not_written_to_before_its_copy_is_done():
    cuda, slot = FakeCuda(), Slot()
    DeviceCopier(torch.device("cpu"), cuda).begin(_batch(slot, 7))
    slot.take(2, (3, 3, 3))
    assert cuda.log == [("record", "own on cpu", 1), ("synchronize", 1)]


def test_labels_that_are_no_tensor_stay_as_they_are():
    cuda, slot = FakeCuda(), Slot()
    copier = DeviceCopier(torch.device("cpu"), cuda)
    images, _ = slot.take(1, (2, 2, 3))
    assert copier.finish(copier.begin(Batch(images, ["a"], slot)))[1] == ["a"]


def test_the_processor_needs_no_copies():
    assert open_copier("cpu") is None
    assert open_copier(torch.device("cpu")) is None


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match="a device is cpu, cuda, cuda:1 or auto, but got 'tpu'"):
        open_copier("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="device cuda:3 was asked for, but torch finds no CUDA device here"):
            open_copier("cuda:3")
