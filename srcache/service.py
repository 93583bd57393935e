"""SRService: owns an engine; batches what is asked for, computes each name once, and writes results back.

    submit → waiting, by shape → [engine thread] → encode pool → [commit thread] → store → future

* A batch holds images of one shape, and is filled up to a fixed size where the engine's results may depend on the
  batch's shape; so an image's bytes do not depend on who else was asked for.
* A full batch runs first. A short one runs when somebody waits for it: after `linger` seconds, when `drain` was called,
  or when so much is waiting that `submit` blocks.
* What the engine cannot do is halved until the culprit is alone: one image's failure is its own. Out of memory makes
  that shape's batch smaller for good.
* Errors of the surroundings (disk full, device lost) end the service: every future gets them.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from srcache.engine import Failure, SREngine, Upscaled, unusable
from srcache.errors import DeviceError, EngineError, SrcacheError
from srcache.images import Decoded, Pixels, encode, from_tensor, resize, to_batch
from srcache.keys import ImageKey, entry_name, image_key, noise_seed, pixel_key
from srcache.recipe import Recipe
from srcache.stores import Entry, Store

BATCH_PIXELS = 32_000_000
"""Output pixels in one engine call at most (but at least one image)."""

_WAITING_BYTES = 1 << 30
_COMMIT_BYTES = 64 << 20
_COMMIT_PAUSE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One SR image to be made. `size` is (height, width) of the stored image; `record` is what the caller knows."""

    name: str
    lr: Pixels
    seed: int
    size: tuple[int, int]
    record: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
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
        linger: seconds after which a short batch runs.
        device: what to write into records.
    """

    batch: int | None = None
    codec: str = "qoi"
    encoders: int = 2
    linger: float = 0.02
    device: str = "cpu"


def make_request(key: ImageKey, decoded: Decoded, recipe: Recipe, sample: int) -> Request:
    """The request for one sample of one source image: degraded if the recipe says so, seeded by its names alone."""
    source = decoded.rgb
    lr = recipe.degradation.apply(source) if recipe.degradation else source
    seed = noise_seed(recipe.seed, key, sample)
    pixel_keys = {pixel_key(source), pixel_key(decoded.plain)} - {key}
    return Request(
        name=entry_name(key, sample),
        lr=lr,
        seed=seed,
        size=recipe.output_size((lr.shape[0], lr.shape[1]), (source.shape[0], source.shape[1])),
        record={"key": key, "sample": sample, "seed": seed, "source": list(source.shape[:2])},
        aliases=tuple(sorted(pixel_keys)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    request: Request
    since: float


class SRService:
    """See this module's docstring. A context manager; leaving it finishes what was asked for.

    `computed` counts images that the engine was given, `padded` those that only filled a batch up.
    """

    def __init__(self, engine: SREngine, recipe: Recipe, store: Store, settings: ServiceSettings) -> None:
        self.settings = settings
        self._engine, self._recipe, self._store = engine, recipe, store
        self._batch = max(1, settings.batch or engine.info.batch)
        self._widths: dict[tuple[int, int], int] = {}
        self._waiting: dict[tuple[int, int], list[_Job]] = {}
        self._pending: dict[str, Future[Outcome]] = {}
        self._changed = threading.Condition()
        self._draining = self._closing = False
        self._fatal: Exception | None = None
        self.computed = self.padded = 0
        self._downstream = threading.Semaphore(4 * self._batch)
        self._encoded: queue.Queue[Entry | None] = queue.Queue()
        self._pool = ThreadPoolExecutor(settings.encoders, thread_name_prefix="srcache-encode")
        self._threads = [
            threading.Thread(target=self._guarded, args=(self._run_engine,), name="srcache-engine", daemon=True),
            threading.Thread(target=self._guarded, args=(self._run_commits,), name="srcache-commit", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "SRService":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(cancel=kind is not None)

    def submit(self, request: Request) -> "Future[Outcome]":
        """Ask for one image; blocks while very much is waiting. Asking twice costs nothing.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fatal or self._closing or not self._is_crowded())
            if self._fatal is not None:
                raise self._fatal
            if self._closing:
                raise EngineError("the SR service was closed; open a new one")
            known = self._pending.get(request.name)
            if known is not None:
                return known
            future: Future[Outcome] = Future()
            self._pending[request.name] = future
        if self._store.record(request.name) is not None:
            self._settle(Outcome(request.name))
            return future
        with self._changed:
            shape = (request.lr.shape[0], request.lr.shape[1])
            self._waiting.setdefault(shape, []).append(_Job(request, time.monotonic()))
            self._changed.notify_all()
        return future

    def drain(self) -> None:
        """Wait until everything that was asked for is stored or has failed.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        with self._changed:
            self._draining = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._fatal or not self._pending)
            self._draining = False
            if self._fatal is not None:
                raise self._fatal

    def close(self, *, cancel: bool = False) -> None:
        """End the service: everything is finished, or (`cancel`) the batch in hand is, and the rest is dropped."""
        with self._changed:
            self._closing = True
            waiting = [job.request.name for jobs in self._waiting.values() for job in jobs] if cancel else []
            dropped = [future for name in waiting if (future := self._pending.pop(name, None))]
            if cancel:
                self._waiting.clear()
            self._changed.notify_all()
        for future in dropped:
            future.cancel()
        self._threads[0].join()
        self._pool.shutdown(wait=True)
        self._encoded.put(None)
        self._threads[1].join()

    def _is_crowded(self) -> bool:
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        return len(jobs) >= 3 * self._batch or sum(job.request.lr.nbytes for job in jobs) >= _WAITING_BYTES

    def _guarded(self, act: Callable[..., None], *given: Any) -> None:
        """Run a piece of work in a thread of ours; whatever it does not handle ends the service, loudly."""
        try:
            act(*given)
        except Exception as error:
            self._end(error)

    def _run_engine(self) -> None:
        while (jobs := self._next_batch()) is not None:
            started = time.perf_counter()
            outcomes = self._upscaled(jobs)
            milliseconds = round(1000 * (time.perf_counter() - started) / len(jobs), 3)
            for job, outcome in zip(jobs, outcomes, strict=True):
                while not self._downstream.acquire(timeout=1):
                    if self._fatal is not None:
                        return
                self._pool.submit(self._guarded, self._encode, job, outcome, milliseconds)

    def _next_batch(self) -> list[_Job] | None:
        """The next images of one shape to compute, or None at the end."""
        with self._changed:
            while True:
                if self._fatal is not None or (self._closing and not self._waiting):
                    return None
                shape = self._ripe()
                if shape is not None:
                    width = self._width(shape)
                    jobs, rest = self._waiting[shape][:width], self._waiting[shape][width:]
                    self._waiting[shape] = rest
                    if not rest:
                        del self._waiting[shape]
                    self._changed.notify_all()
                    return jobs
                self._changed.wait(self.settings.linger if self._waiting else None)

    def _ripe(self) -> tuple[int, int] | None:
        """The shape whose batch should run now: a full one, or the fullest short one if it must not wait."""
        if not self._waiting:
            return None
        full = [shape for shape, jobs in self._waiting.items() if len(jobs) >= self._width(shape)]
        if full:
            return full[0]
        oldest = min(self._waiting, key=lambda shape: self._waiting[shape][0].since)
        if time.monotonic() - self._waiting[oldest][0].since >= self.settings.linger:
            return oldest
        if self._draining or self._closing or self._is_crowded():
            return max(self._waiting, key=lambda shape: len(self._waiting[shape]))
        return None

    def _width(self, shape: tuple[int, int]) -> int:
        """Images per call for a shape: fixed by the shape, the recipe and the settings, until memory runs out."""
        pixels = max(1, int(shape[0] * shape[1] * self._recipe.scale**2))
        return self._widths.get(shape, max(1, min(self._batch, BATCH_PIXELS // pixels)))

    def _upscaled(self, jobs: list[_Job]) -> list[Upscaled | Failure]:
        """One outcome per job; what fails is halved until the culprit is alone."""
        shape = (jobs[0].request.lr.shape[0], jobs[0].request.lr.shape[1])
        try:
            return self._call(jobs, self._width(shape))
        except SrcacheError:
            raise
        except Exception as error:
            if "CUDA error" in str(error) or type(error).__name__ == "AcceleratorError":
                raise DeviceError(f"the device stopped working: {error}; what was stored is safe, run again") from error
            failure = _failure(error)
            if len(jobs) == 1:
                return [failure]
            half = (len(jobs) + 1) // 2
            if failure.reason == "out_of_memory":
                self._widths[shape] = max(1, min(half, self._width(shape) // 2))
            return self._upscaled(jobs[:half]) + self._upscaled(jobs[half:])

    def _call(self, jobs: list[_Job], width: int) -> list[Upscaled | Failure]:
        """One engine call, filled up to the fixed width by repeating the first image."""
        padding = max(0, width - len(jobs)) if self._engine.info.pads else 0
        padded = [*jobs, *[jobs[0]] * padding]
        batch = to_batch([job.request.lr for job in padded])
        outcomes = self._engine.upscale(batch, [job.request.seed for job in padded])
        self.computed, self.padded = self.computed + len(padded), self.padded + padding
        if len(outcomes) != len(padded):
            raise EngineError(
                f"engine {self._engine.info.name} must return one outcome per image, "
                f"but returned {len(outcomes)} for {len(padded)}"
            )
        return list(outcomes[: len(jobs)])

    def _encode(self, job: _Job, outcome: Upscaled | Failure, milliseconds: float) -> None:
        """Check, quantise and encode one result, and hand it to the commit thread."""
        done = outcome if isinstance(outcome, Failure) else self._entry(job.request, outcome, milliseconds)
        if isinstance(done, Failure):
            self._downstream.release()
            self._settle(Outcome(job.request.name, failure=done))
        else:
            self._encoded.put(done)

    def _entry(self, request: Request, upscaled: Upscaled, milliseconds: float) -> Entry | Failure:
        source = to_batch([request.lr])[0]
        wrong = unusable(upscaled.image, source, self._recipe.scale)
        if wrong is not None:
            return wrong
        pixels = resize(from_tensor(upscaled.image), request.size, "lanczos")
        payload = encode(pixels, self._recipe.codec or self.settings.codec)
        record = {
            **request.record,
            "lr": list(request.lr.shape[:2]),
            "size": list(request.size),
            "notes": dict(upscaled.notes),
            "milliseconds": milliseconds,
            "device": self.settings.device,
            "checksum": image_key(payload),
        }
        return Entry(request.name, payload, record, request.aliases)

    def _run_commits(self) -> None:
        while (batch := self._next_commit()) is not None:
            self._store.put_many(batch)
            for entry in batch:
                self._downstream.release()
                self._settle(Outcome(entry.name, added=True))

    def _next_commit(self) -> list[Entry] | None:
        """What is encoded by now, up to a batch or some megabytes; None at the end."""
        first = self._encoded.get()
        if first is None:
            return None
        batch, size = [first], len(first.payload)
        while len(batch) < max(64, self._batch) and size < _COMMIT_BYTES:
            try:
                following = self._encoded.get(timeout=_COMMIT_PAUSE)
            except queue.Empty:
                break
            if following is None:
                self._encoded.put(None)
                break
            batch.append(following)
            size += len(following.payload)
        return batch

    def _settle(self, outcome: Outcome) -> None:
        """Answer a request; whoever takes a future out of `_pending` is the one who may set it."""
        with self._changed:
            future = self._pending.pop(outcome.name, None)
            self._changed.notify_all()
        if future is not None:
            future.set_result(outcome)

    def _end(self, error: Exception) -> None:
        """The surroundings gave up: tell everybody who waits, and let nobody in."""
        with self._changed:
            self._fatal = self._fatal or error
            futures, self._pending = list(self._pending.values()), {}
            self._waiting.clear()
            self._changed.notify_all()
        for future in futures:
            future.set_exception(error)


def _failure(error: Exception) -> Failure:
    """An exception from an engine or encoder as a failure of one image."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Failure("out_of_memory", f"{error}; a smaller scale or tiling in the recipe would help")
    return Failure("engine_error", f"{type(error).__name__}: {error}")
