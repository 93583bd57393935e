"""Batches in a DataLoader's order: the same numbers are drawn, from the same generators, at the same moments."""

from itertools import islice

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from srcache.loader.order import Order


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 23

    def __getitem__(self, index):
        return index


def _drawn(order):
    return list(iter(order.next, None))


SAMPLERS = {
    "random": lambda generator: RandomSampler(Numbers(), generator=generator),
    "replaced": lambda generator: RandomSampler(Numbers(), replacement=True, num_samples=70, generator=generator),
    "twice": lambda generator: RandomSampler(Numbers(), num_samples=46, generator=generator),
    "weighted": lambda generator: WeightedRandomSampler([1.0, 2.0, 3.0] * 7, 40, generator=generator),
    "subset": lambda generator: SubsetRandomSampler(list(range(3, 20)), generator=generator),
}


@pytest.mark.parametrize("own", [True, False], ids=["a generator", "torch's own"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_it_draws_what_a_data_loader_draws(name, own):
    def drawn(batches_of):
        torch.manual_seed(1)
        generator = torch.Generator().manual_seed(2) if own else None
        sampler = BatchSampler(SAMPLERS[name](generator), 5, drop_last=False)
        found = [batches_of(sampler, generator) for _ in range(3)]
        return found, torch.get_rng_state().tolist(), generator and generator.get_state().tolist()

    loaded = drawn(
        lambda sampler, generator: [
            batch.tolist() for batch in DataLoader(Numbers(), batch_sampler=sampler, generator=generator)
        ]
    )
    ordered = drawn(lambda sampler, generator: _drawn(Order(sampler, generator, workers=False)))
    assert ordered == loaded


@pytest.mark.parametrize("own", [True, False], ids=["a generator", "torch's own"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_it_goes_on_where_it_was(name, own):
    generator = torch.Generator().manual_seed(7) if own else None
    sampler = BatchSampler(SAMPLERS[name](generator), 4, drop_last=False)
    order = Order(sampler, generator, workers=True)
    whole, random = _drawn(order), order.random
    torch.manual_seed(99)
    if generator is not None:
        generator.manual_seed(100)
    before = torch.get_rng_state()
    resumed = Order(sampler, generator, workers=True, start=(random, 3))
    if not own:
        assert torch.equal(torch.get_rng_state(), before)
    assert _drawn(resumed) == whole[3:]
    assert torch.equal(resumed.random, random)


def test_what_was_skipped_beyond_the_end_is_an_empty_rest():
    order = Order([[1], [2]], None, workers=False, start=(None, 5))
    assert _drawn(order) == []


def test_indices_are_plain_numbers():
    order = Order([torch.tensor([1, 2]), (3, torch.tensor(4))], None, workers=False)
    assert [[type(index) for index in batch] for batch in islice(iter(order.next, None), 2)] == [[int, int]] * 2
