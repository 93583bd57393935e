"""The memory of requests: counted, refused when it is full, and given back exactly."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.recipe.reading import resolve
from srcache.server.answers import Refusal
from srcache.server.limits import PIXEL, RESULT, ByteBudget, making_bytes


def test_what_does_not_fit_now_is_a_503_and_what_never_fits_a_413():
    budget = ByteBudget(100)
    with budget.take(60):
        with pytest.raises(Refusal) as now:
            budget.take(41)
        with pytest.raises(Refusal) as ever:
            budget.take(101)
        assert (now.value.status_code, ever.value.status_code) == (503, 413)
        assert now.value.headers["Retry-After"] == "1"
        budget.take(40).release()
    assert budget.used == 0


def test_a_hold_that_cannot_grow_stays_what_it_was():
    budget = ByteBudget(100)
    hold, other = budget.take(50), budget.take(40)
    with pytest.raises(Refusal):
        hold.resize(61)
    assert (hold.count, budget.used) == (50, 90)
    hold.resize(60)
    hold.resize(1)
    other.release()
    other.release()
    assert budget.used == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=60))
def test_used_is_always_the_sum_of_what_is_held(steps):
    budget = ByteBudget(100)
    holds = [budget.take(0) for _ in range(6)]
    for place, count in steps:
        try:
            holds[place].resize(count)
        except Refusal:
            assert budget.used - holds[place].count + count > 100
        assert budget.used == sum(hold.count for hold in holds) <= 100


def test_many_threads_leave_nothing_behind():
    budget = ByteBudget(10_000)

    def act():
        for count in range(300):
            with budget.take(count % 7) as hold:
                hold.resize(count % 5)

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.used == 0


def test_an_image_costs_its_pixels_and_those_that_are_made():
    plain = resolve({"name": "t", "engine": "test-faulty", "scale": 4})
    assert making_bytes((10, 20), plain) == PIXEL * 200 + RESULT * (200 + 16 * 200)
    shrunk = resolve({"name": "t", "engine": "test-faulty", "scale": 2, "degradation": "box/4", "size": "source"})
    assert making_bytes((8, 16), shrunk) == PIXEL * 128 + RESULT * (8 + 128)
