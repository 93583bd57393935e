"""SRService: owns an engine; batches what is asked for, computes each name once, and writes results back.

    submit → BatchQueue → [batch thread] → [engine thread] → [encode threads] → [commit thread] → store → future

* A batch holds images of one shape, and is filled up to a fixed size where the engine's results may depend on the
  batch's shape; so an image's bytes do not depend on which other images were asked for.
* Memory is bounded: `submit` blocks while the queue is crowded, and no batch is begun while results of more than
  `BATCH_PIXELS` pixels, or too many of them, are not stored yet.
* The engine is kept busy: while it computes, the next batch is prepared, and the last one is finished and encoded.
* One image's failure is its own (see `runner`). Errors of the machine (disk full, device lost) end the service: every
  future gets them, and none is ever left without an answer.

This module has the threads and the lock. Which batch is next (`batching`), the calls to the engine (`runner`), the
entries made of its outputs (`encoding`) and their grouping into commits (`committing`) are elsewhere.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass

from srcache.engine.interface import Failure, SREngine
from srcache.errors import DamagedError, EngineError, listed
from srcache.recipe.recipe import Recipe
from srcache.service.batching import BATCH_PIXELS, queue_for
from srcache.service.committing import CommitQueue
from srcache.service.device_memory import Gauge
from srcache.service.encoding import ResultEncoder
from srcache.service.requests import Request
from srcache.service.runner import EngineRunner, Outcome, Prepared
from srcache.stores import Entry, Store

_UNSTORED_MOST = 2048
"""Results that are not stored yet, at most, however few pixels they have."""


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
        batch: images per engine call, whatever their shape; None takes the engine's advice for each shape.
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
    """Makes SR images with one engine by one recipe, in the background, and writes them to a store.

    `submit` asks for an image and returns a future of what became of it (`Served`). Requests are put together in
    batches, a name is computed once however often it is asked for, and what the store has is not computed at all. One
    image's failure is in its own `Served`; an error of the machine ends the service, and every future raises it. May be
    used from many threads. A context manager: leaving it finishes what was asked for, or after an error drops it.

    Args:
        engine: computes the images; the service calls it from one thread.
        recipe: what the images are; its engine is `engine`.
        store: where they go; stays open.
        settings: see `ServiceSettings`.

    Attributes:
        settings: as given.
        calls: counts what the engine was given, and the seconds that it took.
    """

    def __init__(self, engine: SREngine, recipe: Recipe, store: Store, settings: ServiceSettings) -> None:
        self.settings = settings
        self._store = store
        self._waiting = queue_for(engine, recipe.scale, settings.batch, settings.linger)
        self.calls = EngineRunner(engine, self._waiting, settings.gauge, engine.info.pads_on(settings.device))
        self._encoder = ResultEncoder(recipe, settings.codec, settings.device)
        self._pending: dict[str, Future[Served]] = {}
        self._lock = threading.Lock()
        self._work, self._space = threading.Condition(self._lock), threading.Condition(self._lock)
        self._drains, self._closing, self._cancelled = 0, False, False
        self._fatal: Exception | None = None
        self._ahead = self._encoding = self._unstored = 0
        self._is_busy = False
        self._batches: queue.SimpleQueue[tuple[list[Request], Prepared | None] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Request, Outcome, float] | None] = queue.SimpleQueue()
        self._encoded = CommitQueue()
        self._preparing = self._start(self._run_batches, "batch")
        self._computing = self._start(self._run_engine, "engine")
        self._encoders = [self._start(self._run_encoder, "encode") for _ in range(settings.encoders)]
        self._committing = self._start(self._run_commits, "commit")

    def __enter__(self) -> "SRService":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(cancel=kind is not None)

    def submit(self, request: Request) -> "Future[Served]":
        """Ask for one image; blocks while the queue is crowded. Asking twice costs nothing.

        The future cannot be cancelled, for others may have asked for the same; `close` may drop it, and then it raises
        CancelledError. Nothing may be submitted from a future's callback.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        name = request.name
        with self._lock:
            self._space.wait_for(lambda: self._has_ended or name in self._pending or not self._waiting.is_crowded)
            self._require_open()
            if name in self._pending:
                return self._pending[name]
            future = self._pending[name] = Future()
            future.set_running_or_notify_cancel()
        try:
            stored = self._store.has(name)
        except BaseException as error:
            self._settle(name, error)
            raise
        if stored:
            self._settle(name, Served(name))
            return future
        with self._lock:
            self._require_open()
            if self._waiting.add(request, time.monotonic()) or self._drains:
                self._work.notify()
        return future

    @property
    def queued(self) -> int:
        """Images that wait to be given to the engine."""
        return len(self._waiting)

    def has(self, name: str) -> bool:
        """Whether the store has an entry, which then need not be asked for."""
        return self._store.has(name)

    def drain(self) -> None:
        """Wait until everything that was asked for up to now is stored or has failed.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        with self._lock:
            asked = list(self._pending.values())
            self._drains += 1
            self._work.notify()
        try:
            wait(asked)
        finally:
            with self._lock:
                self._drains -= 1
        if self._fatal is not None:
            raise self._fatal

    def close(self, *, cancel: bool = False) -> None:
        """End the service: everything is finished, or (`cancel`) the batch in hand is, and the rest is dropped."""
        with self._lock:
            self._closing, self._cancelled = True, cancel
            dropped = [request.name for request in self._waiting.clear()] if cancel else []
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
        self._encoded.end()
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

    def _start(self, act: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._work_until_end, args=(act,), name=f"srcache-{name}", daemon=True)
        thread.start()
        return thread

    def _work_until_end(self, act: Callable[[], None]) -> None:
        """Body of every worker thread; whatever `act` does not handle ends the service with an error."""
        try:
            act()
        except Exception as error:
            self._end(error)
        except BaseException as error:
            self._end(EngineError(f"a thread of the SR service was ended by {error!r}"))

    def _run_batches(self) -> None:
        while requests := self._next_batch():
            missing = self._without_stored(requests)
            if missing:
                self._batches.put((missing, self.calls.prepare(missing)))
            else:
                with self._lock:
                    self._ahead -= 1

    def _without_stored(self, requests: list[Request]) -> list[Request]:
        """What is still missing, for other processes may have stored something while it waited."""
        stored = {request.name for request in requests if self._store.has(request.name)}
        for request in requests if stored else ():
            if request.name in stored:
                self._release(self._cost(request))
                self._settle(request.name, Served(request.name))
        return [request for request in requests if request.name not in stored]

    def _next_batch(self) -> list[Request]:
        """The next images of one shape to compute, as soon as there is room for their results; empty at the end."""
        with self._lock:
            while self._fatal is None:
                is_free = self._ahead == 0 and self._unstored <= BATCH_PIXELS
                hurry, idle = self._closing or self._drains > 0, not self._is_busy
                if is_free and (requests := self._waiting.take(time.monotonic(), hurry, idle)):
                    self._ahead += 1
                    self._unstored += sum(map(self._cost, requests))
                    self._space.notify_all()
                    return requests
                if self._closing and len(self._waiting) == 0:
                    return []
                self._work.wait(self._waiting.patience(time.monotonic()) if is_free and idle else None)
        return []

    def _run_engine(self) -> None:
        while (batch := self._batches.get()) is not None and self._fatal is None:
            with self._lock:
                self._ahead, self._is_busy = self._ahead - 1, True
                self._work.notify()
            if self._cancelled:
                self._drop([request.name for request in batch[0]])
            else:
                self._compute(*batch)
            del batch
            with self._lock:
                self._is_busy = False
                self._work.notify()

    def _compute(self, requests: list[Request], prepared: Prepared | None) -> None:
        started = time.perf_counter()
        outcomes = self.calls.upscale(requests, prepared)
        milliseconds = round(1000 * (time.perf_counter() - started) / len(requests), 3)
        with self._lock:
            self._encoding += len(outcomes)
        for request, outcome in zip(requests, outcomes, strict=True):
            self._results.put((request, outcome, milliseconds))

    def _cost(self, request: Request) -> int:
        """Memory of a result that is not stored yet, in pixels; a tiny one has a least cost, as any object has."""
        return max(BATCH_PIXELS // _UNSTORED_MOST, self._waiting.pixels(request.shape))

    def _run_encoder(self) -> None:
        while (result := self._results.get()) is not None:
            self._encode(*result)
            del result  # a view of the complete batch

    def _encode(self, request: Request, outcome: Outcome, milliseconds: float) -> None:
        """Finish and encode a result for the commit thread, or answer its request if there is nothing to store."""
        done = self._encoder.entry(request, outcome, milliseconds)
        with self._lock:
            self._encoding -= 1
        if isinstance(done, Entry):
            self._encoded.put(done, self._cost(request))
        else:
            self._release(self._cost(request))
            self._settle(request.name, Served(request.name, failure=done))

    def _run_commits(self) -> None:
        while group := self._encoded.take(lambda: self._encoding):
            entries = [entry for entry, _ in group]
            added = self._put(entries)
            self._release(sum(cost for _, cost in group))
            for entry in entries:
                self._settle(entry.name, Served(entry.name, added=entry.name in added))

    def _put(self, entries: list[Entry]) -> set[str]:
        """Commit entries; returns the names that were new, for other processes may have stored some meanwhile.

        Raises:
            DamagedError: the store did not take them, and does not have them.
        """
        names = [entry.name for entry in entries if not self._store.has(entry.name)]
        added = self._store.put_many(entries)
        lost = [name for name in names if not self._store.has(name)] if added < len(names) else []
        if lost:
            raise DamagedError(f"the store did not take what was to be committed: {listed(lost)}; run `srcache repair`")
        return set(names[:added])

    def _release(self, cost: int) -> None:
        """Results of this cost are stored, or need not be: a batch may begin in their place."""
        with self._lock:
            self._unstored -= cost
            self._work.notify()

    def _settle(self, name: str, answer: Served | BaseException) -> None:
        """Answer a request; only the thread that takes a future out of `_pending` may set it."""
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
        """End the service with an error: refuse new requests, and fail those that wait."""
        with self._lock:
            self._fatal = self._fatal or error
            futures, self._pending = list(self._pending.values()), {}
            self._waiting.clear()
            self._work.notify()
            self._space.notify_all()
        for future in futures:
            future.set_exception(error)
