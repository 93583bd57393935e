"""Counters that all workers share: nothing is lost, the epoch reaches all processes, a forgotten one warns once."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from srcache.dataset.counters import COUNTED, Counters
from srcache.errors import ConfigError

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
    assert counters.totals() == {**dict.fromkeys(COUNTED[:4], 6_000), "missed_to_hr": 0, "computed": 0, "fetched": 0}


def test_nothing_is_lost_between_threads_that_take_turns_at_any_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thread ids that are equal, or equal modulo a number of rows, change nothing."""
    monkeypatch.setattr(threading, "get_native_id", lambda: 1021)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        counters = Counters(float("inf"))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [counters.count("sr") for _ in range(2_000)], range(8)))
    finally:
        sys.setswitchinterval(before)
    assert counters.totals()["sr"] == 16_000


def count_often(counters: Counters, gate: Any) -> None:
    gate.wait()
    for _ in range(5_000):
        counters.count("lr")


def owners(counters: Counters) -> list[int]:
    """The processes that have a row."""
    return [int(owner) for owner in counters._shared[1:, -1] if owner]


@pytest.mark.medium
@pytest.mark.parametrize(("start", "number"), [("fork", 4), ("spawn", 1)])
def test_nothing_is_lost_between_processes_that_begin_together(
    monkeypatch: pytest.MonkeyPatch, start: str, number: int
) -> None:
    """Ids of threads that are equal modulo a number of rows change nothing."""
    monkeypatch.setattr(threading, "get_native_id", lambda: 1021)
    context = multiprocessing.get_context(start)
    counters, gate = Counters(float("inf")), context.Barrier(number)
    workers = [context.Process(target=count_often, args=(counters, gate)) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counters.totals()["lr"] == 5_000 * number
    assert sorted(owners(counters)) == sorted(worker.pid or 0 for worker in workers)


@pytest.mark.medium
def test_rows_of_processes_that_have_ended_are_used_again_and_keep_their_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("srcache.dataset.counters._ROWS", 2)
    counters = Counters(float("inf"))
    for number in range(5):
        worker = FORK.Process(target=counters.count, args=("sr", 10**number))
        worker.start()
        worker.join()
    counters.count("hr")
    assert counters.totals() == {**dict.fromkeys(COUNTED, 0), "sr": 11_111, "hr": 1}
    assert os.getpid() in owners(counters)


def test_more_processes_than_rows_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcache.dataset.counters._ROWS", 1)
    counters = Counters(float("inf"))
    counters.count("sr", 5)
    worker = FORK.Process(target=counters.count, args=("sr", 7))
    worker.start()
    worker.join()
    counters.count("sr", 1)
    assert counters.totals()["sr"] == 13


@pytest.mark.medium
def test_a_process_that_was_forked_while_a_thread_counts_can_count() -> None:
    counters, stop = Counters(float("inf")), threading.Event()

    def keep_counting() -> None:
        while not stop.is_set():
            counters.count("hr")

    thread = threading.Thread(target=keep_counting)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(20):
                worker = FORK.Process(target=counters.count, args=("lr",))
                worker.start()
                worker.join(20)
                assert worker.exitcode == 0
    finally:
        stop.set()
        thread.join()
    assert counters.totals()["lr"] == 20


def test_where_no_lock_file_can_be_made_counting_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/nowhere")
    counters = Counters(float("inf"))
    counters.count("sr", 3)
    assert counters.totals()["sr"] == 3


def work(counters: Counters, due: Any, answers: Any) -> None:
    for _ in range(2):
        due.get()
        counters.count("sr", 3)
        answers.put(counters.epoch)


def test_processes_count_together_and_see_the_epoch() -> None:
    counters, due, answers = Counters(float("inf")), FORK.SimpleQueue(), FORK.SimpleQueue()
    workers = [FORK.Process(target=work, args=(counters, due, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    seen = []
    for epoch in (4, 7):
        counters.set_epoch(epoch)
        due.put(None)
        due.put(None)
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
def test_a_forgotten_epoch_warns_once_and_soon(patience: int) -> None:
    counters = Counters(patience)
    warned = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3 * patience + 100):
            counters.count("lr")
            counters.count("missed_to_lr")
            if caught and not warned:
                warned = [number + 1]
    assert len(caught) == 1
    assert patience < warned[0] <= patience + 17


def test_whoever_sets_the_epoch_is_not_warned() -> None:
    counters = Counters(100)
    for epoch in range(10):
        counters.set_epoch(epoch)
        for _ in range(100):
            counters.count("sr")
        counters.count("computed", 10_000)


def serve(counters: Counters, items: int) -> int:
    """Serve items one by one; how many warnings that gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(items):
            counters.count("lr")
    return len(caught)


def test_a_sampler_that_draws_more_than_there_is_warns_nobody_who_sets_the_epoch() -> None:
    counters = Counters(patience=150)
    assert serve(counters, 20) == 0, "somebody looks at a few before the first epoch"
    for epoch in range(3):
        counters.set_epoch(epoch)
        assert serve(counters, 400) == 0
    assert serve(counters, 300) == 1, "the fourth has no set_epoch"


def test_an_epoch_that_was_set_once_and_then_forgotten_warns_later() -> None:
    counters = Counters(patience=15)
    counters.set_epoch(0)
    assert serve(counters, 45) == 0, "a sampler may draw each of ten items four times"
    assert serve(counters, 30) == 1


def test_what_a_loaders_sampler_says_counts() -> None:
    counters = Counters(patience=15)
    counters.expect(100)
    assert serve(counters, 150) == 0
    assert serve(counters, 30) == 1


@pytest.mark.parametrize("epoch", ["1", 1.0, None, -1, True, [1]])
def test_what_is_no_epoch_is_refused(epoch: Any) -> None:
    counters = Counters(patience=15)
    counters.set_epoch(np.int64(3))
    with pytest.raises(ConfigError, match="an epoch is a whole number from 0, but got"):
        counters.set_epoch(epoch)
    assert counters.epoch == 3


FORKED = """
import os, signal, torch
from srcache.dataset.counters import Counters

torch.zeros(1 << 22).add_(1)  # with several threads
if not (child := os.fork()):
    signal.alarm(20)
    Counters(10, more=("skipped", "patch", "blend")).count("sr")
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.medium
def test_a_process_whose_parent_computed_with_threads_before_it_was_forked_can_count() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    assert subprocess.run([sys.executable, "-c", FORKED], env=environment, check=False).returncode == 0


def test_more_that_is_counted_leaves_the_memory_below_what_torch_copies_with_threads() -> None:
    for more in ((), ("skipped",), ("blend", "patch"), ("skipped", "blend", "patch")):
        counters = Counters(10, more=more)
        assert counters.__getstate__()["_shared"].nbytes < 32 * 1024
        counters.count((*COUNTED, *more)[-1], 3)
        assert counters.totals() == {**dict.fromkeys((*COUNTED, *more), 0), (*COUNTED, *more)[-1]: 3}
