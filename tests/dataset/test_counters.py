"""Counters that all workers share: nothing is lost, the epoch reaches everybody, a forgotten one is told once."""

import copy
import multiprocessing
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from srcache.dataset.counters import COUNTED, Counters

FORK = multiprocessing.get_context("fork")


def test_nothing_is_lost_between_threads() -> None:
    counters = Counters(float("inf"))
    gate = threading.Barrier(8)

    def count(number: int) -> None:
        gate.wait()
        for _ in range(3_000):
            counters.count(COUNTED[number % 4])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert counters.totals() == {**dict.fromkeys(COUNTED[:4], 6_000), "missed_to_hr": 0, "computed": 0}


def work(counters: Counters, told: Any, answers: Any) -> None:
    for _ in range(2):
        told.get()
        counters.count("sr", 3)
        answers.put(counters.epoch)


def test_processes_count_together_and_are_told_the_epoch() -> None:
    counters, told, answers = Counters(float("inf")), FORK.SimpleQueue(), FORK.SimpleQueue()
    workers = [FORK.Process(target=work, args=(counters, told, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    seen = []
    for epoch in (4, 7):
        counters.set_epoch(epoch)
        told.put(None)
        told.put(None)
        seen.append({answers.get(), answers.get()})
    for worker in workers:
        worker.join()
    assert seen == [{4}, {7}]
    assert counters.totals()["sr"] == 12


def test_a_copy_goes_its_own_way() -> None:
    counters = Counters(10)
    counters.set_epoch(2)
    counters.count("hr")
    for twin in (pickle.loads(pickle.dumps(counters)), copy.deepcopy(counters)):
        twin.set_epoch(9)
        twin.count("hr")
        assert (counters.epoch, counters.totals()["hr"]) == (2, 1)
        assert (twin.epoch, twin.totals()["hr"]) == (9, 2)


@pytest.mark.parametrize("patience", [1, 17, 100])
def test_a_forgotten_epoch_is_told_once_and_soon(patience: int) -> None:
    counters = Counters(patience)
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3 * patience + 100):
            counters.count("lr")
            counters.count("missed_to_lr")
            if caught and not told:
                told = [number + 1]
    assert len(caught) == 1
    assert patience < told[0] <= patience + 17


def test_whoever_sets_the_epoch_is_not_told() -> None:
    counters = Counters(100)
    for epoch in range(10):
        counters.set_epoch(epoch)
        for _ in range(100):
            counters.count("sr")
        counters.count("computed", 10_000)
