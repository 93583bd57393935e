"""Progress callbacks: called often enough to be useful, and never so often that they slow the work."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache import progress
from srcache.progress import throttled


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
