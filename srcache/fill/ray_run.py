"""A fill on Ray: blocks of names go to a pool of actors by Ray Data, and what became of them comes back as rows.

Each actor is one writer of the cache (see `ray_actor`); images and results never pass through Ray. An actor that is
killed is started anew, and its blocks are tried again, without what is stored of them by then. A block on which actors
die again and again is split into single images, and those on which they die alone have failed, like any image that
cannot be made.

The main thread only waits, as in a fill without Ray. When Ctrl-C is pressed there, the actors finish the batches in
hand, and the blocks that follow come back at once with nothing done.
"""

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from srcache import errors
from srcache.cache.failures import FailedEntry, failures_by_reason, in_order
from srcache.cache.manifest import RecipeFolder
from srcache.catalog.object_source import ObjectSource
from srcache.engine.registry import find_engine
from srcache.errors import CatalogError, ConfigError, SrcacheError
from srcache.files import write_atomic
from srcache.fill.feeding import FillJob
from srcache.fill.ray_actor import RayActor, RayJob
from srcache.fill.ray_cluster import (
    Cluster,
    actor_options,
    address_of,
    import_ray,
    joined,
    pool,
    require_ray,
    require_reachable,
)
from srcache.fill.ray_ledger import RayLedger
from srcache.fill.ray_rows import Block, Outcome, blocks_of, outcomes_of, positions_of, work_table
from srcache.fill.settings import FillReport, FillSettings, RaySettings, for_several
from srcache.keys import entry_name
from srcache.progress import Progress
from srcache.stores import Store

_BATCHES = 64
"""Engine calls in a block of work at most."""

_TURNS = 8
"""Blocks that each actor gets at least, as far as there are images, so that all are done at about the same time."""

_SHOW_EVERY = 0.5
"""Seconds between two looks at how far the run is."""

_SEALING = 60.0
"""Seconds that actors get to seal their shards at the end."""


def settings_on_ray(cache: str | Path, settings: FillSettings) -> FillSettings:
    """Refuse what cannot be on Ray, before anything is made; a new cache gets a store that several may fill.

    Raises:
        ConfigError, CacheError: with what to do instead.
        MissingExtraError: Ray is not installed.
        MachineError: no cluster is at the address.
    """
    settings = for_several(cache, settings, "the images of a fill on Ray (--executor ray)")
    if settings.take_over is not None:
        raise ConfigError("a fill on Ray takes over nothing; leave --take-over (take_over=) out, or --executor ray")
    if settings.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"on Ray a device is cpu, cuda or auto, for Ray says which GPU an actor gets; got {settings.device!r}"
        )
    import_ray()
    address = address_of(settings.ray or RaySettings())
    require_reachable(address)
    require_ray(address)
    return settings


def fill_on_ray(
    job: FillJob, folder: RecipeFolder, store: Store, report: FillReport, progress: Progress | None
) -> FillReport:
    """Carry out a plan on a cluster; `report` is that of a run that has done nothing yet.

    Raises:
        MachineError: the cluster cannot be used, or a machine of it failed; what was stored is safe.
        CacheError, CatalogError: a machine of it does not see the cache or the images.
    """
    source = job.catalog.source
    if not isinstance(source, ObjectSource) and any(row.path is None for row in job.catalog.rows):
        raise CatalogError("on Ray images must be files or objects below a URL, but some of this data set are neither")
    books, interrupted = _Books(len(job.plan.missing), progress), False
    try:
        with joined(job.settings.ray or RaySettings()) as cluster, _token(folder) as token:
            interrupted = _Run(job, folder, store, books, cluster, token).finish()
    except KeyboardInterrupt:
        interrupted = True
    if books.error is not None:
        raise books.error
    return replace(
        report,
        added=books.added,
        meanwhile=books.found,
        failed=failures_by_reason(books.failures),
        failures=in_order(books.failures),
        notes=dict(books.notes),
        seconds=books.seconds,
        engine_seconds=books.engine_seconds,
        padding=books.padded / max(1, books.computed),
        device=", ".join(sorted(books.devices)) or None,
        mode=", ".join(sorted(books.modes)) or None,
        interrupted=interrupted,
        writers=tuple(books.writers),
        killed=books.killed,
    )


class _Books:
    """What the outcomes of blocks add up to; each block counts once.

    Attributes:
        done: numbers of the blocks that have an outcome.
        error: the first error that was no image's fault.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.added = self.found = self.computed = self.padded = 0
        self.seconds = self.engine_seconds = 0.0
        self.failures: list[FailedEntry] = []
        self.notes = Counter[str]()
        self.devices, self.modes, self.done = set[str](), set[str](), set[int]()
        self.writers, self.killed = list[str](), 0
        self.error: Exception | None = None
        self._total, self._progress = total, progress

    def take(self, outcome: Outcome) -> None:
        """Count what became of a block."""
        if outcome.block in self.done:
            return
        self.done.add(outcome.block)
        self.added, self.found = self.added + outcome.added, self.found + outcome.found
        self.computed, self.padded = self.computed + outcome.computed, self.padded + outcome.padded
        self.engine_seconds += outcome.seconds
        self.failures += outcome.failures
        self.notes.update(outcome.notes)
        self.devices |= {outcome.device} - {""}
        self.modes |= {outcome.mode} - {""}
        if outcome.error and self.error is None:
            self.error = _error(outcome)

    def show(self, in_hand: int = 0) -> None:
        """Say how far the run is; `in_hand` entries more are done in blocks that have no outcome yet."""
        if self._progress is not None:
            self._progress(self.added + self.found + len(self.failures) + in_hand, self._total)


class _Run:
    """One fill on a cluster, from its first block to the last sealed shard."""

    def __init__(
        self, job: FillJob, folder: RecipeFolder, store: Store, books: _Books, cluster: Cluster, token: str
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._job, self._folder, self._store, self._books = job, folder, store, books
        self._options = actor_options(job.settings.device, cluster)
        self._pool = pool(job.settings.ray or RaySettings(), self._options, cluster)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._ledger: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(RayLedger).remote()
        self._actor_job = RayJob(
            cache=os.path.abspath(folder.path.parent) if folder.mirror is None else folder.mirror.url,
            recipe=job.recipe.fingerprint,
            codec=job.codec,
            settings=job.settings,
            token=token,
            token_name=_token_name(folder),
            root=str(job.catalog.root) if job.catalog.root else None,
            url=job.catalog.source.url if isinstance(job.catalog.source, ObjectSource) else None,
            ledger=self._ledger,
        )

    def finish(self) -> bool:
        """Do everything in a thread, and wait for it; returns whether Ctrl-C was pressed."""
        import ray

        done: Future[None] = Future()

        def act() -> None:
            try:
                self._act()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=act, name="srcache-ray", daemon=True).start()
        try:
            while not wait([done], _SHOW_EVERY).done:
                self._show()
            done.result()
        except KeyboardInterrupt:
            if ray.get(self._ledger.stop.remote()):
                wait([done])
            return True
        finally:
            self._close_books()
        return False

    def _show(self) -> None:
        """Say how far the run is, by the blocks that are done, and by what the actors tell of those in hand."""
        import ray

        told = ray.get(self._ledger.in_hand.remote())
        self._books.show(sum(count for block, count in told if block not in self._books.done))

    def _close_books(self) -> None:
        """Take over what only the ledger knows."""
        import ray

        self._books.show()

        self._books.seconds = ray.get(self._ledger.seconds.remote())
        there, lost = ray.get(self._ledger.writers.remote())
        self._books.writers, self._books.killed = [*there, *lost], len(lost)

    def _act(self) -> None:
        blocks = blocks_of(self._job.plan, self._rows_per_block())
        lost = self._pass(blocks)
        if lost and not self._is_over():
            single = self._single(lost, len(blocks))
            lost = self._pass(single)
        self._seal()
        if not self._is_over():
            self._give_up(lost)

    def _pass(self, blocks: Sequence[Block]) -> list[Block]:
        """Send blocks through the pool; returns those without an outcome."""
        import ray

        for table in self._outcome_tables(blocks):
            for outcome in outcomes_of(table):
                self._books.take(outcome)
                if self._books.error is not None:
                    ray.get(self._ledger.stop.remote())
        return [block for block in blocks if block.number not in self._books.done]

    def _outcome_tables(self, blocks: Sequence[Block]) -> Iterator[Any]:
        import ray.data

        least, most, patience = self._pool
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1
        context.wait_for_min_actors_s = patience
        tables = [work_table(self._job.catalog, self._job.plan, block) for block in blocks]
        with ray.data.DataContext.current(context):
            outcomes = ray.data.from_arrow(tables).map_batches(
                RayActor,
                fn_constructor_args=(self._actor_job,),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=2),
                **self._options,
            )
            yield from outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)

    def _rows_per_block(self) -> int:
        """Images in a block: some full batches, but less where the actors would not have enough blocks each."""
        batch = self._job.settings.batch or find_engine(self._job.recipe.engine).info.batch
        images = sum(1 for _ in self._job.plan.rows())
        share = -(-images // (self._pool[1] * _TURNS))
        return max(1, min(_BATCHES, -(-share // batch))) * batch

    def _is_over(self) -> bool:
        import ray

        return bool(ray.get(self._ledger.is_stopping.remote()))

    def _single(self, lost: Sequence[Block], number: int) -> list[Block]:
        """The images of lost blocks as blocks of their own."""
        found = []
        for block in lost:
            first = block.first
            for _, samples in positions_of(self._job.plan, block):
                found.append(Block(number=number, first=first, last=first + len(samples), tried=True))
                first, number = first + len(samples), number + 1
        return found

    def _give_up(self, lost: Sequence[Block]) -> None:
        """Note what is not stored of blocks on which every actor died."""
        for block in lost:
            for index, samples in positions_of(self._job.plan, block):
                row = self._job.catalog.rows[index]
                for name in (entry_name(row.key, sample) for sample in samples):
                    if self._store.has(name):
                        self._books.added += 1
                        continue
                    failed = FailedEntry(name, row.name, "worker_died", _DIED)
                    self._folder.note_failure(failed)
                    self._books.failures.append(failed)

    def _seal(self) -> None:
        """Wait until the actors have sealed their shards; those of killed ones are finished by who closes the store.

        An actor ends when nothing here refers to it any more, and Ray Data leaves references in circles.
        """
        import ray

        self._books.seconds = ray.get(self._ledger.seconds.remote())
        there, _ = ray.get(self._ledger.writers.remote())
        deadline = time.monotonic() + _SEALING
        gc.collect()
        while time.monotonic() < deadline:
            if not set(there) & set(self._folder.store_kind.unfinished(self._folder.store_path)):
                return
            time.sleep(0.1)


_DIED = (
    "every process that began this image was killed, for want of memory perhaps; Ray's logs say more "
    "(/tmp/ray/session_latest/logs)"
)


@contextmanager
def _token(folder: RecipeFolder) -> Iterator[str]:
    """A file in the recipe's folder by which actors know that they see the same cache."""
    path, token = folder.path / _token_name(folder), uuid4().hex
    if folder.mirror is not None:  # a URL means one place on every machine
        yield token
        return
    write_atomic(path, token)
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


def _token_name(folder: RecipeFolder) -> str:
    return f".run-{folder.writer}"


def _error(outcome: Outcome) -> Exception:
    """An actor's error as one of this process; one that is not of srcache's own is a bug, and stays one."""
    kind = getattr(errors, outcome.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, SrcacheError)):
        return RuntimeError(outcome.error)
    error: Exception = kind.__new__(kind)
    Exception.__init__(error, outcome.error)
    return error
