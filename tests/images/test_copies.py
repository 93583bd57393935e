"""Copies within a budget of whatever can be read: keyed by their items, with reasons for the others."""

import numpy as np
import pytest

from srcache.errors import ImageError
from srcache.images import decode
from srcache.images.copies import REDUCTIONS, Reduction, copies_within, copy_image


def noise(seed: int, size: int = 64):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_items_stand_for_images_and_what_cannot_be_read_says_why():
    def read(item):
        if item == 2:
            return "damaged"
        if item == 3:
            raise ImageError("truncated", "x")
        return noise(item, 8)

    copies = copies_within([0, 1, 1], read)
    assert set(copies.made) == {0, 1}
    assert copies.reduction == REDUCTIONS[0]
    assert np.array_equal(decode(copies.made[1].data), noise(1, 8))
    found = copies_within(range(4), read)
    assert (set(found.made), found.unreadable) == ({0, 1}, {2: "damaged", 3: "truncated"})


@pytest.mark.medium
def test_a_budget_is_kept_by_one_reduction_for_all():
    copies = copies_within(range(20), noise, 60_000)
    assert sum(len(copy.data) for copy in copies.made.values()) <= 60_000
    assert not copies.reduction.exact
    assert {copy.mime for copy in copies.made.values()} == {"image/webp"}


def test_a_copy_keeps_the_size_of_the_original_and_is_never_enlarged():
    small, large = copy_image(noise(0, 8), Reduction(16, "png")), copy_image(noise(0, 40), Reduction(16, "png"))
    assert (small.width, decode(small.data).shape) == (8, (8, 8, 3))
    assert (large.width, decode(large.data).shape) == (40, (16, 16, 3))
