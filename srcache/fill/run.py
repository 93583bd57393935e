"""Fill a cache: plan (wanted − stored), decode and degrade, upscale, encode, commit, and write a receipt.

Twice is the same as once, and a crash costs at most the batch that was not committed: what is stored is never computed
again. Threads decode and degrade a few images ahead, `SRService` does the rest, and nothing grows with the size of the
data set but the catalog itself.

The main thread only waits, so that Ctrl-C strikes there, and never a thread that holds a lock.
"""

import platform
import threading
import time
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from srcache.cache.failures import failures_by_reason
from srcache.cache.manifest import RecipeFolder, create_cache
from srcache.catalog.rows import Catalog
from srcache.engine.registry import find_engine
from srcache.fill.feeding import FillCounts, Work, feed, load_engine, start_service
from srcache.fill.plan import make_plan
from srcache.fill.settings import FillInterrupted, FillReport, FillSettings, require
from srcache.machine import versions
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


def _run(work: Work, folder: RecipeFolder, store: Store, progress: Progress | None) -> FillReport:
    tally = FillCounts(folder, len(work.plan.missing), progress)
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


def _fed(work: Work, service: SRService, tally: FillCounts) -> bool:
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
