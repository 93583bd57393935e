"""What a fill would take, in hours and bytes: from a short probe on this machine, whose results are thrown away."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from srcache.cache.failures import failures_by_reason
from srcache.catalog.parts import Part
from srcache.catalog.rows import Catalog
from srcache.engine.interface import SREngine
from srcache.fill.feeding import FillCounts, FillJob, load_engine, start_service, submit_all
from srcache.fill.plan import plan_only
from srcache.fill.settings import FillSettings, for_several, kind_for, require_devices, require_possible
from srcache.recipe.recipe import Recipe
from srcache.service.runner import EngineRunner
from srcache.stores import Store, open_store, store_kind

PROBED = 16
"""Images that a probe computes at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillEstimate:
    """What a run would do and take.

    Attributes:
        wanted, stored, skipped: as in `FillReport`; `missing` is what would be computed.
        probed: entries that were computed for the probe.
        seconds_each, bytes_each: the probe's means, if batches are full; None if nothing had to be probed.
        startup_seconds: loading the engine.
        failed: the probe's failures, counted by reason.
        part: which part of the images all this is about; None for all.
        devices: how many of them would work at once, each as fast as the one of the probe.
    """

    wanted: int
    stored: int
    skipped: int
    missing: int
    probed: int = 0
    seconds_each: float | None = None
    bytes_each: float | None = None
    startup_seconds: float = 0.0
    failed: dict[str, int] = field(default_factory=dict)
    part: Part | None = None
    devices: int = 1

    @property
    def hours(self) -> float | None:
        """Hours that the run would take."""
        if self.seconds_each is None:
            return None
        return (self.startup_seconds + self.missing * self.seconds_each / self.devices) / 3600

    @property
    def bytes(self) -> int | None:
        """Bytes that the run would add to the disk."""
        return None if self.bytes_each is None else round(self.missing * self.bytes_each)


def estimate(
    catalog: Catalog,
    recipe: Recipe,
    cache: str | Path,
    settings: FillSettings | None = None,
    devices: Sequence[str] = (),
) -> FillEstimate:
    """Plan a fill, and probe it with images from all over the data set; writes nothing.

    Args:
        catalog, recipe, cache, settings: as `fill` takes them.
        devices: as `fill_on_devices` takes them; the first one is probed.

    Raises:
        CacheError, RecipeError, DeviceError: as `fill` and `fill_on_devices`.
    """
    settings = settings or FillSettings()
    if len(devices) > 1:
        require_devices(devices)
    if settings.part is not None or len(devices) > 1:
        settings = for_several(cache, settings)
    if settings.part is not None:
        catalog = settings.part.of(catalog)
    require_possible(recipe, settings)
    plan = plan_only(catalog, recipe, cache, samples=settings.samples, retry_failed=settings.retry_failed)
    found = FillEstimate(
        wanted=plan.wanted,
        stored=plan.stored,
        skipped=plan.skipped,
        missing=len(plan.missing),
        part=settings.part,
        devices=max(1, len(devices)),
    )
    if not plan.missing:
        return found
    stride = max(1, len(plan.missing) // PROBED)
    some = replace(plan, missing=plan.missing[::stride][:PROBED])
    codec = settings.codec or store_kind(kind_for(cache, settings.store)).codec
    return _probe(FillJob(catalog=catalog, recipe=recipe, plan=some, settings=settings, codec=codec), found)


def _probe(job: FillJob, found: FillEstimate) -> FillEstimate:
    """Compute one image to warm up, then all of them, measured."""
    started = time.perf_counter()
    engine, count = load_engine(job.recipe, job.settings), len(job.plan.missing)
    first = replace(job, plan=replace(job.plan, missing=job.plan.missing[:1]))
    _compute(first, engine, _memory(), FillCounts(None, 1, None))
    ready = time.perf_counter()
    store, counts = _memory(), FillCounts(None, count, None)
    calls = _compute(job, engine, store, counts)
    seconds = time.perf_counter() - ready
    sizes = [len(store.get(name) or b"") for name in store.names()]
    return replace(
        found,
        probed=count,
        seconds_each=_seconds_each(calls.seconds, calls.computed, seconds, count),
        bytes_each=sum(sizes) / count,
        startup_seconds=ready - started,
        failed=failures_by_reason(counts.failures),
    )


def _seconds_each(engine_seconds: float, computed: int, seconds: float, count: int) -> float:
    """Seconds per image in a run with full batches, by a probe of `count` images that took `seconds`.

    The engine's time is shared out over all images that it was given, those that only filled a batch up too, because
    a complete run rarely has such; the rest of the time over those that were asked for.
    """
    return engine_seconds / max(1, computed) + (seconds - engine_seconds) / count


def _compute(job: FillJob, engine: SREngine, store: Store, counts: FillCounts) -> EngineRunner:
    with start_service(engine, job.recipe, store, job.settings, job.codec) as service:
        submit_all(job, service, counts)
    return service.calls


def _memory() -> Store:
    return open_store("memory", Path("probe"), writable=True)
