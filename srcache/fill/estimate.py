"""What a fill would take, in hours and bytes: from a short probe on this machine, whose results are thrown away."""

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from srcache.cache.failures import FailedEntry, failures_by_reason
from srcache.catalog.parts import Part
from srcache.catalog.rows import Catalog
from srcache.engine.interface import SREngine
from srcache.fill.feeding import FillCounts, FillJob, load_engine, start_service, submit_all
from srcache.fill.plan import plan_only
from srcache.fill.settings import FillSettings, engine_device, for_several, kind_for, require_devices, require_possible
from srcache.fill.shapes import CallCount, count_calls
from srcache.recipe.recipe import Recipe
from srcache.service.runner import EngineRunner
from srcache.stores import Store, open_store, store_kind

PROBE_SECONDS = 5.0
"""How long a probe goes on taking images, whatever their size; what is begun is finished."""

_FIRST = 2
"""Images that are measured first; then twice as many, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillEstimate:
    """What a run would do and take.

    Attributes:
        wanted, stored, skipped: as in `FillReport`; `missing` is what would be computed.
        probed: entries that were computed for the probe.
        seconds_each, bytes_each: by the probe, with what only fills batches up in the complete run; None if nothing had
            to be probed.
        calls: the engine calls of the run, and what of them only fills batches up.
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
    calls: CallCount = field(default_factory=CallCount)

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
    """Plan a fill, and probe it for a few seconds with images from all over the data set; writes nothing.

    Args:
        catalog, recipe, cache, settings: as `fill` takes them.
        devices: as `fill_on_devices` takes them; the first one is probed.

    Raises:
        CacheError, RecipeError, DeviceError: as `fill` and `fill_on_devices`.
    """
    settings = settings or FillSettings()
    if len(devices) > 1:
        require_devices(devices, recipe)
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
    codec = settings.codec or store_kind(kind_for(cache, settings.store)).codec
    mixed = replace(plan, missing=_spread(plan.missing))
    return _probe(FillJob(catalog=catalog, recipe=recipe, plan=mixed, settings=settings, codec=codec), found)


def _spread(missing: "array[int]") -> "array[int]":
    """In an order of which each beginning lies evenly over the whole: the first, the middle one, the quarters, …"""
    bits = max(1, (len(missing) - 1).bit_length())
    turned = (int(f"{place:0{bits}b}"[::-1], 2) for place in range(2**bits))
    return array(missing.typecode, (missing[place] for place in turned if place < len(missing)))


def _probe(job: FillJob, found: FillEstimate) -> FillEstimate:
    """Compute one image to warm up, then more and more of them, measured, until the time is over."""
    started = time.perf_counter()
    engine, missing = load_engine(job.recipe, job.settings), job.plan.missing
    _compute(_part(job, missing[:1]), engine, _memory(), FillCounts(None, 1, None))
    ready = time.perf_counter()
    count, computed, engine_seconds, size = 0, 0, 0.0, 0
    failures: list[FailedEntry] = []
    while count < len(missing) and (count == 0 or time.perf_counter() - ready < PROBE_SECONDS):
        some = missing[count : 2 * count + _FIRST]
        store, counts = _memory(), FillCounts(None, len(some), None)
        calls = _compute(_part(job, some), engine, store, counts)
        count, computed, engine_seconds = count + len(some), computed + calls.computed, engine_seconds + calls.seconds
        size += sum(len(store.get(name) or b"") for name in store.names())
        failures += counts.failures
    seconds = time.perf_counter() - ready
    pads = engine.info.pads_on(engine_device(engine.info, job.settings.device))
    planned = count_calls(job.catalog, job.recipe, job.plan, engine, job.settings.batch, pads=pads)
    filled = planned.computed / planned.images if planned.images else 1.0
    return replace(
        found,
        probed=count,
        calls=planned,
        seconds_each=_seconds_each(engine_seconds / max(1, computed), filled, (seconds - engine_seconds) / count),
        bytes_each=size / count,
        startup_seconds=ready - started,
        failed=failures_by_reason(failures),
    )


def _part(job: FillJob, missing: "array[int]") -> FillJob:
    return replace(job, plan=replace(job.plan, missing=missing))


def _seconds_each(engine: float, filled: float, rest: float) -> float:
    """Seconds per image in a complete run.

    Args:
        engine: the probe's seconds for each image that the engine was given, those that only filled a batch up too,
            for a probe of a few images has more such than a run.
        filled: images that the engine gets in the run for each one that is asked for.
        rest: all other seconds for an image.
    """
    return engine * filled + rest


def _compute(job: FillJob, engine: SREngine, store: Store, counts: FillCounts) -> EngineRunner:
    with start_service(engine, job.recipe, store, job.settings, job.codec) as service:
        submit_all(job, service, counts)
    return service.calls


def _memory() -> Store:
    return open_store("memory", Path("probe"), writable=True)
