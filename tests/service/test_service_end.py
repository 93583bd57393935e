"""The service when something fails: an image fails alone, an error of the machine ends it, every future is answered."""

import math
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import MARKS, enlarged
from services import LIMIT, RECIPE, Broken, Probe, ask, closed, in_thread, joined, name_of, serve

from srcache.engine.interface import Upscaled
from srcache.engine.registry import open_engine
from srcache.errors import DamagedError, DiskFullError, EngineError
from srcache.images import decode
from srcache.recipe.reading import resolve
from srcache.service.service import Served
from srcache.stores import open_store

REASONS = {
    "fails": "marked",
    "raises": "engine_error",
    "nan": "not_finite",
    "flat": "blank",
    "range": "out_of_range",
    "shape": "wrong_shape",
}


@pytest.mark.parametrize("mark", MARKS)
def test_a_failure_is_the_image_s_own(make_image, store, mark):
    images = [make_image(20, 20, number, mark if number == 2 else None) for number in range(6)]
    requests = [ask(number, rgb) for number, rgb in enumerate(images)]
    with serve(open_engine("test-faulty", RECIPE.setup("cpu")), store) as service:
        outcomes = [service.submit(request) for request in requests]
        service.drain()
    failed = outcomes[2].result(0).failure
    assert failed.reason == REASONS[mark]
    assert failed.detail
    assert [future.result(0).added for future in outcomes] == [number != 2 for number in range(6)]
    for number, rgb in enumerate(images):
        payload = store.get(name_of(number))
        if number == 2:
            assert payload is None
        else:
            np.testing.assert_array_equal(decode(payload)[::2, ::2], rgb)


def test_a_failed_image_may_be_asked_for_again(make_image, store):
    request = ask(0, make_image(20, 20, 0, "fails"))
    with serve(open_engine("test-faulty", RECIPE.setup("cpu")), store, linger=0) as service:
        first = service.submit(request)
        assert first.result(LIMIT).failure
        second = service.submit(request)
        assert second is not first
        assert second.result(LIMIT).failure


@pytest.mark.parametrize("notes", [{"odd": object()}, {"odd": {1, 2}}, {"odd": math.nan}, [1], None])
def test_odd_notes_are_the_image_s_own(asks, store, notes):
    def act(images):
        return [Upscaled(image, notes if n == 0 else {"n": n}) for n, image in enumerate(enlarged(images, 2))]

    with serve(Probe(act=act), store) as service:
        outcomes = [service.submit(request) for request in asks(4)]
        service.drain()
    assert outcomes[0].result(0).failure.reason == "engine_error"
    assert [store.record(name_of(n))["notes"] for n in (1, 2, 3)] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_an_image_too_large_for_its_codec_is_its_own_failure(make_image, store):
    recipe = resolve({"name": "t", "engine": "test-faulty", "scale": 2, "codec": "webp:50"})
    with serve(open_engine("test-faulty", recipe.setup("cpu")), store, recipe=recipe) as service:
        long, short = service.submit(ask(0, make_image(2, 9000))), service.submit(ask(1, make_image(2, 90)))
        service.drain()
    assert long.result(0).failure.reason == "engine_error"
    assert short.result(0).added


def test_out_of_memory_makes_smaller_batches_and_loses_nothing(asks, store):
    recipe = resolve({"name": "t", "engine": "test-faulty", "scale": 2, "options": {"most": 1}})
    with serve(open_engine("test-faulty", recipe.setup("cpu")), store, recipe=recipe) as service:
        futures = [service.submit(request) for request in asks(9)]
        service.drain()
    assert all(future.result(0).added for future in futures)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda images: [], "one outcome per image"),
        (lambda images: torch.zeros(3), "must return a list"),
        (lambda images: exit_thread(), "SystemExit"),
    ],
)
def test_an_engine_that_breaks_its_promise_ends_the_service(asks, store, act, words):
    service = serve(Probe(act=act), store)
    futures = [service.submit(request) for request in asks(4)]
    for future in futures:
        with pytest.raises(EngineError, match=words):
            future.result(LIMIT)
    with pytest.raises(EngineError, match=words):
        service.submit(asks(1)[0])
    with pytest.raises(EngineError, match=words):
        service.drain()
    assert closed(service)


def exit_thread():
    raise SystemExit(3)


@pytest.mark.parametrize("error", [DiskFullError("no room"), ZeroDivisionError("a bug")])
@pytest.mark.parametrize("after", [0, 5])
def test_a_store_that_fails_ends_the_service_and_no_thread_waits_for_ever(asks, error, after, monkeypatch):
    monkeypatch.setattr("srcache.stores.grouping.MOST_ENTRIES", 2)
    store, caught = Broken(error, after), []
    service = serve(Probe(batch=2), store)

    def submit_all():
        try:
            for request in asks(60, lambda number: (4, 4 + number)):
                caught.append(service.submit(request))
            service.drain()
        except Exception as raised:
            caught.append(raised)

    assert joined(in_thread(submit_all))
    assert caught[-1] is error
    assert closed(service)
    answers = [future.exception(0) or future.result(0) for future in caught[:-1]]
    assert set(map(type, answers)) <= {type(error), Served}
    stored = [answer.name for answer in answers if isinstance(answer, Served)]
    assert set(stored) == set(store.inner.names())
    with pytest.raises(type(error)):
        service.submit(asks(1, first=99)[0])
    with pytest.raises(type(error)):
        service.drain()


def test_all_who_share_a_request_get_the_error_of_a_store_that_cannot_be_read(asks, store):
    broken = Broken(DiskFullError("gone"), where="has")
    service = serve(Probe(), broken)
    with pytest.raises(DiskFullError):
        service.submit(asks(1)[0])
    assert service._pending == {}
    assert closed(service)


def test_closing_early_finishes_the_batch_in_hand_and_drops_the_rest(asks, store):
    gate, engine = threading.Event(), None
    engine = Probe(gate=gate)
    service = serve(engine, store)
    futures = [service.submit(request) for request in asks(11)]
    deadline = time.monotonic() + LIMIT
    while not engine.shapes and time.monotonic() < deadline:
        time.sleep(0.002)
    closing = in_thread(lambda: service.close(cancel=True))
    assert not wait(futures[:4], timeout=0.05).done
    gate.set()
    assert joined(closing)
    assert [future.result(0).added for future in futures[:4]] == [True] * 4
    for future in futures[4:]:
        with pytest.raises(CancelledError):
            future.result(0)
    assert sorted(store.names()) == sorted(name_of(number) for number in range(4))
    assert len(engine.shapes) == 1
    with pytest.raises(EngineError, match="closed"):
        service.submit(asks(1, first=50)[0])


def test_an_error_in_a_with_block_drops_what_waits(asks, store):
    futures = []

    def go_wrong():
        with serve(Probe(), store) as service:
            futures.append(service.submit(asks(1)[0]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        go_wrong()
    with pytest.raises(CancelledError):
        futures[0].result(0)


def test_closing_wakes_those_who_are_blocked(asks, store):
    gate, raised = threading.Event(), []
    service = serve(Probe(2, gate=gate), store)

    def submit_all():
        try:
            for request in asks(50, lambda number: (4, 4 + number)):
                service.submit(request)
        except EngineError as error:
            raised.append(str(error))

    thread = in_thread(submit_all)
    deadline = time.monotonic() + LIMIT
    while len(service._waiting) < 16 and time.monotonic() < deadline:
        time.sleep(0.002)
    closing = in_thread(lambda: service.close(cancel=True))
    assert joined(thread), "also while the engine is at work"
    assert raised == ["the SR service was closed; open a new one"]
    gate.set()
    assert joined(closing)


@pytest.mark.medium
@pytest.mark.parametrize("cancel", [False, True])
def test_no_future_is_left_without_an_answer_whenever_the_service_is_closed(asks, cancel, monkeypatch):
    """Races of submit, drain and close, many times; the images are tiny, so that they meet in every order."""
    images = asks(12, lambda number: (2, 2 + number % 3))
    for turn in range(40):
        store = open_store("memory", Path("memory"), writable=True)
        look = store.has
        monkeypatch.setattr(store, "has", lambda name, look=look: (time.sleep(0.0002), look(name))[1])
        service, futures = serve(Probe(batch=2, pads=turn % 2 == 0), store, linger=0.0005), []

        def submit_some(service=service, futures=futures):
            try:
                for request in images:
                    futures.append(service.submit(request))
                service.drain()
            except EngineError:
                return

        threads = [in_thread(submit_some) for _ in range(3)]
        time.sleep(0.0004 * (turn % 10))
        assert closed(service, cancel=cancel)
        assert joined(*threads)
        assert all(future.done() for future in futures)
        stored = {future.result(0).name for future in futures if future.exception(0) is None}
        assert stored == set(store.names())


def test_a_store_that_does_not_take_what_it_lacks_ends_the_service(asks, store, monkeypatch):
    """Nothing is counted that is not there; a build would say for ever that it added it."""
    monkeypatch.setattr(store, "put_many", lambda entries: 0)
    service = serve(Probe(), store, linger=0)
    future = service.submit(asks(1)[0])
    with pytest.raises(DamagedError, match=rf"did not take what was to be committed: {name_of(0)}; run `srcache rep"):
        future.result(LIMIT)
    closed(service)
