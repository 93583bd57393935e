"""SRService: owns an engine; batches what is asked for, computes each name once, and writes results back.

    submit → waiting room → [batch thread] → [engine thread] → [encode threads] → [commit thread] → store → future

* A batch holds images of one shape, and is filled up to a fixed size where the engine's results may depend on the
  batch's shape; so an image's bytes do not depend on who else was asked for.
* Memory is bounded: `submit` blocks while the waiting room is crowded, and no batch is begun while results of more than
  `BATCH_PIXELS` pixels, or too many of them, are not stored yet.
* The engine is what all this is for: while it computes, the next batch is made ready, and the last one is encoded.
* One image's failure is its own (see `calls`). Errors of the surroundings (disk full, device lost) end the service:
  every future gets them, and none is ever left without an answer.
"""

import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srcache.engine.interface import Failure, SREngine, Upscaled
from srcache.errors import EngineError
from srcache.images import encode, from_tensor, resize, to_batch
from srcache.keys import image_key
from srcache.recipe.recipe import Recipe
from srcache.service.batching import BATCH_PIXELS, BatchQueue
from srcache.service.device_memory import Gauge
from srcache.service.requests import Request
from srcache.service.runner import EngineRunner, failure_of, unusable
from srcache.stores import Entry, Store

if TYPE_CHECKING:
    from torch import Tensor

_UNSTORED_MOST = 2048
_COMMIT_ENTRIES = 64
_COMMIT_BYTES = 16 << 20
_COMMIT_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a request: stored anew, stored already, or failed."""

    name: str
    added: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How a service runs; nothing here changes what an image is, beyond rounding (see `Recipe`).

    Attributes:
        batch: images per engine call; None takes the engine's advice.
        codec: lossless codec of stored images, unless the recipe names a lossy one.
        encoders: threads that encode.
        linger: seconds after which a short batch runs; infinity for one that waits until it must run.
        device: what to write into records.
        gauge: measures the memory of a device, to make batches only as large as fits; None does not look.
    """

    batch: int | None = None
    codec: str = "qoi"
    encoders: int = 2
    linger: float = 0.02
    device: str = "cpu"
    gauge: Gauge | None = None


class SRService:
    """See this module's docstring. A context manager; leaving it finishes what was asked for.

    `calls` counts what the engine was given, and the seconds that it took.
    """

    def __init__(self, engine: SREngine, recipe: Recipe, store: Store, settings: ServiceSettings) -> None:
        self.settings = settings
        self._recipe, self._store = recipe, store
        self._room = BatchQueue(max(1, settings.batch or engine.info.batch), recipe.scale, settings.linger)
        self.calls = EngineRunner(engine, self._room, settings.gauge, engine.info.pads_on(settings.device))
        self._pending: dict[str, Future[Served]] = {}
        self._lock = threading.Lock()
        self._work, self._space = threading.Condition(self._lock), threading.Condition(self._lock)
        self._hurried, self._closing, self._cancelled = 0, False, False
        self._fatal: Exception | None = None
        self._ahead = self._encoding = self._unstored = 0
        self._batches: queue.SimpleQueue[tuple[list[Request], Tensor | None] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Request, Upscaled | Failure, float] | None] = queue.SimpleQueue()
        self._encoded: queue.SimpleQueue[tuple[Entry, int] | None] = queue.SimpleQueue()
        self._preparing = self._started(self._run_batches, "batch")
        self._computing = self._started(self._run_engine, "engine")
        self._encoders = [self._started(self._run_encoder, "encode") for _ in range(settings.encoders)]
        self._committing = self._started(self._run_commits, "commit")

    def __enter__(self) -> "SRService":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(cancel=kind is not None)

    def submit(self, request: Request) -> "Future[Served]":
        """Ask for one image; blocks while very much is waiting. Asking twice costs nothing.

        The future cannot be cancelled, for others may have asked for the same; `close` may drop it, and then it raises
        CancelledError. Nothing may be submitted from a future's callback.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        name = request.name
        with self._lock:
            self._space.wait_for(lambda: self._has_ended or name in self._pending or not self._room.is_crowded)
            self._require_open()
            if name in self._pending:
                return self._pending[name]
            future = self._pending[name] = Future()
            future.set_running_or_notify_cancel()
        try:
            stored = self._store.record(name) is not None
        except BaseException as error:
            self._settle(name, error)
            raise
        if stored:
            self._settle(name, Served(name))
            return future
        with self._lock:
            self._require_open()
            if self._room.add(request, time.monotonic()) or self._hurried:
                self._work.notify()
        return future

    def drain(self) -> None:
        """Wait until everything that was asked for up to now is stored or has failed.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        with self._lock:
            asked = list(self._pending.values())
            self._hurried += 1
            self._work.notify()
        try:
            wait(asked)
        finally:
            with self._lock:
                self._hurried -= 1
        if self._fatal is not None:
            raise self._fatal

    def close(self, *, cancel: bool = False) -> None:
        """End the service: everything is finished, or (`cancel`) the batch in hand is, and the rest is dropped."""
        with self._lock:
            self._closing, self._cancelled = True, cancel
            dropped = [request.name for request in self._room.clear()] if cancel else []
            self._work.notify()
            self._space.notify_all()
        self._drop(dropped)
        self._preparing.join()
        self._batches.put(None)
        self._computing.join()
        for _ in self._encoders:
            self._results.put(None)
        for thread in self._encoders:
            thread.join()
        self._encoded.put(None)
        self._committing.join()
        self._drop(list(self._pending))

    @property
    def _has_ended(self) -> bool:
        return self._closing or self._fatal is not None

    def _require_open(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        if self._closing:
            raise EngineError("the SR service was closed; open a new one")

    def _started(self, act: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(act,), name=f"srcache-{name}", daemon=True)
        thread.start()
        return thread

    def _guarded(self, act: Callable[[], None]) -> None:
        """Be a thread of ours; whatever it does not handle ends the service, loudly."""
        try:
            act()
        except Exception as error:
            self._end(error)
        except BaseException as error:
            self._end(EngineError(f"a thread of the SR service was ended by {error!r}"))

    def _run_batches(self) -> None:
        while requests := self._next_batch():
            self._batches.put((requests, self.calls.prepared(requests)))

    def _next_batch(self) -> list[Request]:
        """The next images of one shape to compute, as soon as there is room for their results; empty at the end."""
        with self._lock:
            while self._fatal is None:
                is_free = self._ahead == 0 and self._unstored <= BATCH_PIXELS
                hurry = self._closing or self._hurried > 0
                if is_free and (requests := self._room.take(time.monotonic(), hurry)):
                    self._ahead += 1
                    self._unstored += sum(map(self._cost, requests))
                    self._space.notify_all()
                    return requests
                if self._closing and len(self._room) == 0:
                    return []
                self._work.wait(self._room.patience(time.monotonic()) if is_free else None)
        return []

    def _run_engine(self) -> None:
        while (batch := self._batches.get()) is not None and self._fatal is None:
            with self._lock:
                self._ahead -= 1
                self._work.notify()
            if self._cancelled:
                self._drop([request.name for request in batch[0]])
            else:
                self._compute(*batch)
            del batch

    def _compute(self, requests: list[Request], images: "Tensor | None") -> None:
        started = time.perf_counter()
        outcomes = self.calls.upscale(requests, images)
        milliseconds = round(1000 * (time.perf_counter() - started) / len(requests), 3)
        with self._lock:
            self._encoding += len(outcomes)
        for request, outcome in zip(requests, outcomes, strict=True):
            self._results.put((request, outcome, milliseconds))

    def _cost(self, request: Request) -> int:
        """What a result that is not stored yet holds on to, in pixels; a tiny one is an object too."""
        return max(BATCH_PIXELS // _UNSTORED_MOST, self._room.pixels(request.shape))

    def _run_encoder(self) -> None:
        while (result := self._results.get()) is not None:
            self._encode(*result)
            del result  # a view of a whole batch

    def _encode(self, request: Request, outcome: Upscaled | Failure, milliseconds: float) -> None:
        """Check, quantise and encode one result, and hand it to the commit thread."""
        try:
            done = outcome if isinstance(outcome, Failure) else self._entry(request, outcome, milliseconds)
        except Exception as error:  # an odd tensor, odd notes, a picture too large for its codec: this image's own
            done = failure_of(error)
        with self._lock:
            self._encoding -= 1
        if isinstance(done, Entry):
            self._encoded.put((done, self._cost(request)))
        else:
            self._let_go(self._cost(request))
            self._settle(request.name, Served(request.name, failure=done))

    def _entry(self, request: Request, upscaled: Upscaled, milliseconds: float) -> Entry | Failure:
        source = to_batch([request.lr])[0]
        wrong = unusable(upscaled.image, source, self._recipe.scale)
        if wrong is not None:
            return wrong
        pixels = resize(from_tensor(upscaled.image), request.size, "lanczos")
        payload = encode(pixels, self._recipe.codec or self.settings.codec)
        record = {
            **request.record,
            "lr": list(request.shape),
            "size": list(request.size),
            "notes": dict(upscaled.notes),
            "milliseconds": milliseconds,
            "device": self.settings.device,
            "checksum": image_key(payload),
        }
        json.dumps(record, allow_nan=False)
        return Entry(request.name, payload, record, request.aliases)

    def _run_commits(self) -> None:
        while batch := self._next_commit():
            self._store.put_many([entry for entry, _ in batch])
            self._let_go(sum(cost for _, cost in batch))
            for entry, _ in batch:
                self._settle(entry.name, Served(entry.name, added=True))

    def _next_commit(self) -> list[tuple[Entry, int]]:
        """What is encoded by now, up to some entries or megabytes; empty at the end."""
        batch: list[tuple[Entry, int]] = []
        size = 0
        following = self._encoded.get()
        while following is not None:
            batch.append(following)
            size += len(following[0].payload)
            if len(batch) >= _COMMIT_ENTRIES or size >= _COMMIT_BYTES:
                return batch
            try:
                following = self._encoded.get(timeout=_COMMIT_PAUSE if self._encoding else 0)
            except queue.Empty:
                return batch
        if batch:
            self._encoded.put(None)
        return batch

    def _let_go(self, cost: int) -> None:
        with self._lock:
            self._unstored -= cost
            self._work.notify()

    def _settle(self, name: str, answer: Served | BaseException) -> None:
        """Answer a request; whoever takes a future out of `_pending` is the one who may set it."""
        with self._lock:
            future = self._pending.pop(name, None)
        if future is None:
            return
        if isinstance(answer, Served):
            future.set_result(answer)
        else:
            future.set_exception(answer)

    def _drop(self, names: list[str]) -> None:
        for name in names:
            self._settle(name, CancelledError())

    def _end(self, error: Exception) -> None:
        """The surroundings gave up: tell everybody who waits, and let nobody in."""
        with self._lock:
            self._fatal = self._fatal or error
            futures, self._pending = list(self._pending.values()), {}
            self._room.clear()
            self._work.notify()
            self._space.notify_all()
        for future in futures:
            future.set_exception(error)
