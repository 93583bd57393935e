"""How a fill runs, what it reports, and what is refused before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import default_kind, is_cache, open_cache
from srcache.catalog.parts import Part
from srcache.engine.interface import EngineInfo
from srcache.engine.registry import find_engine
from srcache.errors import CacheError, ConfigError, DeviceError, EngineError, RecipeError
from srcache.images import LOSSLESS, parse_codec
from srcache.machine import resolve_device
from srcache.recipe.reading import require_engine
from srcache.recipe.recipe import Recipe
from srcache.stores import KINDS, store_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """Where and how wide a fill runs on Ray.

    Attributes:
        address: a cluster's, `HOST:PORT` or `auto`; None: what RAY_ADDRESS says, or one that is started here (`local`).
        least, most: actors at least and at most; None: as many as the cluster has GPUs, or processors for a CPU.
    """

    address: str | None = None
    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillSettings:
    """How to fill; nothing here changes what an image is.

    Attributes:
        samples: SR images per source image; more than one only from an engine that draws noise.
        retry_failed: try again what failed in earlier runs.
        store: the kind of store of a new cache; None means the default, or what the cache has.
        shard_bytes: where the store consists of shards, the size in bytes at which another one is begun; None: 512 MiB.
        codec: the lossless codec of what this run writes (a cache may hold several); None: the store's own.
        take_over: there too, the id of a writer that is gone, whose unfinished shard this run shall continue.
        spool: where the cache lies below a URL, a folder of this machine for what is not uploaded yet; None: the user's
            own.
        batch: images per engine call, whatever their shape; None takes the engine's advice for each shape, or less
            where a GPU's memory asks for it.
        device: `cpu`, `cuda`, `cuda:1`, …, any other that the engine runs on, or `auto`.
        workers: threads that decode, and as many that encode.
        part: fill only this part of the images, for others fill the rest; None for all.
        compiled: ask the engine for `torch.compile`, which pays only in long runs.
        ray: run on Ray, in a cache that several processes may fill; None: in this process.
    """

    samples: int = 1
    retry_failed: bool = False
    store: str | None = None
    shard_bytes: int | None = None
    codec: str | None = None
    take_over: str | None = None
    spool: Path | None = None
    batch: int | None = None
    device: str = "auto"
    workers: int = 2
    compiled: bool = False
    part: Part | None = None
    ray: RaySettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillReport:
    """What a run did.

    Attributes:
        wanted: different entries asked for; `stored` of them were there before, `added` were made now, and `meanwhile`
            were made by other processes while this one ran.
        failed: this run's failures, counted by reason; `failures` lists them, by source and entry.
        skipped: entries that failed in earlier runs and were not tried again.
        seconds, engine_seconds: from when the engine was loaded to the last commit, and of them inside the engine.
        padding: share of the engine's work that only filled batches up.
        device, mode: what the engine ran on, and how: eager, compiled, or in its own words.
        interrupted: whether the run was stopped before its end.
        part: which part of the images all this is about; None for all.
        writers: ids of the processes that did it, where several did; `killed` more were killed, and started anew.
        notes: of the images that this run decoded, how many took what to become RGB; see `srcache.images.NOTES`.
        waiting: entries that are on this machine only, though the cache lies below a URL: none unless other processes
            of this machine fill it too.
    """

    folder: Path | str
    recipe: str
    wanted: int
    stored: int
    added: int = 0
    meanwhile: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    failures: tuple[FailedEntry, ...] = ()
    skipped: int = 0
    seconds: float = 0.0
    engine_seconds: float = 0.0
    padding: float = 0.0
    device: str | None = None
    mode: str | None = None
    interrupted: bool = False
    part: Part | None = None
    writers: tuple[str, ...] = ()
    killed: int = 0
    waiting: int = 0
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Entries that are still not there."""
        return self.wanted - self.stored - self.added - self.meanwhile


class FillInterrupted(KeyboardInterrupt):
    """A run was stopped by Ctrl-C; the batch in hand was finished, and `report` says how far it got."""

    def __init__(self, report: FillReport) -> None:
        super().__init__("interrupted")
        self.report = report


def require_possible(recipe: Recipe, settings: FillSettings) -> None:
    """Refuse what is not possible: an engine that computes something else, or samples that would all be the same.

    Raises:
        RecipeError: with what to do instead.
        ConfigError: no such codec, or a lossy one.
        EngineError: the engine makes no use of `torch.compile`.
    """
    info = find_engine(recipe.engine).info
    require_engine(recipe, info)
    if not 1 <= settings.samples <= 1000:
        raise RecipeError(f"samples must be from 1 to 1000, but is {settings.samples}")
    if settings.samples > 1 and not info.stochastic:
        raise RecipeError(f"engine {info.name} draws no noise: {settings.samples} samples would all be the same; use 1")
    if settings.compiled and not info.compiles:
        raise EngineError(f"engine {info.name} makes no use of torch.compile; leave --compile (compiled=True) out")
    if settings.codec is not None:
        _require_lossless(recipe, settings.codec)


def kind_for(cache: str | Path, store: str | None) -> str:
    """The kind of store that a fill would write to: the cache's, or that of the cache which it would make."""
    return open_cache(cache).kind if is_cache(cache) else store or default_kind(cache)


def for_several(
    cache: str | Path, settings: FillSettings, what: str = "parts of the images (--shard, --devices)"
) -> FillSettings:
    """The settings of a process that fills a cache together with others: a new cache gets a store that allows it.

    Args:
        what: what the others and this one make, for a message.

    Raises:
        CacheError: the cache, or the store that was asked for, is filled by one process at a time.
    """
    shared = next(kind for kind in KINDS if store_kind(kind).shared)
    kind = kind_for(cache, settings.store or shared)
    if not store_kind(kind).shared:
        copied = f", such as the copy that `srcache export {cache} NEW --format {shared}` makes"
        raise CacheError(
            f"{what} are made by processes side by side, but {kind}, the store of {cache}, is filled by one at a time; "
            f"use a cache with --store {shared}{copied if is_cache(cache) else ''}"
        )
    return replace(settings, store=settings.store or kind)


def engine_device(info: EngineInfo, device: str) -> str:
    """The device that an engine runs on, where one was asked for, or `auto`.

    Raises:
        DeviceError: it is not here, or of a kind that the engine does not run on.
    """
    return resolve_device(device, info.devices, f"engine {info.name}")


def require_devices(devices: Sequence[str], recipe: Recipe | None = None) -> None:
    """Refuse devices on which no process can work.

    Raises:
        DeviceError: one is not here, or is not named, or the recipe's engine does not run there.
    """
    if not devices:
        raise DeviceError("expected at least one device, such as cuda:0, but got none")
    if "auto" in devices:
        raise DeviceError(
            f"expected names of devices, such as cuda:0,cuda:1, but got {','.join(devices)}; name each one"
        )
    for device in devices:
        if recipe is None:
            resolve_device(device)
        else:
            engine_device(find_engine(recipe.engine).info, device)


def _require_lossless(recipe: Recipe, codec: str) -> None:
    if parse_codec(codec)[0] not in LOSSLESS:
        raise ConfigError(
            f"--codec takes a lossless codec ({', '.join(LOSSLESS)}, png:1–9), but got {codec!r}; a lossy one changes "
            f"pixels and so is a field of the recipe: --set codec={codec}"
        )
    if recipe.codec is not None:
        raise RecipeError(
            f"recipe {recipe.folder} stores its images as {recipe.codec}, so a lossless codec ({codec}) cannot be "
            "chosen; leave --codec out, or choose a recipe without a codec"
        )
