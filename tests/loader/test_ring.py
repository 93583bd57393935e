"""Batch memory: the same pages again, grown where a batch needs more, not before a device has read them."""

import numpy as np
import torch

from srcache.loader.ring import Ring, Slot


def test_tensor_and_array_are_one_memory():
    images, array = Slot().take(3, (4, 5, 3))
    assert (images.shape, images.dtype, array.shape, array.dtype) == ((3, 3, 4, 5), torch.uint8, (3, 4, 5, 3), np.uint8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    array[...] = np.arange(180, dtype=np.uint8).reshape(array.shape)
    assert torch.equal(images.permute(0, 2, 3, 1), torch.arange(180, dtype=torch.uint8).view(3, 4, 5, 3))


def test_a_slot_is_used_again_and_grows():
    slot = Slot()
    first, _ = slot.take(2, (4, 4, 3))
    again, _ = slot.take(1, (8, 4, 3))
    larger, _ = slot.take(3, (4, 4, 3))
    smaller, _ = slot.take(1, (4, 4, 3))
    assert first.data_ptr() == again.data_ptr()
    assert larger.data_ptr() == smaller.data_ptr() != first.data_ptr()


def test_slots_come_in_turn():
    ring = Ring(3)
    given = [ring.next() for _ in range(7)]
    assert given[:3] == given[3:6]
    assert given[6] is given[0]
    assert len(set(given)) == 3
    apart = Ring(3, reused=False)
    assert len({apart.next() for _ in range(7)}) == 7


def test_a_slot_waits_for_the_device_once():
    class Event:
        waited = 0

        def synchronize(self):
            self.waited += 1

    slot, event = Slot(), Event()
    slot.busy = event
    slot.take(1, (1, 1, 3))
    slot.take(1, (1, 1, 3))
    assert event.waited == 1
