"""work_ahead: results in order, few of them ahead, errors where they belong."""

import threading
import time

import pytest

from srcache.maintain.ahead import work_ahead


def test_results_come_in_order_though_the_first_takes_longest():
    def act(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(work_ahead(act, range(50))) == [number * number for number in range(50)]


def test_only_a_few_are_taken_ahead():
    taken = []
    results = work_ahead(lambda number: number, (taken.append(number) or number for number in range(1000)))
    assert next(results) == 0
    assert len(taken) <= 32
    results.close()


def test_an_error_comes_in_its_place_and_ends_the_work():
    def act(number: int) -> int:
        return 1 // (2 - number)

    results = work_ahead(act, range(100))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("srcache-ahead")]


def test_there_are_as_many_threads_as_wanted_and_an_early_end_is_told():
    gate, running, stops = threading.Event(), [], []

    def act(number: int) -> int:
        running.append(number)
        if number:
            gate.wait(20)
        return number

    results = work_ahead(act, range(100), 5, lambda: (stops.append(True), gate.set()))
    assert next(results) == 0
    while len(running) < 6:
        time.sleep(0.01)
    assert len(running) == 6
    results.close()
    assert stops == [True]
    assert list(work_ahead(lambda number: number, range(3), 2, lambda: stops.append(True))) == [0, 1, 2]
    assert stops == [True], "it came to its end"
