"""Calls to an engine that always give one outcome per image, whatever the engine does.

A call that raises is tried again in smaller batches, until the culprit is alone: one image's failure is its own. Out of
memory makes the batches of that shape smaller for good; an image that does not fit alone has failed. Errors of the
machine (disk, device, network), and of the engine's author, are raised. An engine that fails on whatever it is given of
a shape is not asked about each image: if nothing of the shape has worked yet, and a batch and its first, last and
middle image alone fail, all three in the same words, then all of the batch has failed. The others of it were not tried,
and their failures say so: what an image's batch mates did must not keep it out of a cache for good.

Where there is a `Gauge`, the first call for a shape is on one image, from which follows how many fit into memory; so
its batches are of one width from the first on. An engine that predicts its memory (`predicted_memory`) is asked
instead.
"""

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from srcache.engine.interface import Failure, SREngine, Unfinished, Upscaled
from srcache.errors import DeviceError, EngineError, ImageError, SrcacheError
from srcache.images import to_batch
from srcache.service.batching import BatchQueue
from srcache.service.device_memory import Gauge, empty_device_cache, fitting
from srcache.service.requests import Request, Shape

_NO_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory")
Outcome = Upscaled | Unfinished | Failure
_Outcomes = list[Outcome]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an engine is given for a batch of so many images: a tensor, or what its `prepare` made of it."""

    count: int
    given: Any


class EngineRunner:
    """Calls an engine so that there is one outcome per image, and counts what it was given; used by one thread.

    Args:
        engine: computes the images.
        queue: knows how many images of a shape one call may have; it is made narrower where memory runs out.
        gauge: measures a device's memory, so that batches fit from the first on; None does not look.
        pads: whether short batches are filled up, for an engine that asks for it.

    Attributes:
        computed: images that the engine was given; `padded` of them only filled a batch up.
        sizes: how many calls were made for so many images, padding apart.
        seconds: the time that the engine took.
    """

    def __init__(self, engine: SREngine, queue: BatchQueue, gauge: Gauge | None = None, pads: bool = True) -> None:
        self.computed, self.padded, self.seconds = 0, 0, 0.0
        self.sizes: dict[int, int] = {}
        self._engine, self._queue, self._gauge = engine, queue, gauge
        self._pads = pads and engine.info.pads
        self._gauged: set[Shape] = set()
        self._proven: set[Shape] = set()

    def prepare(self, requests: list[Request]) -> Prepared | None:
        """What the engine will be given for these, made ahead of time in another thread; None if that failed.

        The call then prepares it itself, and meets the same error, of which it makes the outcome.
        """
        try:
            return self._prepared(self._padded(requests))
        except Exception:
            return None

    def _prepared(self, requests: list[Request]) -> Prepared:
        images, prepare = to_batch([request.lr for request in requests]), getattr(self._engine, "prepare", None)
        return Prepared(len(requests), prepare(images) if prepare else images)

    def upscale(self, requests: list[Request], prepared: Prepared | None = None) -> _Outcomes:
        """One outcome per request; all are of one shape. `prepared` is what `prepare` made of them.

        Raises:
            DeviceError: the accelerator is gone.
            EngineError: the engine does not keep what it must promise.
        """
        shape = requests[0].shape
        if self._gauge is not None and shape not in self._gauged:
            self._gauged.add(shape)
            self._settle_width(requests[0], self._gauge)
        size = self._queue.width(shape)
        if len(requests) <= size:
            outcomes = self._attempt(requests, prepared)
            if not isinstance(outcomes, Failure):
                self._proven.add(shape)
                return outcomes
            if (failures := self._hopeless(requests, outcomes)) is not None:
                return failures
            size = self._next_size(requests, outcomes)
            if size == 0:
                return [outcomes]
        done: _Outcomes = []
        while len(done) < len(requests):
            size = min(size, self._queue.width(shape))
            done += self.upscale(requests[len(done) : len(done) + size])
        return done

    def _hopeless(self, requests: list[Request], failure: Failure) -> _Outcomes | None:
        """The failures of a batch that has failed, if the engine seems to fail on whatever it gets of this shape."""
        shape = requests[0].shape
        if shape in self._proven or len(requests) < 4 or failure.reason == "out_of_memory":
            return None
        alone: dict[int, Failure] = {}
        for place in (0, len(requests) - 1, len(requests) // 2):
            outcomes = self._attempt([requests[place]], None)
            if not isinstance(outcomes, Failure) or not _same_way(outcomes, alone.get(0, outcomes)):
                self._proven.add(shape)  # of this shape, what fails and what works must be told apart
                return None
            alone[place] = outcomes
        detail = f"{alone[0].detail} (three others of its batch met this; it was not tried by itself)"
        others = replace(alone[0], detail=detail, tried=False)
        return [alone.get(place, others) for place in range(len(requests))]

    def _settle_width(self, request: Request, gauge: Gauge) -> None:
        """Make a shape's batches as small as the engine's prediction, or a call on one image, says they must be."""
        width = self._queue.width(request.shape)
        if width == 1:
            return
        predicted = getattr(self._engine, "predicted_memory", None)
        if predicted is not None:
            with _warn_instead(f"engine {self._engine.info.name} could not predict its memory, so it is measured"):
                free = gauge(lambda: None)[1]
                self._queue.narrow(request.shape, fitting(width, lambda count: predicted(*request.shape, count), free))
                return
        images = to_batch([request.lr])
        started = time.perf_counter()
        try:
            taken, free = gauge(lambda: self._engine.upscale(images, [request.seed]))
        except Exception:  # the call on the batch meets the same error, and reports it
            return
        finally:
            self.seconds += time.perf_counter() - started
        self.computed, self.padded = self.computed + 1, self.padded + 1
        self._queue.narrow(request.shape, fitting(width, lambda count: count * taken, free))

    def _next_size(self, requests: list[Request], failure: Failure) -> int:
        """How many of these to try next, after all of them have failed; 0 if there is nothing to try."""
        given = len(self._padded(requests))
        if failure.reason != "out_of_memory" or given == 1:
            return len(requests) // 2
        empty_device_cache()
        self._queue.narrow(requests[0].shape, given // 2)
        return given // 2

    def _attempt(self, requests: list[Request], prepared: Prepared | None) -> _Outcomes | Failure:
        """The outcomes of one call, or why there are none. After it no reference to what the call made is left."""
        started = time.perf_counter()
        try:
            return self._call(requests, prepared)
        except Exception as error:
            return failure_of(error)
        finally:
            self.seconds += time.perf_counter() - started

    def _call(self, requests: list[Request], prepared: Prepared | None) -> _Outcomes:
        padded = self._padded(requests)
        if prepared is None or prepared.count != len(padded):  # the shape's batches may have become smaller since
            prepared = self._prepared(padded)
        call = getattr(self._engine, "compute", self._engine.upscale)
        self.computed, self.padded = self.computed + len(padded), self.padded + len(padded) - len(requests)
        self.sizes[len(requests)] = self.sizes.get(len(requests), 0) + 1
        outcomes: object = call(prepared.given, [request.seed for request in padded])
        if not isinstance(outcomes, list | tuple):
            raise self._broken_contract("a list", type(outcomes).__name__)
        if len(outcomes) != len(padded):
            raise self._broken_contract(f"one outcome per image ({len(padded)})", str(len(outcomes)))
        for outcome in outcomes:
            if not isinstance(outcome, Outcome):
                raise self._broken_contract("a list of Upscaled or Failure", type(outcome).__name__)
        return list(outcomes[: len(requests)])

    def _padded(self, requests: list[Request]) -> list[Request]:
        """For an engine that needs it, as many as the shape's width, by repeating the first."""
        missing = self._queue.width(requests[0].shape) - len(requests) if self._pads else 0
        return requests + [requests[0]] * max(0, missing)

    def _broken_contract(self, expected: str, got: str) -> EngineError:
        return EngineError(f"engine {self._engine.info.name} must return {expected}, but returned {got}")


def _same_way(one: Failure, other: Failure) -> bool:
    """Whether two failures are the same but for numbers, such as sizes and addresses."""
    texts = [re.sub(r"0x[0-9a-f]+|\d+", "0", failure.detail) for failure in (one, other)]
    return one.reason == other.reason and texts[0] == texts[1]


@contextmanager
def _warn_instead(words: str) -> Iterator[None]:
    """An exception becomes a warning."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"{words} ({error!r})", stacklevel=3)


def failure_of(error: Exception) -> Failure:
    """An exception from an engine or encoder as the failure of one image.

    Raises:
        SrcacheError: it is no image's fault.
    """
    text = str(error)
    if isinstance(error, ImageError):
        return Failure(error.reason, text)
    if isinstance(error, SrcacheError):
        raise error
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _NO_MEMORY):
        return Failure(
            "out_of_memory", f"{text or 'out of memory'}; a smaller scale or tiling in the recipe would help"
        )
    if "CUDA error" in text or type(error).__name__ == "AcceleratorError":
        raise DeviceError(f"the device stopped working: {text}; what was stored is safe, run again") from error
    return Failure("engine_error", f"{type(error).__name__}: {text}")
