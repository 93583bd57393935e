"""Lines about long steps: now and then, with the time that is left, and none about what is over at once."""

import pytest

from srcache.study.experiment import saying
from srcache.study.experiment.saying import spoken


def test_a_line_now_and_then_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(saying.time, "monotonic", lambda: now[0])
    said: list[str] = []
    show = spoken(said.append, "cache: compact", every=10)
    for done in range(1, 101):
        now[0] += 1
        show(done, 100)
    assert said[0] == "cache: compact: 10 of 100, about 90 s left".replace("90 s", "2 min")
    assert said[-1] == "cache: compact: 90 of 100, about 10 s left"
    assert len(said) == 9


def test_what_was_there_before_is_no_part_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(saying.time, "monotonic", lambda: now[0])
    said: list[str] = []
    show = spoken(said.append, "x", every=1)
    now[0] = 60.0
    show(901, 1000)
    assert said == [], "one alone has no pace"
    now[0] = 62.0
    show(905, 1000)
    assert said == ["x: 905 of 1000, about 48 s left"]


def test_what_is_over_at_once_is_not_said() -> None:
    said: list[str] = []
    show = spoken(said.append, "x")
    for done in range(1, 4):
        show(done, 3)
    assert said == []
