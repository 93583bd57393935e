"""Bodies: counted while they come, with or without a length, and given back when they fail."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from srcache.server import bodies
from srcache.server.answers import Refusal
from srcache.server.bodies import read_body
from srcache.server.headers import read_headers
from srcache.server.limits import ByteBudget


def read(pieces, most=100, budget=None, length=None, pause=0.0, end=True):
    """What `read_body` gives for pieces, and what it raised; and the budget afterwards."""
    budget = budget or ByteBudget(10 << 20)
    scope = {"type": "http", "headers": [(b"content-length", str(length).encode())] if length is not None else []}
    read_headers(scope)
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting.append({"type": "http.request", "body": b"", "more_body": False} if end else {"type": "http.disconnect"})

    async def receive():
        await asyncio.sleep(pause)
        return waiting.pop(0)

    return asyncio.run(read_body(Request(scope, receive), most, budget)), budget


@pytest.mark.parametrize("length", [6, None])
def test_a_body_is_read_and_counted(length):
    (data, hold), budget = read([b"abc", b"def"], length=length)
    assert (data, hold.count, budget.used) == (b"abcdef", 6, 6)


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ({"pieces": []}, 400, "no_body"),
        ({"pieces": [b"x" * 101]}, 413, "too_large"),
        ({"pieces": [b"x" * 60, b"x" * 60]}, 413, "too_large"),
        ({"pieces": [b"x"], "length": 101}, 413, "too_large"),
        ({"pieces": [b"x"], "length": "9" * 30}, 413, "too_large"),
        ({"pieces": [b"x"], "length": "x"}, 400, "bad_header"),
        ({"pieces": [b"x"], "length": "-1"}, 400, "bad_header"),
    ],
)
def test_what_cannot_be_read_leaves_nothing_counted(how, status, reason):
    budget = ByteBudget(10 << 20)
    with pytest.raises(Refusal) as caught:
        read(**how, budget=budget)
    assert (caught.value.status_code, caught.value.reason, budget.used) == (status, reason, 0)


def test_a_client_that_is_gone_leaves_nothing_counted():
    budget = ByteBudget(10 << 20)
    with pytest.raises(ClientDisconnect):
        read([b"x"], budget=budget, end=False)
    assert budget.used == 0


def test_a_slow_body_is_cut_off_and_a_steady_one_is_not(monkeypatch):
    monkeypatch.setattr(bodies, "_GRACE", 0.15)
    monkeypatch.setattr(bodies, "_SLOWEST", 100)
    budget = ByteBudget(10 << 20)
    with pytest.raises(Refusal) as caught:
        read([b"x"] * 20, budget=budget, pause=0.03)
    assert (caught.value.status_code, caught.value.headers["Connection"], budget.used) == (408, "close", 0)
    (data, _), _ = read([b"x" * 10] * 10, pause=0.03)
    assert len(data) == 100


def test_a_body_without_a_length_that_does_not_fit_is_refused():
    budget = ByteBudget(2 << 20)
    with pytest.raises(Refusal) as caught:
        read([b"x" * 1000] * 3000, most=10 << 20, budget=budget)
    assert (caught.value.status_code, budget.used) == (413, 0)
