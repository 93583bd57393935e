"""Fill a cache: plan (wanted − stored), decode and degrade, upscale, encode, commit, and write a receipt.

Twice is the same as once, and a crash costs at most the batch that was not committed: what is stored is never computed
again. Threads decode and degrade a few images ahead, `SRService` does the rest, and nothing grows with the size of the
data set but the catalog itself.

The main thread only waits, so that Ctrl-C strikes there, and never a thread that holds a lock.
"""

import itertools
import math
import platform
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srcache.calls import cuda_gauge
from srcache.catalog import Catalog
from srcache.engine import SREngine, find_engine, open_engine
from srcache.errors import EngineError, ImageError, RecipeError
from srcache.keys import entry_name
from srcache.machine import device_name, resolve_device, versions
from srcache.manifest import FailedEntry, RecipeFolder, create_cache, failures_by_reason
from srcache.plan import Plan, make_plan
from srcache.recipe import Recipe
from srcache.service import Outcome, ServiceSettings, SRService, make_requests
from srcache.stores import Store
from srcache.waiting import Request

Progress = Callable[[int, int], None]
"""Called with (done, total) while work goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillSettings:
    """How to fill; nothing here changes what an image is.

    Attributes:
        samples: SR images per source image; more than one only from an engine that draws noise.
        retry_failed: try again what failed in earlier runs.
        store: the kind of store of a new cache; None means the default, or what the cache has.
        batch: images per engine call; None takes the engine's advice, or less where a GPU's memory asks for it.
        device: `cpu`, `cuda`, `cuda:1`, …, or `auto`.
        workers: threads that decode, and as many that encode.
        compiled: ask the engine for `torch.compile`, which pays only in long runs.
    """

    samples: int = 1
    retry_failed: bool = False
    store: str | None = None
    batch: int | None = None
    device: str = "auto"
    workers: int = 2
    compiled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FillReport:
    """What a run did.

    Attributes:
        wanted: different entries asked for; `stored` of them were there before, `added` were made now.
        failed: this run's failures, counted by reason; `failures` lists them.
        skipped: entries that failed in earlier runs and were not tried again.
        seconds, engine_seconds: from when the engine was loaded to the last commit, and of them inside the engine.
        padding: share of the engine's work that only filled batches up.
        device, mode: what the engine ran on, and how: eager, compiled, or in its own words.
        interrupted: whether somebody stopped the run before its end.
    """

    folder: Path
    recipe: str
    wanted: int
    stored: int
    added: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    failures: tuple[FailedEntry, ...] = ()
    skipped: int = 0
    seconds: float = 0.0
    engine_seconds: float = 0.0
    padding: float = 0.0
    device: str | None = None
    mode: str | None = None
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Entries that are still not there."""
        return self.wanted - self.stored - self.added


class FillInterrupted(KeyboardInterrupt):
    """Somebody stopped a run; the batch in hand was finished, and `report` says how far it got."""

    def __init__(self, report: FillReport) -> None:
        super().__init__("interrupted")
        self.report = report


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A plan with all that it takes to carry it out."""

    catalog: Catalog
    recipe: Recipe
    plan: Plan
    settings: FillSettings


class Tally:
    """Counts outcomes as threads report them, and notes failures in the folder (if there is one) as they happen.

    What goes wrong while a future reports here is kept for `check`: a future would only log it.
    """

    def __init__(self, folder: RecipeFolder | None, total: int, progress: Progress | None) -> None:
        self.added = 0
        self.failures: list[FailedEntry] = []
        self._done = 0
        self._trouble: Exception | None = None
        self._folder, self._total, self._progress = folder, total, progress
        self._lock = threading.Lock()

    def fail(self, failed: FailedEntry) -> None:
        """Count and note a failure."""
        with self._lock:
            self.failures.append(failed)
            if self._folder is not None:
                self._folder.note_failure(failed)
            self._step()

    def settle(self, source: str, future: "Future[Outcome]") -> None:
        """Count what became of a request; one that was dropped counts as nothing."""
        if future.exception() is not None:
            return
        try:
            self._count(source, future.result())
        except Exception as error:
            self._trouble = error

    def check(self) -> None:
        """Raise what went wrong while futures reported."""
        if self._trouble is not None:
            raise self._trouble

    def _count(self, source: str, outcome: Outcome) -> None:
        if outcome.failure is not None:
            self.fail(FailedEntry(outcome.name, source, outcome.failure.reason, outcome.failure.detail))
            return
        with self._lock:
            self.added += outcome.added
            self._step()

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def fill(
    catalog: Catalog,
    recipe: Recipe,
    cache: str | Path,
    settings: FillSettings | None = None,
    progress: Progress | None = None,
) -> FillReport:
    """Make every SR image that a cache lacks.

    Raises:
        CacheError: the folder is no cache, or a cache of another kind.
        RecipeError: the recipe does not fit the engine, or asks for samples that would all be the same.
        BusyError: another process fills this recipe's folder.
        DiskFullError: no room; what was committed is safe, and the next run goes on.
        FillInterrupted: Ctrl-C; the batch in hand was finished.
    """
    settings = settings or FillSettings()
    require(recipe, settings)
    opened = create_cache(cache, settings.store)
    folder = opened.add(recipe)
    with folder.lock(), closing(folder.store(writable=True)) as store:
        plan = make_plan(catalog, folder, store, samples=settings.samples, retry_failed=settings.retry_failed)
        opened.keep_catalog(catalog.digest, catalog.to_csv())
        work = Work(catalog=catalog, recipe=folder.recipe, plan=plan, settings=settings)
        report = _run(work, folder, store, progress) if plan.missing else _report(work, folder)
        if plan.missing or not _has_receipt(folder, work):
            folder.write_receipt(_receipt(report, work))
    if report.interrupted:
        raise FillInterrupted(report)
    return report


def require(recipe: Recipe, settings: FillSettings) -> None:
    """Refuse what cannot be: an engine that computes something else, or samples that would all be the same.

    Raises:
        RecipeError: with what to do instead.
        EngineError: the engine makes no use of `torch.compile`.
    """
    info = find_engine(recipe.engine).info
    recipe.require(info)
    if not 1 <= settings.samples <= 1000:
        raise RecipeError(f"samples must be from 1 to 1000, but is {settings.samples}")
    if settings.samples > 1 and not info.stochastic:
        raise RecipeError(f"engine {info.name} draws no noise: {settings.samples} samples would all be the same; use 1")
    if settings.compiled and not info.compiles:
        raise EngineError(f"engine {info.name} makes no use of torch.compile; leave --compile (compiled=True) out")


def load_engine(recipe: Recipe, settings: FillSettings) -> SREngine:
    """Load the recipe's engine on the device that the settings name."""
    return open_engine(recipe.engine, recipe.setup(resolve_device(settings.device), settings.compiled))


def start_service(engine: SREngine, recipe: Recipe, store: Store, settings: FillSettings) -> SRService:
    """Start a service that is tuned for throughput: short batches run only if they must."""
    device = resolve_device(settings.device)
    serving = ServiceSettings(
        batch=settings.batch,
        encoders=settings.workers,
        linger=math.inf,
        device=device_name(device),
        gauge=None if settings.batch else cuda_gauge(device),
    )
    return SRService(engine, recipe, store, serving)


def feed(work: Work, service: SRService, tally: Tally) -> None:
    """Decode ahead in threads and hand the service one request after the other, until all is stored."""
    ahead: deque[tuple[int, list[int], Future[list[Request]]]] = deque()
    rows, depth = work.plan.rows(), 2 * work.settings.workers
    pool = ThreadPoolExecutor(work.settings.workers, thread_name_prefix="srcache-decode")
    try:
        while True:
            for index, samples in itertools.islice(rows, depth - len(ahead)):
                ahead.append((index, samples, pool.submit(_prepared, work, index, samples)))
            if not ahead:
                break
            _hand_over(work, ahead.popleft(), service, tally)
            tally.check()
        service.drain()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepared(work: Work, index: int, samples: list[int]) -> list[Request]:
    """Decode and degrade one image: what a thread does ahead."""
    try:
        return make_requests(work.catalog.rows[index].key, work.catalog.load(index, check=True), work.recipe, samples)
    except MemoryError as error:
        raise ImageError("out_of_memory", "the image does not fit into this machine's memory") from error


def _hand_over(
    work: Work, loading: tuple[int, list[int], "Future[list[Request]]"], service: SRService, tally: Tally
) -> None:
    index, samples, future = loading
    row = work.catalog.rows[index]
    try:
        requests = future.result()
    except ImageError as error:
        for sample in samples:
            tally.fail(FailedEntry(entry_name(row.key, sample), row.name, error.reason, str(error)))
        return
    for request in requests:
        service.submit(request).add_done_callback(lambda done: tally.settle(row.name, done))


def _run(work: Work, folder: RecipeFolder, store: Store, progress: Progress | None) -> FillReport:
    tally = Tally(folder, len(work.plan.missing), progress)
    report = _report(work, folder)
    try:
        engine = load_engine(work.recipe, work.settings)
        service = start_service(engine, work.recipe, store, work.settings)
    except KeyboardInterrupt:
        return replace(report, interrupted=True)
    started = time.perf_counter()
    interrupted = _fed(work, service, tally)
    return replace(
        report,
        added=tally.added,
        failed=failures_by_reason(tally.failures),
        failures=tuple(tally.failures),
        seconds=time.perf_counter() - started,
        engine_seconds=service.calls.seconds,
        padding=service.calls.padded / max(1, service.calls.computed),
        device=service.settings.device,
        mode=getattr(engine, "mode", "compiled" if work.settings.compiled else "eager"),
        interrupted=interrupted,
    )


def _fed(work: Work, service: SRService, tally: Tally) -> bool:
    """Feed in a thread, wait, and close the service; says whether Ctrl-C struck.

    Then, and on an error, the batch in hand is finished and stored. A second Ctrl-C does not wait for that.
    """
    done: Future[None] = Future()

    def act() -> None:
        try:
            feed(work, service, tally)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=act, name="srcache-feed", daemon=True).start()
    interrupted = False
    try:
        done.result()
    except BaseException as error:
        service.close(cancel=True)
        wait([done])
        if not isinstance(error, KeyboardInterrupt):
            raise
        interrupted = True
    service.close()
    tally.check()
    return interrupted


def _report(work: Work, folder: RecipeFolder) -> FillReport:
    """A report on a run that has done nothing yet."""
    plan = work.plan
    return FillReport(
        folder=folder.path,
        recipe=work.recipe.folder,
        wanted=plan.wanted,
        stored=plan.stored,
        skipped=plan.skipped,
    )


def _has_receipt(folder: RecipeFolder, work: Work) -> bool:
    wanted = (work.catalog.digest, work.settings.samples)
    return any((receipt.get("catalog"), receipt.get("samples")) == wanted for receipt in folder.receipts())


def _receipt(report: FillReport, work: Work) -> dict[str, Any]:
    return {
        "catalog": work.catalog.digest,
        "samples": work.settings.samples,
        "wanted": report.wanted,
        "stored_before": report.stored,
        "added": report.added,
        "failed": report.failed,
        "skipped": report.skipped,
        "uncatalogued": len(work.catalog.problems),
        "seconds": round(report.seconds, 3),
        "engine_seconds": round(report.engine_seconds, 3),
        "padding": round(report.padding, 4),
        "interrupted": report.interrupted,
        "engine": work.recipe.engine,
        "mode": report.mode,
        "batch": work.settings.batch or find_engine(work.recipe.engine).info.batch,
        "device": report.device,
        "machine": platform.machine(),
        "versions": versions(),
    }
