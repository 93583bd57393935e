"""Batches of pixels: one view for each, memory that is given is used, and every outcome is counted once."""

from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from training_sets import NOISY, PLAIN, SHRUNK, array, built, empty, same, stored

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import ChecksumError, MissError
from srcache.keys import entry_name


def _read(data, places, **given):
    with closing(data.reader.read(places, **given)) as images:
        return [(kind, pixels.copy()) for kind, pixels in images]


@pytest.mark.parametrize("policy", ["lr", "hr", "sr", "hr=1,lr=1,sr=1"])
def test_it_reads_what_the_data_set_serves(photos, policy):
    data = SRAugmentedDataset(photos, built(photos, SHRUNK), policy=policy, size="mixed")
    for epoch in (0, 3):
        data.set_epoch(epoch)
        for place, (kind, pixels) in enumerate(_read(data, range(len(data)))):
            assert kind == data.variant(place).kind
            assert same(data[place], pixels)


def test_an_epoch_may_be_named(photos):
    data = SRAugmentedDataset(photos, built(photos, SHRUNK), policy="0: lr; 5: sr")
    assert {kind for kind, _ in _read(data, range(4), epoch=5)} == {"sr"}
    assert {kind for kind, _ in _read(data, range(4))} == {"lr"}


@pytest.mark.parametrize("size", [None, 24, (12, 20)])
@pytest.mark.parametrize("policy", ["lr", "sr"])
def test_memory_is_used_where_an_image_fits(photos, size, policy):
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy=policy, size=size)
    wanted = _read(data, range(3))
    memory = [np.empty_like(pixels) for _, pixels in wanted]
    with closing(data.reader.read(range(3), memory=lambda row: memory[row])) as images:
        for row, (_, pixels) in enumerate(images):
            assert np.array_equal(pixels, wanted[row][1])
            if size is None:
                assert pixels is memory[row]


def test_what_was_served_is_counted_also_where_the_batch_ends_early(photos):
    data = SRAugmentedDataset(photos, empty(photos, PLAIN), policy="sr", on_miss="lr")
    with closing(data.reader.read(range(6))) as images:
        for _ in range(2):
            assert next(images)[0] == "lr"
    assert (data.counts["lr"], data.counts["missed_to_lr"], data.counts["sr"]) == (2, 2, 0)
    strict = SRAugmentedDataset(photos, photos.parent / "cache", policy="sr")
    with pytest.raises(MissError, match=r"has no SR image .* of .*; run `srcache build`"):
        _read(strict, [0])
    assert sum(strict.counts.values()) == 0


def test_images_that_exist_in_memory_only_are_made_by_a_call_and_no_command(photos):
    base = [(Image.new("RGB", (8, 8), (number, 0, 0)), number) for number in range(3)]
    data = SRAugmentedDataset(base, empty(photos, PLAIN), policy="sr")
    call = r"run `srcache\.fill\.fill\(from_dataset\(data\), load_recipe\('bicubic'\), cache\)` with the data set"
    with pytest.raises(MissError, match=call) as caught:
        _read(data, [0])
    assert "srcache build" not in str(caught.value)


def test_what_is_missing_is_made_before_it_is_read(photos):
    data = SRAugmentedDataset(photos, empty(photos, NOISY), policy="sr", on_miss="engine")
    assert [kind for kind, _ in _read(data, [0, 1, 1, 0])] == ["sr"] * 4
    assert (data.counts["computed"], data.counts["sr"]) == (2, 4)


@pytest.mark.parametrize("codec", ["qoi", "png", "ppm"])
def test_a_changed_bit_is_noticed(photos, codec):
    cache = built(photos, PLAIN, codec=codec)
    data, names = [SRAugmentedDataset(photos, cache, policy="sr") for _ in range(2)], stored(cache, PLAIN)
    served, fresh = data
    before = [pixels for _, pixels in _read(served, range(len(served)))]
    name = entry_name(served.reader.items.key(1), 0)
    _flip(cache, names[name])
    with pytest.raises(ChecksumError, match=f"{name} in .* is not what was written"):
        _read(fresh, [1])
    if codec == "ppm":  # compared by this reader already, and only then
        assert np.count_nonzero(_read(served, [1])[0][1] != before[1]) == 1
    else:
        with pytest.raises(ChecksumError):
            _read(served, [1])


def _flip(cache, payload):
    """Change one bit in the middle of a payload, in place."""
    file = next(cache.glob("*/data.lmdb/data.mdb"))
    start = file.read_bytes().index(payload) + len(payload) // 2
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(bytes([payload[len(payload) // 2] ^ 8]))


def test_items_are_counted_from_both_ends(photos):
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="lr")
    assert [data.reader.place(index) for index in (0, -1, np.int64(2))] == [0, len(data) - 1, 2]
    for index in (len(data), -len(data) - 1):
        with pytest.raises(IndexError, match=f"expected an index below {len(data)}, but got {index}"):
            data.reader.place(index)


def test_a_base_in_memory_is_never_written_to(photos, make_image):
    base = [(make_image(8, 8, seed), seed) for seed in range(3)]
    data = SRAugmentedDataset(base, empty(photos, PLAIN), policy="lr")
    for _, pixels in data.reader.read(range(3)):
        assert not pixels.flags.writeable
    assert all(same(array(data[place]), pixels) for place, (pixels, _) in enumerate(base))
