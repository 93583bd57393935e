"""Calls to an engine: one outcome per image whatever it does, smaller batches when memory runs out."""

import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from engines import MARKS, enlarged

from srcache.engine.interface import EngineInfo, Failure, Unfinished, Upscaled
from srcache.engine.registry import open_engine
from srcache.errors import DeviceError, DiskFullError, EngineError, ImageError
from srcache.recipe.reading import resolve
from srcache.service.batching import BatchQueue
from srcache.service.requests import Request
from srcache.service.runner import EngineRunner, failure_of


class Probe:
    """Doubles images; `act` is called first, with the batch; keeps what it saw."""

    def __init__(self, act: Callable[[Any], Any] = lambda images: None, pads: bool = False) -> None:
        self.info = EngineInfo(name="probe", summary="", scales=(2,), pads=pads, batch=8)
        self.sizes: list[int] = []
        self.seeds: list[int] = []
        self._act = act

    def upscale(self, images, seeds):
        self.sizes.append(len(images))
        self.seeds += seeds
        instead = self._act(images)
        return instead if instead is not None else [Upscaled(image) for image in enlarged(images, 2)]


def calls_to(engine, batch=8, gauge=None):
    return EngineRunner(engine, queue_of(batch), gauge)


def queue_of(batch):
    return BatchQueue(batch, 2, math.inf)


@pytest.fixture
def requests(make_image):
    """A function: requests for so many images, some of them marked."""

    def make(count, marks=None, shape=(20, 24)):
        images = [make_image(*shape, number, (marks or {}).get(number)) for number in range(count)]
        return [Request(name=f"{n:02d}", lr=rgb, seed=n, size=(1, 1)) for n, rgb in enumerate(images)]

    return make


def at_most(count: int, error: Callable[[str], Exception]) -> Callable[[Any], None]:
    def act(images):
        if len(images) > count:
            raise error("CUDA out of memory. Tried to allocate 2 GiB")

    return act


class Divided(Probe):
    """The same in three parts; `before` is called with the images when they are prepared."""

    before: Callable[[Any], Any] = staticmethod(lambda images: None)

    def prepare(self, images):
        self.before(images)
        return {"prepared": images}

    def compute(self, prepared, seeds):
        return [Unfinished(lambda one=one: one) for one in super().upscale(prepared["prepared"], seeds)]

    def upscale(self, images, seeds):
        raise AssertionError("an engine in parts is called in parts")


def finished(outcomes):
    return [outcome.finish() if isinstance(outcome, Unfinished) else outcome for outcome in outcomes]


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("pads", [False, True])
def test_an_engine_in_parts_gives_what_it_gives_in_one(requests, ahead, pads):
    some, calls = requests(5), calls_to(Divided(pads=pads))
    outcomes = finished(calls.upscale(some, calls.prepare(some) if ahead else None))
    plain = calls_to(Probe(pads=pads)).upscale(some)
    assert all(torch.equal(one.image, two.image) for one, two in zip(outcomes, plain, strict=True))


def test_an_image_that_cannot_be_prepared_fails_alone_and_not_ahead_of_time(requests):
    def refuse(images):
        if (images[:, :, 0, 0] * 255 == torch.tensor(MARKS["raises"])).all(1).any():
            raise ValueError("no control image")

    engine = Divided()
    engine.before, calls, some = refuse, calls_to(engine), requests(6, {4: "raises"})
    assert calls.prepare(some) is None
    outcomes = finished(calls.upscale(some, None))
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [n == 4 for n in range(6)]
    assert outcomes[4] == Failure("engine_error", "ValueError: no control image")


def test_what_was_prepared_for_a_wider_batch_is_prepared_again(requests):
    engine = Divided(at_most(3, torch.OutOfMemoryError), pads=True)
    calls, some = calls_to(engine), requests(8)
    assert all(isinstance(each, Upscaled) for each in finished(calls.upscale(some, calls.prepare(some))))
    assert engine.sizes == [8, 4, 2, 2, 2, 2]


def test_short_batches_are_filled_up_only_for_engines_that_need_it(requests):
    padding, plain = Probe(pads=True), Probe()
    for engine in (padding, plain):
        calls = calls_to(engine)
        assert [len(calls.upscale(requests(count))) for count in (3, 8, 1)] == [3, 8, 1]
    assert (padding.sizes, plain.sizes) == ([8, 8, 8], [3, 8, 1])
    assert padding.seeds[:8] == [0, 1, 2, 0, 0, 0, 0, 0]


def test_what_was_computed_and_what_only_filled_up_is_counted(requests):
    calls = calls_to(Probe(pads=True))
    calls.upscale(requests(3))
    calls.upscale(requests(8))
    assert (calls.computed, calls.padded) == (16, 5)
    assert calls.seconds > 0


@pytest.mark.parametrize("culprits", [{0}, {5}, {1, 6}, {0, 1, 2}, set(range(7))])
def test_an_image_that_raises_fails_alone(requests, culprits):
    batch = requests(7, dict.fromkeys(culprits, "raises"))
    calls = calls_to(
        open_engine("test-faulty", resolve({"name": "t", "engine": "test-faulty", "scale": 2}).setup("cpu"))
    )
    outcomes = calls.upscale(batch)
    assert {n for n, outcome in enumerate(outcomes) if isinstance(outcome, Failure)} == culprits
    for request, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Failure):
            assert outcome.reason == "engine_error"
            assert outcome.detail.startswith("RuntimeError: the image is marked to raise")
            assert outcome.tried == (outcome.detail == "RuntimeError: the image is marked to raise")
        else:
            assert torch.equal(outcome.image[:, ::2, ::2] * 255, torch.from_numpy(request.lr.copy()).permute(2, 0, 1))


def test_an_image_that_raises_fails_alone_at_the_fixed_batch(requests):
    def act(images):
        if (images[:, :, 0, 0] * 255 == torch.tensor(MARKS["raises"])).all(1).any():
            raise ValueError("no")

    engine = Probe(act, pads=True)
    outcomes = calls_to(engine).upscale(requests(8, {2: "raises"}))
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [n == 2 for n in range(8)]
    assert set(engine.sizes) == {8}


@pytest.mark.parametrize("pads", [False, True])
def test_an_engine_that_always_fails_is_not_called_for_every_image(requests, pads):
    def act(images):
        raise ValueError(f"no such kernel for {len(images)} images at {id(images):#x}")

    engine = Probe(act, pads)
    calls = calls_to(engine, batch=16)
    for _ in range(2):
        outcomes = calls.upscale(requests(16))
        assert [outcome.reason for outcome in outcomes] == ["engine_error"] * 16
        assert [n for n, outcome in enumerate(outcomes) if outcome.tried] == [0, 8, 15]
        assert "(three others of its batch met this; it was not tried by itself)" in outcomes[1].detail
    assert len(engine.sizes) == 2 * 4, "the batch, and three images alone"


@pytest.mark.parametrize("culprits", [{0, 15}, {0, 8}, {0, 7, 15}, set(range(16)) - {8}, set(range(16)) - {0}])
def test_where_one_image_works_every_other_one_is_tried(requests, culprits):
    marked = resolve({"name": "t", "engine": "test-faulty", "scale": 2}).setup("cpu")
    calls = calls_to(open_engine("test-faulty", marked), batch=16)
    for _ in range(2):
        outcomes = calls.upscale(requests(16, dict.fromkeys(culprits, "raises")))
        assert {n for n, outcome in enumerate(outcomes) if isinstance(outcome, Failure)} == culprits


def test_once_a_shape_has_worked_every_image_of_it_is_tried(requests):
    marked = resolve({"name": "t", "engine": "test-faulty", "scale": 2}).setup("cpu")
    calls = calls_to(open_engine("test-faulty", marked), batch=16)
    calls.upscale(requests(1))
    outcomes = calls.upscale(requests(16, dict.fromkeys({0, 8, 15}, "raises")))
    assert sum(isinstance(outcome, Failure) for outcome in outcomes) == 3


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
@pytest.mark.parametrize("pads", [False, True])
def test_out_of_memory_makes_batches_of_that_shape_smaller_for_good(requests, error, pads):
    engine, queue = Probe(at_most(3, error), pads), queue_of(8)
    calls = EngineRunner(engine, queue)
    assert not any(isinstance(outcome, Failure) for outcome in calls.upscale(requests(8)))
    assert engine.sizes == [8, 4, 2, 2, 2, 2]
    assert queue.width((20, 24)) == 2
    assert queue.width((24, 20)) == 8


def test_one_image_that_was_filled_up_to_a_batch_too_large_is_not_lost(requests):
    engine = Probe(at_most(2, torch.OutOfMemoryError), pads=True)
    assert isinstance(calls_to(engine).upscale(requests(1))[0], Upscaled)
    assert engine.sizes == [8, 4, 2]


def test_an_image_that_does_not_fit_alone_has_failed(requests):
    engine = Probe(at_most(0, torch.OutOfMemoryError), pads=True)
    outcomes = calls_to(engine).upscale(requests(2))
    assert [outcome.reason for outcome in outcomes] == ["out_of_memory"] * 2
    assert "tiling in the recipe would help" in outcomes[0].detail
    assert engine.sizes == [8, 4, 2, 1, 1]


def test_a_failed_call_lets_go_of_its_memory_before_the_next_try(requests):
    kept, alive = [], []

    def act(images):
        alive.append(sum(one() is not None for one in kept))
        large = torch.zeros(3)
        kept.extend([weakref.ref(large), weakref.ref(images)])
        if len(images) > 1:
            raise torch.OutOfMemoryError("out of memory")

    assert all(isinstance(outcome, Upscaled) for outcome in calls_to(Probe(act)).upscale(requests(4)))
    assert alive == [0] * 6


@pytest.mark.parametrize("pads", [False, True])
def test_a_gauge_settles_a_shape_s_width_before_its_first_batch_and_only_then(requests, pads):
    engine, free = Probe(pads=pads), [300]

    def gauge(act):
        act()
        return 100, free[0]

    calls = calls_to(engine, gauge=gauge)
    first = calls.prepare(requests(5))  # made when the shape was still thought to be wider
    outcomes = calls.upscale(requests(5), first)
    assert engine.sizes == [1, 2, 2, 2 if pads else 1]
    plain = calls_to(Probe(pads=pads)).upscale(requests(5))
    assert all(torch.equal(one.image, two.image) for one, two in zip(outcomes, plain, strict=True))
    assert (calls.computed, calls.padded) == ((7, 2) if pads else (6, 1))
    free[0] = 10**9
    calls.upscale(requests(2))
    assert engine.sizes[4:] == [2]
    calls.upscale(requests(8, shape=(24, 20)))
    assert engine.sizes[5:] == [1, 8]


def test_an_engine_that_predicts_its_memory_is_asked_and_not_tried(requests):
    engine = Probe(pads=True)
    engine.predicted_memory = lambda height, width, batch: batch * height * width
    calls = calls_to(engine, gauge=lambda act: (act(), 20 * 24 * 4))
    assert len(calls.upscale(requests(5))) == 5
    assert engine.sizes == [2, 2, 2]  # 4 would fit, but not with something to spare
    assert (calls.computed, calls.padded) == (6, 1)


def test_a_prediction_that_fails_is_a_warning_and_replaced_by_a_measurement(requests):
    engine = Probe()
    engine.predicted_memory = lambda height, width, batch: 1 / 0
    calls = calls_to(engine, gauge=lambda act: (act() and 100, 300))
    with pytest.warns(UserWarning, match="probe could not predict its memory, so it is measured .ZeroDivisionError"):
        assert len(calls.upscale(requests(4))) == 4
    assert engine.sizes == [1, 2, 2]


def test_nothing_is_gauged_where_batches_hold_one_image_anyway(requests):
    engine = Probe(pads=True)
    calls_to(engine, batch=1, gauge=lambda act: pytest.fail("gauged")).upscale(requests(2))
    assert engine.sizes == [1, 1]


def test_a_gauge_that_fails_leaves_the_answer_to_the_call_proper(requests):
    engine = Probe(at_most(0, torch.OutOfMemoryError))
    outcomes = calls_to(engine, gauge=lambda act: (act(), 0)).upscale(requests(2))
    assert [outcome.reason for outcome in outcomes] == ["out_of_memory"] * 2
    assert engine.sizes == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        ([], r"must return one outcome per image \(3\), but returned 0"),
        ([Failure("a", "b")] * 4, r"must return one outcome per image \(3\), but returned 4"),
        (torch.zeros(3), "must return a list, but returned Tensor"),
        ("abc", "must return a list, but returned str"),
        ([torch.zeros(3)] * 3, "must return a list of Upscaled or Failure, but returned Tensor"),
    ],
)
def test_an_engine_that_breaks_its_promise_is_named(requests, instead, words):
    with pytest.raises(EngineError, match=f"engine probe {words}"):
        calls_to(Probe(lambda images: instead)).upscale(requests(3))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("odd"), "engine_error"),
        (ImageError("too_large", "beyond the limit"), "too_large"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out_of_memory"),
    ],
)
def test_what_an_exception_says_about_one_image(error, reason):
    assert failure_of(error).reason == reason
    assert failure_of(error).detail


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceError),
        (type("AcceleratorError", (RuntimeError,), {})("device lost"), DeviceError),
        (DiskFullError("full"), DiskFullError),
        (EngineError("no weights"), EngineError),
    ],
)
def test_what_is_no_image_s_fault_is_raised(requests, error, kind):
    def act(images):
        raise error

    with pytest.raises(kind):
        calls_to(Probe(act)).upscale(requests(3))
