"""The way of images into the service: decoded a few ahead in threads, submitted in order, their outcomes counted.

Also where engine and service of a fill are opened, on the device that its settings name.
"""

import itertools
import math
import threading
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import RecipeFolder
from srcache.catalog.rows import Catalog
from srcache.engine.interface import SREngine
from srcache.engine.registry import find_engine, open_engine
from srcache.errors import ImageError
from srcache.fill.plan import Plan
from srcache.fill.settings import FillSettings, engine_device
from srcache.images import Decoded, one_image
from srcache.keys import entry_name
from srcache.machine import device_name
from srcache.progress import Progress, timed
from srcache.recipe.recipe import Recipe
from srcache.service.device_memory import cuda_gauge
from srcache.service.requests import Request, make_requests
from srcache.service.service import Served, ServiceSettings, SRService
from srcache.stores import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class FillJob:
    """A plan, and what it takes to carry it out: the catalog, the recipe and the settings.

    `codec` is the store's lossless codec; see `StoreKind`.
    """

    catalog: Catalog
    recipe: Recipe
    plan: Plan
    settings: FillSettings
    codec: str = "qoi"


class FillCounts:
    """Counts what became of requests; any thread may report. Failures are noted in the recipe's folder as they happen.

    An error while a future reports here is kept for `check`, for the future would only log it.

    Args:
        folder: gets the failures; None for a run without a cache.
        total: entries to be made, for `progress`.
        progress: called after each of them.

    Attributes:
        added: entries that were stored anew.
        meanwhile: entries that another process had stored by the time it was their turn.
        notes: how many of the images that were decoded took what to become RGB; see `srcache.images.NOTES`.
        failures: the failures, in the order in which they came.
    """

    def __init__(self, folder: RecipeFolder | None, total: int, progress: Progress | None) -> None:
        self.added = self.meanwhile = 0
        self.failures: list[FailedEntry] = []
        self.notes = Counter[str]()
        self._done = 0
        self._error: Exception | None = None
        self._folder, self._total, self._progress = folder, total, progress
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        """Entries of which it is known by now what became of them."""
        return self._done

    def fail(self, failed: FailedEntry, tried: bool = True) -> None:
        """Count a failure, and note it; one that was not `tried` is not noted, so that the next run tries it."""
        with self._lock:
            self.failures.append(failed)
            if self._folder is not None and tried:
                self._folder.note_failure(failed)
            self._step()

    def note(self, decoded: Decoded) -> None:
        """Count what an image took to become RGB."""
        if decoded.notes:
            with self._lock:
                self.notes.update(decoded.notes)

    def find(self) -> None:
        """Count an entry that another process has stored since the plan was made."""
        with self._lock:
            self.meanwhile += 1
            self._step()

    def settle(self, source: str, future: "Future[Served]") -> None:
        """Count what became of a request; one that was dropped counts as nothing."""
        if future.exception() is not None:
            return
        try:
            self._count(source, future.result())
        except Exception as error:
            self._error = error

    def check(self) -> None:
        """Raise the error that came while futures reported, if one did."""
        if self._error is not None:
            raise self._error

    def _count(self, source: str, outcome: Served) -> None:
        if outcome.failure is not None:
            failure = outcome.failure
            self.fail(FailedEntry(outcome.name, source, failure.reason, failure.detail), failure.tried)
            return
        if not outcome.added:
            self.find()
            return
        with self._lock:
            self.added += 1
            self._step()

    def _step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def load_engine(recipe: Recipe, settings: FillSettings) -> SREngine:
    """Load the recipe's engine on the device that the settings name."""
    device = engine_device(find_engine(recipe.engine).info, settings.device)
    with timed(f"loading engine {recipe.engine} on {device}"):
        return open_engine(recipe.engine, recipe.setup(device, settings.compiled))


def start_service(
    engine: SREngine, recipe: Recipe, store: Store, settings: FillSettings, codec: str = "qoi"
) -> SRService:
    """Start a service that is tuned for throughput: short batches run only if they must."""
    device = engine_device(engine.info, settings.device)
    how = replace(service_settings(settings, device, device_name(device)), codec=codec)
    return SRService(engine, recipe, store, how)


def service_settings(settings: FillSettings, device: str, name: str) -> ServiceSettings:
    """How a fill's service runs on a resolved device, called `name` in records.

    On CUDA memory is measured, unless the settings say how large batches are.
    """
    return ServiceSettings(
        batch=settings.batch,
        encoders=settings.workers,
        linger=math.inf,
        device=name,
        gauge=None if settings.batch else cuda_gauge(device),
    )


def submit_all(job: FillJob, service: SRService, counts: FillCounts) -> None:
    """Decode ahead in threads and submit one request after the other, until everything is stored or has failed."""
    ahead: deque[tuple[int, list[int], Future[list[Request]]]] = deque()
    rows, depth = job.plan.rows(), 2 * job.settings.workers
    pool = ThreadPoolExecutor(job.settings.workers, thread_name_prefix="srcache-decode")
    try:
        while True:
            for index, samples in itertools.islice(rows, depth - len(ahead)):
                loading = pool.submit(_make_requests, job, service, counts, (index, samples))
                ahead.append((index, samples, loading))
            if not ahead:
                break
            _submit(job, ahead.popleft(), service, counts)
            counts.check()
        service.drain()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make_requests(
    job: FillJob, service: SRService, counts: FillCounts, wanted: tuple[int, list[int]]
) -> list[Request]:
    """Decode and degrade one image, unless others have stored it meanwhile; in a thread, ahead of time."""
    index, samples = wanted
    key = job.catalog.rows[index].key
    missing = [sample for sample in samples if not service.has(entry_name(key, sample))]
    with one_image():
        if not missing:
            return []
        decoded = job.catalog.load(index, check=True, colors=job.recipe.colors)
        counts.note(decoded)
        return make_requests(key, decoded, job.recipe, missing)


def _submit(
    job: FillJob, loading: tuple[int, list[int], "Future[list[Request]]"], service: SRService, counts: FillCounts
) -> None:
    index, samples, future = loading
    row = job.catalog.rows[index]
    try:
        requests = future.result()
    except ImageError as error:
        for sample in samples:
            counts.fail(FailedEntry(entry_name(row.key, sample), row.name, error.reason, str(error)))
        return
    for _ in range(len(samples) - len(requests)):
        counts.find()
    for request in requests:
        service.submit(request).add_done_callback(lambda done: counts.settle(row.name, done))
