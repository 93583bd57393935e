"""The queue before the engine: no request is lost, shapes are never mixed, and which batch leaves when."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.service.batching import BATCH_PIXELS, BatchQueue
from srcache.service.requests import Request


def waiting(name, shape=(2, 3)):
    return Request(name=str(name), lr=np.zeros((*shape, 3), np.uint8), seed=0, size=shape)


def names(requests):
    return [request.name for request in requests]


SHAPES = st.sampled_from([(2, 3), (3, 2), (5, 5), (1, 9)])


@given(
    st.lists(st.tuples(SHAPES, st.booleans(), st.integers(0, 3)), max_size=60),
    st.integers(1, 5),
    st.sampled_from([0.0, 2.0, math.inf]),
)
def test_every_request_leaves_once_in_order_and_with_its_own_shape(steps, batch, linger):
    queue, now, came, left = BatchQueue(batch, 2, linger), 0, [], []
    for number, (shape, takes, pause) in enumerate(steps):
        now += pause
        queue.add(waiting(number, shape), now)
        came.append((shape, str(number)))
        if takes and (taken := queue.take(now)):
            assert len(taken) <= batch
            assert len({request.shape for request in taken}) == 1
            left += taken
    assert len(queue) == len(came) - len(left)
    while taken := queue.take(now, hurry=True):
        assert len(taken) <= batch
        left += taken
    assert len(queue) == 0
    for shape in {shape for shape, _ in came}:
        assert names(r for r in left if r.shape == shape) == [name for kept, name in came if kept == shape]
    assert len(left) == len(came)


def test_a_full_batch_leaves_and_a_short_one_waits():
    queue = BatchQueue(3, 2, math.inf)
    assert [queue.add(waiting(n), n) for n in range(3)] == [True, False, True]
    queue.add(waiting(3, (9, 9)), 3)
    assert names(queue.take(1e9)) == ["0", "1", "2"]
    assert queue.take(1e9) == []
    assert names(queue.take(1e9, hurry=True)) == ["3"]


def test_while_the_engine_is_busy_only_full_batches_leave():
    queue = BatchQueue(2, 2, 1.0)
    queue.add(waiting("short"), 0)
    assert queue.take(5, idle=False) == []
    assert names(queue.take(5, hurry=True, idle=False)) == ["short"]
    queue.add(waiting("one"), 6)
    queue.add(waiting("two"), 6)
    assert names(queue.take(6, idle=False)) == ["one", "two"]


def test_a_short_batch_leaves_after_its_linger_even_if_others_are_full():
    queue = BatchQueue(2, 2, 10)
    queue.add(waiting("rare", (9, 9)), 0)
    for number in range(8):
        queue.add(waiting(number), 1 + number)
    assert queue.patience(4) == 6
    assert names(queue.take(9.9)) == ["0", "1"]
    assert names(queue.take(10)) == ["rare"]
    assert names(queue.take(10)) == ["2", "3"]
    assert queue.patience(100) == 0


def test_the_one_that_waits_longest_leaves_first_when_crowded():
    queue = BatchQueue(2, 2, math.inf)
    for number in range(16):
        assert not queue.is_crowded
        queue.add(waiting(number, (1, 1 + number)), number)
    assert queue.is_crowded
    assert names(queue.take(99)) == ["0"]
    assert not queue.is_crowded
    assert queue.take(99) == []


def test_much_memory_makes_a_crowd_too(monkeypatch):
    monkeypatch.setattr("srcache.service.batching._CROWDED_BYTES", 100)
    queue = BatchQueue(64, 2, math.inf)
    queue.add(waiting("small", (4, 4)), 0)
    assert not queue.is_crowded
    queue.add(waiting("large", (5, 5)), 0)
    assert queue.is_crowded
    assert names(queue.take(0)) == ["small"]
    assert not queue.is_crowded


@pytest.mark.parametrize(
    ("shape", "scale", "width"),
    [((128, 128), 4, 64), ((1000, 1000), 4, 2), ((4000, 3000), 4, 1), ((1000, 1000), 1, 32), ((1, 1), 0.5, 64)],
)
def test_the_width_is_fixed_by_the_shape(shape, scale, width):
    queue = BatchQueue(64, scale, 0)
    assert queue.width(shape) == width
    assert width == 1 or width * queue.pixels(shape) <= BATCH_PIXELS


def test_an_engine_s_advice_for_a_shape_counts_within_the_batch():
    queue = BatchQueue(16, 4, 0, lambda height, width: 4096 // (height * width))
    assert [queue.width((side, side)) for side in (16, 32, 64, 128, 1)] == [16, 4, 1, 1, 16]
    for number in range(5):
        queue.add(waiting(number, (32, 32)), 0)
    assert names(queue.take(0)) == ["0", "1", "2", "3"]
    queue.narrow((32, 32), 3)
    assert queue.width((32, 32)) == 3


def test_a_narrowed_shape_stays_narrow_and_others_do_not():
    queue = BatchQueue(8, 2, math.inf)
    queue.narrow((2, 3), 2)
    for number in range(3):
        queue.add(waiting(number), number)
    assert names(queue.take(9)) == ["0", "1"]
    assert (queue.width((2, 3)), queue.width((3, 2))) == (2, 8)
    queue.narrow((2, 3), 0)
    assert queue.width((2, 3)) == 1


def test_clearing_returns_every_request():
    queue = BatchQueue(4, 2, 1)
    for number in range(5):
        queue.add(waiting(number, (1, 1 + number % 2)), 0)
    assert sorted(names(queue.clear())) == ["0", "1", "2", "3", "4"]
    assert (len(queue), queue.patience(0), queue.take(9, hurry=True)) == (0, None, [])
