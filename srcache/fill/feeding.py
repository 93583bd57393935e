"""Decode ahead and hand requests to the service; count outcomes."""

import itertools
import math
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import RecipeFolder
from srcache.catalog.rows import Catalog
from srcache.engine.interface import SREngine
from srcache.engine.registry import open_engine
from srcache.errors import ImageError
from srcache.fill.plan import Plan
from srcache.fill.settings import FillSettings
from srcache.keys import entry_name
from srcache.machine import device_name, resolve_device
from srcache.progress import Progress
from srcache.recipe.recipe import Recipe
from srcache.service.device_memory import cuda_gauge
from srcache.service.requests import Request, make_requests
from srcache.service.service import Served, ServiceSettings, SRService
from srcache.stores import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A plan with all that it takes to carry it out."""

    catalog: Catalog
    recipe: Recipe
    plan: Plan
    settings: FillSettings


class FillCounts:
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

    def settle(self, source: str, future: "Future[Served]") -> None:
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

    def _count(self, source: str, outcome: Served) -> None:
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


def feed(work: Work, service: SRService, tally: FillCounts) -> None:
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
    work: Work, loading: tuple[int, list[int], "Future[list[Request]]"], service: SRService, tally: FillCounts
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
