"""Fill a cache: plan (wanted − stored), decode and degrade, upscale, encode, commit, and write a receipt.

Twice is the same as once, and a crash costs at most the batch that was not committed: what is stored is never computed
again. Threads decode and degrade a few images ahead, `SRService` does the rest, and nothing grows with the size of the
data set but the catalog itself. Where the store allows several writers, several processes may fill one recipe at once:
each goes through what is missing in an order of its own, and leaves out what others have stored by then.

The main thread only waits, so that Ctrl-C interrupts it there, and never a thread that holds a lock.
"""

import platform
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from srcache.cache.failures import failures_by_reason, in_order
from srcache.cache.manifest import Cache, RecipeFolder, create_cache, is_cache, open_cache
from srcache.catalog.rows import Catalog
from srcache.catalog.sources import require_profiles
from srcache.engine.registry import find_engine
from srcache.errors import CacheError
from srcache.fill.feeding import FillCounts, FillJob, load_engine, start_service, submit_all
from srcache.fill.plan import make_plan, scattered
from srcache.fill.ray_run import fill_on_ray, settings_on_ray
from srcache.fill.settings import (
    FillInterrupted,
    FillReport,
    FillSettings,
    engine_device,
    for_several,
    require_possible,
)
from srcache.machine import NETWORK, file_system, versions
from srcache.progress import Progress
from srcache.recipe.recipe import Recipe
from srcache.service.service import SRService
from srcache.stores import Store


def fill(
    catalog: Catalog,
    recipe: Recipe,
    cache: str | Path,
    settings: FillSettings | None = None,
    progress: Progress | None = None,
) -> FillReport:
    """Make every SR image that a cache lacks.

    Args:
        catalog: the source images.
        recipe: how they are made.
        cache: a directory, or a URL such as s3://bucket/cache. There, shards are uploaded as they are completed, and a
            lost machine loses at most each writer's shard in hand; see `srcache.stores.shard_objects`.
        settings: see `FillSettings`.
        progress: called after each image.

    Raises:
        CacheError: the folder is no cache, or a cache of another kind; or there is nothing of a writer to take over.
        RecipeError: the recipe does not fit the engine, or asks for samples that would all be the same.
        DeviceError: there is no such device here.
        BusyError: another process fills this recipe's folder, and only one may; or it is repaired.
        DiskFullError: no room; what was committed is safe, and the next run goes on.
        MachineError: the cache lies below a URL whose service does not answer; what was committed is safe in the spool.
        FillInterrupted: Ctrl-C; the batch in hand was finished.
    """
    settings = settings or FillSettings()
    require_profiles(catalog.source, recipe.colors)
    opened, folder = open_folder(recipe, cache, settings)
    rows = settings.part.of(catalog) if settings.part else catalog
    return fill_share(folder, Share(rows, catalog.digest, lambda: keep(opened, catalog)), settings, progress)


class Share(NamedTuple):
    """What one process fills: the images, the digest of their whole catalog, and how that is kept, if it is not yet."""

    images: Catalog
    digest: str
    keep: Callable[[], None] | None = None


def open_folder(recipe: Recipe, cache: str | Path, settings: FillSettings) -> tuple[Cache, RecipeFolder]:
    """Refuse what cannot be, and open the cache and the recipe's folder in it, made if they are not there.

    Raises:
        CacheError, RecipeError: as `fill`.
    """
    if settings.part is not None:
        settings = for_several(cache, settings)
    require_possible(recipe, settings)
    if settings.ray is not None:
        settings = settings_on_ray(cache, settings)
    if settings.take_over is not None:
        _require_shared(open_cache(cache, spool=settings.spool).find(recipe))
    if settings.ray is None and settings.device != "auto" and _is_new(recipe, cache, settings):
        engine_device(find_engine(recipe.engine).info, settings.device)  # none here shall leave no empty cache behind
    opened = create_cache(cache, settings.store, spool=settings.spool)
    return opened, opened.add(recipe)


def _is_new(recipe: Recipe, cache: str | Path, settings: FillSettings) -> bool:
    if not is_cache(cache):
        return True
    return all(path.name != recipe.folder for path in open_cache(cache, spool=settings.spool).paths())


def keep(cache: Cache, catalog: Catalog) -> None:
    """Keep a whole catalog in a cache, so that it says later what was wanted."""
    cache.keep_catalog(catalog.digest, catalog.to_csv())


def fill_share(
    folder: RecipeFolder, share: Share, settings: FillSettings, progress: Progress | None = None
) -> FillReport:
    """Fill one process' share of a folder that `open_folder` opened; see `fill`."""
    folder = folder.as_writer()
    with folder.lock() as alone, closing(_opened(folder, settings)) as store:
        plan = make_plan(share.images, folder, store, samples=settings.samples, retry_failed=settings.retry_failed)
        if folder.writer and not (alone and _seems_alone(folder)):
            plan = scattered(plan, folder.writer)
        if share.keep is not None:
            share.keep()
        codec = settings.codec or folder.store_kind.codec
        job = FillJob(catalog=share.images, recipe=folder.recipe, plan=plan, settings=settings, codec=codec)
        report = _report(job, folder)
        if plan.missing:
            act = _run if settings.ray is None else fill_on_ray
            report = act(job, folder, store, report, progress)
        store.close()  # a receipt comes after what it speaks of, also where that has to be uploaded
        report = replace(report, waiting=folder.store_kind.waiting(folder.store_path))
        wanted = {"catalog": share.digest, "samples": settings.samples, "part": settings.part and str(settings.part)}
        if plan.missing or not _has_receipt(folder, wanted):
            several = {"writers": list(report.writers), "killed": report.killed} if report.writers else {}
            folder.write_receipt({**wanted, **_receipt(report, job), "writer": folder.writer, **several})
    if report.interrupted:
        raise FillInterrupted(report)
    return report


def _opened(folder: RecipeFolder, settings: FillSettings) -> Store:
    return folder.store(writable=True, shard_bytes=settings.shard_bytes, take_over=settings.take_over)


def _require_shared(folder: RecipeFolder) -> None:
    """Refuse to take over where there is never anything to take over.

    Raises:
        CacheError: one process at a time fills the folder.
    """
    if not folder.store_kind.shared:
        raise CacheError(
            f"{folder.place} keeps its images in {folder.kind}, in which a writer leaves nothing unfinished; "
            "leave take_over (--take-over) out"
        )


def _seems_alone(folder: RecipeFolder) -> bool:
    """Whether nobody on another machine seems to write, as far as a lock cannot tell."""
    if folder.mirror is not None:
        return False
    return file_system(folder.path) not in NETWORK or not any(folder.store_kind.unfinished(folder.store_path))


def _run(job: FillJob, folder: RecipeFolder, store: Store, report: FillReport, progress: Progress | None) -> FillReport:
    counts = FillCounts(folder, len(job.plan.missing), progress)
    try:
        engine = load_engine(job.recipe, job.settings)
        service = start_service(engine, job.recipe, store, job.settings, job.codec)
    except KeyboardInterrupt:
        return replace(report, interrupted=True)
    started = time.perf_counter()
    interrupted = _run_service(job, service, counts)
    return replace(
        report,
        added=counts.added,
        meanwhile=counts.meanwhile,
        failed=failures_by_reason(counts.failures),
        failures=in_order(counts.failures),
        notes=dict(counts.notes),
        seconds=time.perf_counter() - started,
        engine_seconds=service.calls.seconds,
        padding=service.calls.padded / max(1, service.calls.computed),
        device=service.settings.device,
        mode=getattr(engine, "mode", "compiled" if job.settings.compiled else "eager"),
        interrupted=interrupted,
    )


def _run_service(job: FillJob, service: SRService, counts: FillCounts) -> bool:
    """Submit everything in a thread, wait for it, and close the service; returns whether Ctrl-C was pressed.

    Then, and on an error, the batch in hand is finished and stored. A second Ctrl-C does not wait for that.
    """
    done: Future[None] = Future()

    def act() -> None:
        try:
            submit_all(job, service, counts)
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
    counts.check()
    return interrupted


def _report(job: FillJob, folder: RecipeFolder) -> FillReport:
    """The report of a run that has done nothing yet."""
    plan = job.plan
    return FillReport(
        folder=folder.path if folder.mirror is None else folder.place,
        recipe=job.recipe.folder,
        wanted=plan.wanted,
        stored=plan.stored,
        skipped=plan.skipped,
        part=job.settings.part,
    )


def _has_receipt(folder: RecipeFolder, wanted: Mapping[str, Any]) -> bool:
    return any(all(receipt.get(name) == value for name, value in wanted.items()) for receipt in folder.receipts())


def _receipt(report: FillReport, job: FillJob) -> dict[str, Any]:
    return {
        "wanted": report.wanted,
        "stored_before": report.stored,
        "added": report.added,
        "meanwhile": report.meanwhile,
        "failed": report.failed,
        "skipped": report.skipped,
        "uncatalogued": len(job.catalog.problems),
        "seconds": round(report.seconds, 3),
        "engine_seconds": round(report.engine_seconds, 3),
        "padding": round(report.padding, 4),
        "interrupted": report.interrupted,
        **({"waiting": report.waiting} if report.waiting else {}),
        **({"notes": dict(sorted(report.notes.items()))} if report.notes else {}),
        "engine": job.recipe.engine,
        "mode": report.mode,
        "batch": job.settings.batch or find_engine(job.recipe.engine).info.batch,
        "device": report.device,
        "machine": platform.machine(),
        "versions": versions(),
    }
