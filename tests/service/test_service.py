"""The service: each name once, batches that change no pixel, failures that stay alone, and no future without an answer.

Everything that waits in here does so with a limit, so that a deadlock is a failure rather than a silent build.
"""

import itertools
import math
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, wait
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import MARKS, enlarged
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from srcache.engine.interface import EngineInfo, Upscaled
from srcache.engine.registry import open_engine
from srcache.errors import DiskFullError, EngineError
from srcache.images import Decoded, decode
from srcache.keys import entry_name, image_key, noise_seed, pixel_key
from srcache.recipe.reading import resolve
from srcache.service.requests import Request, make_request, make_requests
from srcache.service.service import Served, ServiceSettings, SRService
from srcache.stores import open_store

LIMIT = 20
"""Seconds after which something that waits is taken to be stuck."""


class Probe:
    """Doubles images and notes the batches that it saw; waits for `gate` if there is one."""

    def __init__(self, batch=4, pads=False, gate=None, act=None):
        self.info = EngineInfo(name="probe", summary="", scales=(2,), pads=pads, batch=batch)
        self.shapes: list[tuple[int, ...]] = []
        self.seeds: list[int] = []
        self._gate, self._act = gate, act

    def upscale(self, images, seeds):
        self.shapes.append(tuple(images.shape))
        self.seeds += seeds
        if self._gate:
            assert self._gate.wait(LIMIT)
        instead = self._act(images) if self._act else None
        return instead if instead is not None else [Upscaled(image) for image in enlarged(images, 2)]


class Broken:
    """A memory store whose `put_many` or `record` raises after so many entries; may wait for a gate."""

    def __init__(self, error, after=0, where="put_many"):
        self.inner = open_store("memory", Path("broken"), writable=True)
        self._error, self._after, self._where = error, after, where

    def put_many(self, entries):
        if self._where == "put_many" and len(list(self.inner.names())) >= self._after:
            raise self._error
        return self.inner.put_many(entries)

    def record(self, name):
        if self._where == "record":
            raise self._error
        return self.inner.record(name)


@pytest.fixture
def store():
    return open_store("memory", Path("memory"), writable=True)


RECIPE = resolve({"name": "t", "engine": "test-faulty", "scale": 2})


def serve(engine, store, *, recipe=RECIPE, linger=math.inf, batch=None, encoders=2):
    return SRService(engine, recipe, store, ServiceSettings(batch=batch, linger=linger, encoders=encoders))


def name_of(number, sample=0):
    return entry_name(image_key(f"{number}".encode()), sample)


def ask(number, rgb):
    height, width = rgb.shape[:2]
    return Request(name=name_of(number), lr=rgb, seed=number, size=(2 * height, 2 * width))


@pytest.fixture
def asks(make_image):
    """A function: requests for so many pictures of one shape, or of the shapes that a function gives."""

    def make(count, shape=lambda number: (8, 10), first=0):
        return [ask(number, make_image(*shape(number), number)) for number in range(first, first + count)]

    return make


def in_thread(act, *given):
    thread = threading.Thread(target=act, args=given, daemon=True)
    thread.start()
    return thread


def joined(*threads):
    for thread in threads:
        thread.join(LIMIT)
    return not any(thread.is_alive() for thread in threads)


def closed(service, **how):
    return joined(in_thread(lambda: service.close(**how)))


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


def test_a_future_cannot_be_cancelled_under_those_who_share_it(asks, store):
    with serve(Probe(), store) as service:
        first = service.submit(asks(1)[0])
        assert service.submit(asks(1)[0]) is first
        assert not first.cancel()
        service.drain()
        assert first.result(0).added


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


@pytest.mark.parametrize("pads", [False, True])
def test_many_different_shapes_neither_stall_nor_pile_up(asks, store, pads):
    gate, accepted = threading.Event(), []
    with serve(Probe(2, pads, gate), store) as service:

        def submit_all():
            for request in asks(50, lambda number: (4, 4 + number)):
                accepted.append(service.submit(request))

        thread = in_thread(submit_all)
        deadline = time.monotonic() + LIMIT
        while len(service._room) < 16 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not joined_within(thread, 0.1)
        assert len(accepted) <= 8 * 2 + 2 + 2  # the crowd, and what the engine has in hand and ahead
        gate.set()
        assert joined(thread)
        service.drain()
    assert len(list(store.names())) == 50


def joined_within(thread, seconds):
    thread.join(seconds)
    return not thread.is_alive()


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
            picture = asks(1)[0].lr
            while not stop.is_set():
                service.submit(ask(next(numbers), picture))

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


@pytest.mark.parametrize("engine", ["test-shapes", "test-noise", "test-sleepy"])
def test_an_image_s_bytes_do_not_depend_on_its_batch(asks, engine):
    shapes = [(8, 10), (10, 8), (8, 10)]
    requests = asks(11, lambda number: shapes[number % 3])
    whole = payloads(engine, requests)
    assert len(set(whole.values())) == 11
    assert payloads(engine, requests[::-1]) == whole
    assert payloads(engine, requests, pause=1) == whole
    assert payloads(engine, requests, pause=3) == whole
    assert payloads(engine, requests[4:] + requests[:4]) == whole
    for request in requests[:4]:
        assert payloads(engine, [request])[request.name] == whole[request.name]


def test_an_engine_that_needs_filling_up_would_otherwise_differ(asks):
    """What the test above relies on: another batch size does move `test-shapes`."""
    assert payloads("test-shapes", asks(3), batch=2) != payloads("test-shapes", asks(3))


# --- failures --------------------------------------------------------------------------------------------------------

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
    pictures = [make_image(20, 20, number, mark if number == 2 else None) for number in range(6)]
    requests = [ask(number, rgb) for number, rgb in enumerate(pictures)]
    with serve(open_engine("test-faulty", RECIPE.setup("cpu")), store) as service:
        outcomes = [service.submit(request) for request in requests]
        service.drain()
    failed = outcomes[2].result(0).failure
    assert failed.reason == REASONS[mark]
    assert failed.detail
    assert [future.result(0).added for future in outcomes] == [number != 2 for number in range(6)]
    for number, rgb in enumerate(pictures):
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


def test_a_picture_too_large_for_its_codec_is_its_own_failure(make_image, store):
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
def test_a_store_that_gives_up_ends_the_service_and_nobody_waits_for_ever(asks, error, after, monkeypatch):
    monkeypatch.setattr("srcache.service.service._COMMIT_ENTRIES", 2)
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


def test_those_who_share_a_request_hear_that_the_store_cannot_be_read(asks, store):
    broken = Broken(DiskFullError("gone"), where="record")
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
    while len(service._room) < 16 and time.monotonic() < deadline:
        time.sleep(0.002)
    gate.set()
    assert closed(service, cancel=True)
    assert joined(thread)
    assert raised == ["the SR service was closed; open a new one"]


@pytest.mark.parametrize("cancel", [False, True])
def test_no_future_is_left_without_an_answer_whenever_somebody_closes(asks, cancel, monkeypatch):
    """Races of submit, drain and close, many times; the pictures are tiny, so that they meet in every order."""
    pictures = asks(12, lambda number: (2, 2 + number % 3))
    for turn in range(40):
        store = open_store("memory", Path("memory"), writable=True)
        look = store.record
        monkeypatch.setattr(store, "record", lambda name, look=look: (time.sleep(0.0002), look(name))[1])
        service, futures = serve(Probe(batch=2, pads=turn % 2 == 0), store, linger=0.0005), []

        def submit_some(service=service, futures=futures):
            try:
                for request in pictures:
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


# --- requests --------------------------------------------------------------------------------------------------------


def test_requests_are_named_and_seeded_by_the_key_and_the_sample_alone(make_image):
    recipe = resolve({"name": "t", "engine": "test-noise", "scale": 4, "seed": 7})
    key, rgb = image_key(b"file"), make_image(10, 14)
    requests = make_requests(key, Decoded(rgb, rgb), recipe, [0, 2])
    assert [request.name for request in requests] == [f"{key}-000", f"{key}-002"]
    assert [request.seed for request in requests] == [noise_seed(7, key, 0), noise_seed(7, key, 2)]
    assert all(request.lr is rgb and request.size == (40, 56) for request in requests)
    assert make_request(key, Decoded(rgb, rgb), recipe, 2).seed == requests[1].seed


def test_a_degradation_is_applied_and_the_size_follows_the_recipe(make_image):
    plain = {"name": "t", "engine": "test-noise", "scale": 4, "degradation": "box/4"}
    rgb = make_image(30, 43)
    for size, expected in (("scale", (32, 44)), ("source", (30, 43))):
        recipe = resolve({**plain, "size": size})
        request = make_request(image_key(b"x"), Decoded(rgb, rgb), recipe, 0)
        np.testing.assert_array_equal(request.lr, recipe.degradation.apply(rgb))
        assert request.shape == (8, 11)
        assert request.size == expected
        assert request.record["source"] == [30, 43]


def test_aliases_are_the_pixel_keys_that_are_not_the_key(make_image):
    rgb, plain = make_image(5, 6, 1), make_image(5, 6, 2)
    both = {pixel_key(rgb), pixel_key(plain)}
    assert set(make_request(image_key(b"x"), Decoded(rgb, plain), RECIPE, 0).aliases) == both
    assert make_request(image_key(b"x"), Decoded(rgb, rgb), RECIPE, 0).aliases == (pixel_key(rgb),)
    assert make_request(pixel_key(rgb), Decoded(rgb, rgb), RECIPE, 0).aliases == ()
