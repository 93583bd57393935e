"""Progress callbacks: called often enough to be useful, and never so often that they slow the work."""

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache import progress
from srcache.progress import Waits, throttled, timed


class Clock:
    """Stands for the module `time`: tests turn its hands."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=40))
def test_a_callback_is_called_at_once_then_at_intervals_and_at_the_end(pauses):
    with pytest.MonkeyPatch.context() as patched:
        clock = Clock()
        patched.setattr(progress, "time", clock)
        calls = []
        show = throttled(lambda done, total: calls.append((clock.now, done, total)))
        for done, pause in enumerate(pauses, 1):
            show(done, len(pauses))
            clock.now += pause
    assert calls[0] == (100.0, 1, len(pauses))
    assert calls[-1][1:] == (len(pauses), len(pauses))
    times = [now for now, *_ in calls[:-1]]
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(times)), "only the last one may come early"
    assert [done for _, done, _ in calls] == sorted({done for _, done, _ in calls})


def test_without_a_callback_nothing_is_called():
    assert throttled(None)(1, 2) is None
    assert throttled(None)(2, 2) is None


def test_each_throttled_callback_has_a_clock_of_its_own():
    first, second = [], []
    for calls in (first, second):
        throttled(lambda done, total, calls=calls: calls.append(done))(1, 10)
    assert first == second == [1]


def test_how_long_something_took_is_logged_also_if_it_failed(caplog):
    caplog.set_level(logging.DEBUG, "srcache")
    with timed("hashing"):
        pass
    with pytest.raises(ZeroDivisionError), timed("dividing"):
        divmod(1, 0)
    first, second = caplog.messages
    assert first.startswith("hashing: 0.0")
    assert first.endswith(" s")
    assert second.endswith(" s until it failed")


def test_waits_are_counted_and_not_what_is_done_between_them(monkeypatch, caplog):
    hands = iter([0, 1, 50, 52, 90, 93])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(hands))
    waits = Waits("ab")
    assert list(waits) == ["a", "b"]
    assert waits.seconds == 1 + 2 + 3
    caplog.set_level(logging.DEBUG, "srcache")
    waits.log("waiting")
    assert caplog.messages == ["waiting: 6.000 s"]
