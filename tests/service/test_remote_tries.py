"""Pauses between tries, and the circuit breaker on a clock of its own."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from srcache.errors import UnavailableError
from srcache.service.remote_tries import Breaker, pause, retry_after


def test_pauses_are_drawn_below_a_limit_that_doubles():
    for tries, limit in ((1, 0.2), (2, 0.4), (4, 1.6), (9, 10.0), (500, 10.0)):
        drawn = [pause(tries) for _ in range(300)]
        assert 0 <= min(drawn) < 0.2 * limit
        assert 0.8 * limit < max(drawn) <= limit


def test_a_service_that_says_when_to_come_again_is_obeyed_within_bounds():
    assert all(3 <= pause(1, 3.0) <= 3.2 for _ in range(50))
    assert all(30 <= pause(5, 1e9) <= 31 for _ in range(50))


def test_nothing_is_drawn_from_the_random_numbers_of_a_training():
    random.seed(1)
    before = random.getstate()
    pause(3)
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("7", 7), (" 7 ", 7), ("-1", None), ("soon", None), ("٣", None), ("9" * 50, 999999999)],
)
def test_retry_after_in_seconds(header, seconds):
    assert retry_after(header) == seconds


def test_retry_after_as_a_date():
    then = datetime.now(UTC) + timedelta(seconds=20)
    assert 17 < retry_after(format_datetime(then, usegmt=True)) <= 20
    assert retry_after("Fri, 01 Jan 1999 00:00:00 GMT") == 0
    assert retry_after("Fri, 01 Jan 1999 00:00:00 -0000") == 0
    assert retry_after("Fri, 99 Jan 1999 00:00:00 GMT") is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def broken(breaker):
    for _ in range(Breaker.MOST_FAILURES):
        assert breaker.enter() is False
        breaker.failed("gone", False)


def test_a_breaker_opens_after_failures_in_a_row_and_one_probe_closes_it(clock):
    breaker = Breaker(clock)
    breaker.failed("gone", False)
    breaker.failed("gone", False)
    breaker.succeeded()
    broken(breaker)
    with pytest.raises(UnavailableError, match="gone; it is not asked again for 5 s"):
        breaker.enter()
    clock.now = 5.0
    assert breaker.enter() is True
    with pytest.raises(UnavailableError):
        breaker.enter()
    breaker.succeeded()
    assert breaker.enter() is False


def test_each_pause_is_longer_up_to_a_minute_and_late_failures_change_nothing(clock):
    breaker = Breaker(clock)
    broken(breaker)
    for length in (5, 10, 20, 40, 60, 60):
        clock.now += length - 0.1
        breaker.failed("late", False)
        with pytest.raises(UnavailableError):
            breaker.enter()
        clock.now += 0.1
        assert breaker.enter() is True
        breaker.failed("still gone", True)
    with pytest.raises(UnavailableError, match="still gone"):
        breaker.enter()


def test_a_probe_that_is_given_up_leaves_its_place_to_another(clock):
    breaker = Breaker(clock)
    broken(breaker)
    clock.now = 6
    assert breaker.enter() is True
    breaker.abandoned(False)
    with pytest.raises(UnavailableError):
        breaker.enter()
    breaker.abandoned(True)
    assert breaker.enter() is True
