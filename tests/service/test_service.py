"""The service while all goes well: each name is computed once, and batches change no pixel."""

import itertools
import math
import threading
import time
from collections import Counter
from concurrent.futures import wait
from pathlib import Path

import pytest
from commands import until
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from services import LIMIT, RECIPE, Broken, Probe, ask, closed, in_thread, joined, joined_within, name_of, serve

from srcache.engine.interface import Unfinished
from srcache.engine.registry import open_engine
from srcache.images import Decoded
from srcache.keys import image_key, pixel_key
from srcache.recipe.reading import resolve
from srcache.service.requests import make_request
from srcache.service.service import Served
from srcache.stores import Entry, open_store

# --- once ------------------------------------------------------------------------------------------------------------


def test_a_name_is_computed_once_however_often_and_from_wherever_it_is_asked_for(asks, store):
    engine, requests, futures = Probe(), asks(24), []
    with serve(engine, store, linger=0.001) as service:

        def ask_all(turn):
            for request in requests[turn:] + requests[:turn]:
                futures.append(service.submit(request))

        threads = [in_thread(ask_all, turn) for turn in range(0, 24, 3)]
        assert joined(*threads)
        outcomes = [future.result(LIMIT) for future in futures]
    assert sorted(engine.seeds) == list(range(24))
    assert Counter(outcome.name for outcome in outcomes) == {request.name: 8 for request in requests}
    assert all(outcome.failure is None for outcome in outcomes)
    assert list(store.names()) == sorted(request.name for request in requests)


def test_what_is_stored_already_is_answered_without_the_engine(asks, store):
    request = asks(1)[0]
    with serve(Probe(), store, linger=0) as service:
        assert service.submit(request).result(LIMIT) == Served(request.name, added=True)
    engine = Probe()
    with serve(engine, store) as service:
        future = service.submit(request)
        assert future.result(0) == Served(request.name, added=False)
    assert engine.shapes == []


def test_what_others_stored_while_it_waited_is_not_computed(asks, store):
    requests, engine = asks(8), Probe()
    with serve(engine, store, batch=4) as service:
        futures = [service.submit(request) for request in requests[:3]]
        others = [Entry(request.name, b"another's", {}) for request in (*requests[:2], *requests[4:])]
        store.put_many(others)
        futures += [service.submit(requests[3])]
        service.drain()
    assert [future.result(0).added for future in futures] == [False, False, True, True]
    assert sorted(engine.seeds) == [2, 3]
    assert store.get(requests[0].name) == b"another's"
    assert all(future.result(0).failure is None for future in futures)


def test_a_batch_of_which_all_is_there_leaves_room_for_the_next(asks, store):
    requests, engine = asks(12), Probe()
    with serve(engine, store, batch=4) as service:
        futures = [service.submit(request) for request in requests[:3]]
        store.put_many([Entry(request.name, b"another's", {}) for request in requests[:3]])
        service.drain()
        futures += [service.submit(request) for request in requests[3:]]
        service.drain()
    assert [future.result(0).added for future in futures] == [False] * 3 + [True] * 9
    assert sorted(engine.seeds) == list(range(3, 12))


def test_what_others_store_while_it_is_computed_is_not_counted_as_added(asks, store):
    request = asks(1)[0]

    class Late(Probe):
        def upscale(self, images, seeds):
            store.put_many([Entry(request.name, b"another's", {})])
            return super().upscale(images, seeds)

    with serve(Late(), store, linger=0) as service:
        assert service.submit(request).result(LIMIT) == Served(request.name, added=False)
    assert store.get(request.name) == b"another's"


def test_a_future_cannot_be_cancelled_under_those_who_share_it(asks, store):
    with serve(Probe(), store) as service:
        first = service.submit(asks(1)[0])
        assert service.submit(asks(1)[0]) is first
        assert not first.cancel()
        service.drain()
        assert first.result(0).added


@pytest.mark.medium
@hypothesis_settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([(3, 4), (4, 3), (5, 5)])), max_size=30),
    st.integers(1, 5),
    st.booleans(),
)
def test_any_sequence_of_requests_is_answered_and_stored_once(make_image, wanted, batch, pads):
    """A number keeps the shape that it was first asked with."""
    shapes = dict(reversed(wanted))
    store, engine = open_store("memory", Path("memory"), writable=True), Probe(batch, pads)
    with serve(engine, store) as service:
        futures = [service.submit(ask(n, make_image(*shapes[n], n))) for n, _ in wanted]
        service.drain()
        assert all(future.result(0).failure is None for future in futures)
    assert sorted(store.names()) == sorted({name_of(n) for n in shapes})
    assert set(engine.seeds) == set(shapes)
    if not pads:
        assert len(engine.seeds) == len(shapes)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_batches_hold_one_shape_and_are_filled_up_only_for_engines_that_need_it(asks, store):
    shapes = [(8, 10), (10, 8), (9, 9)]
    for pads, sizes in ((True, {4}), (False, {1, 2, 3, 4})):
        engine = Probe(pads=pads)
        with serve(engine, open_store("memory", Path("m"), writable=True)) as service:
            for request in asks(25, lambda number: shapes[number * number % 7 % 3]):
                service.submit(request)
            service.drain()
        assert {shape[0] for shape in engine.shapes} <= sizes
        assert {shape[2:] for shape in engine.shapes} == set(shapes)
        assert service.calls.computed == sum(shape[0] for shape in engine.shapes)
        assert service.calls.computed - service.calls.padded == 25


def test_a_full_batch_runs_at_once_and_a_short_one_waits_for_a_reason(asks, store):
    with serve(Probe(), store) as service:
        futures = [service.submit(request) for request in asks(5)]
        assert all(future.result(LIMIT).added for future in futures[:4])
        assert not wait(futures[4:], timeout=0.1).done
        service.drain()
        assert futures[4].result(0).added


def test_a_short_batch_runs_after_its_linger(asks, store):
    with serve(Probe(), store, linger=0.01) as service:
        assert service.submit(asks(1)[0]).result(LIMIT).added


def test_closing_finishes_what_was_asked_for(asks, store):
    service = serve(Probe(), store)
    futures = [service.submit(request) for request in asks(6)]
    assert closed(service)
    assert all(future.result(0).added for future in futures)
    assert closed(service)


@pytest.mark.medium
@pytest.mark.parametrize("pads", [False, True])
def test_many_different_shapes_neither_stall_nor_pile_up(asks, store, pads):
    gate, accepted = threading.Event(), []
    with serve(Probe(2, pads, gate), store) as service:

        def submit_all():
            for request in asks(50, lambda number: (4, 4 + number)):
                accepted.append(service.submit(request))

        thread = in_thread(submit_all)
        deadline = time.monotonic() + LIMIT
        while len(service._waiting) < 16 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not joined_within(thread, 0.1)
        assert len(accepted) <= 8 * 2 + 2 + 2  # the crowd, and what the engine has in hand and ahead
        gate.set()
        assert joined(thread)
        service.drain()
    assert len(list(store.names())) == 50


def test_results_that_are_not_stored_yet_hold_the_engine_back(asks, monkeypatch):
    monkeypatch.setattr("srcache.service.service.BATCH_PIXELS", 4 * 16 * 20)
    gate, engine = threading.Event(), Probe(batch=2)
    store = Broken(ZeroDivisionError(), after=math.inf)
    put = store.inner.put_many
    store.inner.put_many = lambda entries: (gate.wait(LIMIT), put(entries))[1]
    with serve(engine, store) as service:
        thread = in_thread(lambda: [service.submit(request) for request in asks(40)])
        deadline = time.monotonic() + LIMIT
        while len(engine.shapes) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1)
        assert len(engine.shapes) == 3  # four images wait to be stored, two are in hand
        gate.set()
        assert joined(thread)
        service.drain()
    assert len(list(store.inner.names())) == 40


def test_draining_waits_for_what_was_asked_for_and_not_for_what_comes_later(asks, store):
    stop, numbers = threading.Event(), itertools.count(1000)
    with serve(Probe(), store, linger=0.001) as service:

        def keep_asking():
            image = asks(1)[0].lr
            while not stop.is_set():
                service.submit(ask(next(numbers), image))

        thread = in_thread(keep_asking)
        futures = [service.submit(request) for request in asks(5)]
        assert joined(in_thread(service.drain))
        assert all(future.done() for future in futures)
        stop.set()
        assert joined(thread)


# --- bytes -----------------------------------------------------------------------------------------------------------


def payloads(engine, requests, *, pause=0, batch=None):
    recipe = resolve({"name": "t", "engine": engine, "scale": 2})
    store = open_store("memory", Path("memory"), writable=True)
    with serve(open_engine(engine, recipe.setup("cpu")), store, recipe=recipe, batch=batch) as service:
        for place, request in enumerate(requests):
            service.submit(request)
            if pause and place % pause == pause - 1:
                service.drain()
        service.drain()
        return {name: store.get(name) for name in store.names()}


@pytest.mark.medium
@pytest.mark.parametrize("engine", ["test-shapes", "test-noise", "test-sleepy"])
def test_an_image_s_bytes_do_not_depend_on_its_batch(asks, engine):
    shapes = [(8, 10), (10, 8), (8, 10)]
    requests = asks(11, lambda number: shapes[number % 3])
    together = payloads(engine, requests)
    assert len(set(together.values())) == 11
    assert payloads(engine, requests[::-1]) == together
    assert payloads(engine, requests, pause=1) == together
    assert payloads(engine, requests, pause=3) == together
    assert payloads(engine, requests[4:] + requests[:4]) == together
    for request in requests[:4]:
        assert payloads(engine, [request])[request.name] == together[request.name]


def test_an_engine_that_needs_filling_up_would_otherwise_differ(asks):
    """What the test above relies on: another batch size does move `test-shapes`."""
    assert payloads("test-shapes", asks(3), batch=2) != payloads("test-shapes", asks(3))


# --- failures --------------------------------------------------------------------------------------------------------


def test_records_say_how_an_entry_came_about(asks, make_image, store):
    decoded = make_image(12, 16)
    request = make_request(image_key(b"x"), Decoded(decoded, decoded), RECIPE, 0)
    recipe = resolve({"name": "t", "engine": "test-noise", "scale": 2, "seed": 5})
    with serve(open_engine("test-noise", recipe.setup("cpu")), store, recipe=recipe) as service:
        service.submit(request)
        service.drain()
    record = store.record(request.name)
    assert record["checksum"] == image_key(store.get(request.name))
    assert {key: record[key] for key in ("key", "sample", "seed", "source", "lr", "size", "device", "notes")} == {
        "key": image_key(b"x"),
        "sample": 0,
        "seed": request.seed,
        "source": [12, 16],
        "lr": [12, 16],
        "size": [24, 32],
        "device": "cpu",
        "notes": {"seed": request.seed},
    }
    assert record["milliseconds"] > 0
    assert store.resolve(pixel_key(decoded)) == image_key(b"x")


# --- the end ---------------------------------------------------------------------------------------------------------


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_short_batch_is_filled_up_while_the_engine_is_busy(asks, store):
    gate, requests = threading.Event(), asks(4)
    engine = Probe(gate=gate)
    with serve(engine, store, linger=0.01) as service:
        futures = [service.submit(requests[0])]
        until(lambda: len(engine.shapes) == 1)
        for request in requests[1:]:
            futures.append(service.submit(request))
            time.sleep(0.03)
        assert service.queued == 3
        gate.set()
        assert all(future.result(LIMIT).added for future in futures)
    assert [shape[0] for shape in engine.shapes] == [1, 3]
    assert service.calls.sizes == {1: 1, 3: 1}


# --- in parts --------------------------------------------------------------------------------------------------------


class Divided(Probe):
    """Says in which threads its parts are called; the first call of the device's part waits for the next `prepare`."""

    def __init__(self):
        super().__init__()
        self.threads: dict[str, set[str]] = {"prepare": set(), "compute": set(), "finish": set()}
        self.ahead = threading.Semaphore(0)

    def _note(self, part):
        self.threads[part].add(threading.current_thread().name)

    def prepare(self, images):
        self._note("prepare")
        self.ahead.release()
        return images

    def compute(self, prepared, seeds):
        self._note("compute")
        assert self.ahead.acquire(timeout=LIMIT)
        if not self.shapes:
            assert self.ahead.acquire(timeout=LIMIT), "the next batch is prepared while this one is computed"
            self.ahead.release()
        return [Unfinished(lambda one=one: self._note("finish") or one) for one in self.upscale(prepared, seeds)]


def test_the_host_s_parts_of_an_engine_run_beside_the_device_s(asks, store):
    engine, requests = Divided(), asks(12)
    with serve(engine, store, batch=4) as service:
        futures = [service.submit(request) for request in requests]
        service.drain()
    assert all(future.result(0).added for future in futures)
    wanted = {"prepare": {"srcache-batch"}, "compute": {"srcache-engine"}, "finish": {"srcache-encode"}}
    assert engine.threads == wanted
