"""SR images that a training loop asks for and the cache lacks, made on the way and written back.

Either each process has an engine of its own, opened when it first misses an image; what a batch lacks is made together,
in engine batches of the size that `fill` takes, so that the cache gets what `fill` would have put there. Or a service
makes them (`remote_misses`). What `on_miss=` says is settled here.
"""

import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.cache.manifest import Cache, RecipeFolder, find_folder, lasting
from srcache.dataset.missing import Filler, Made, Missing
from srcache.dataset.remote_misses import RemoteFiller
from srcache.dataset.remote_recipes import remote_folder
from srcache.engine.interface import SREngine
from srcache.engine.registry import find_engine, open_engine
from srcache.errors import ConfigError, DeviceError, RecipeError
from srcache.files.locks import ForkLock
from srcache.keys import split_name
from srcache.machine import device_name, resolve_device
from srcache.recipe.reading import require_engine
from srcache.recipe.recipe import Recipe
from srcache.service.remote import FALLBACKS, RemoteService, is_url
from srcache.service.remote_client import RemoteClient

if TYPE_CHECKING:
    from srcache.service.service import SRService

_PATIENCE = 60.0
"""Seconds that a short batch waits to be filled up; `drain` ends the wait at once."""


class MissFiller:
    """Makes the SR images that a recipe's folder lacks, and stores them there.

    Picklable if its engine is; forked and spawned copies open an engine of their own. From the first image that it
    stores until its process ends, `repair` and `prune` are refused; a build is not (see `stores.lmdb_writers`).

    Args:
        folder: where the recipe stands, and the results go.
        engine: one that is open already; None opens the recipe's own.

    Raises:
        EngineError: the recipe's engine is not installed.
        RecipeError: `engine` is not the recipe's, or computes something else than the recipe says.
    """

    counted = "computed"

    def __init__(self, folder: RecipeFolder, engine: SREngine | None = None) -> None:
        recipe = folder.recipe
        if not folder.store_kind.misses:
            raise ConfigError(
                f"on_miss writes the images that it makes into the cache, but one of {folder.kind} takes none from a "
                "training; run `srcache build` first, or make the cache with --store lmdb"
            )
        info = find_engine(recipe.engine).info if engine is None else engine.info
        if info.name != recipe.engine:
            raise RecipeError(f"recipe {recipe.folder} is made by engine {recipe.engine}, but on_miss is {info.name}")
        require_engine(recipe, info)
        self._folder, self._engine = folder, engine
        self._service: tuple[int, SRService] | None = None
        self._one_at_a_time = ForkLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_engine": self._engine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _service=None, _one_at_a_time=ForkLock())

    def make(self, wanted: Iterable[Missing]) -> Made:
        """See `Filler.make`.

        Raises:
            MachineError: the disk is full, or the device is lost.
        """
        with self._one_at_a_time:
            return self._make(wanted)

    def _make(self, wanted: Iterable[Missing]) -> Made:
        from srcache.service.requests import make_request

        service, asked = self._running(), []
        for missing in wanted:
            key, sample = split_name(missing.name)
            request = make_request(key, missing.decoded(), self._folder.recipe, sample)
            asked.append((missing.title, service.submit(request)))
        service.drain()
        outcomes = [(title, future.result()) for title, future in asked]
        failed = [f"{title} ({done.failure.reason}: {done.failure.detail})" for title, done in outcomes if done.failure]
        return Made(added=sum(done.added for _, done in outcomes), failed=failed)

    def _running(self) -> "SRService":
        """This process's service, which lives as long as this object does."""
        if self._service is None or self._service[0] != os.getpid():
            from srcache.service.device_memory import cuda_gauge
            from srcache.service.service import ServiceSettings, SRService

            recipe, device = self._folder.recipe, _device(self._folder.recipe)
            engine = open_engine(recipe.engine, recipe.setup(device)) if self._engine is None else self._engine
            settings = ServiceSettings(linger=_PATIENCE, device=device_name(device), gauge=cuda_gauge(device))
            service = SRService(engine, recipe, self._folder.store(writable=True), settings)
            weakref.finalize(self, _close, os.getpid(), service)
            self._service = os.getpid(), service
        return self._service[1]


def settled(on_miss: Any) -> Any:
    """What `on_miss=` says, the address of a service as a RemoteService.

    Raises:
        ConfigError: it is no address of one.
    """
    return RemoteService(on_miss) if is_url(on_miss) else on_miss


def fallback_of(on_miss: Any) -> Any:
    """What is served for an image that is not there and was not made: "lr", "hr", or anything else for an error."""
    return on_miss.fallback if isinstance(on_miss, RemoteService) else on_miss


def miss_folder(on_miss: Any, cache: str | Path | Cache, recipe: str | Recipe | None) -> RecipeFolder:
    """A recipe's folder in a cache; with a RemoteService, also of a recipe that only the service has yet.

    The process may change its folder later.

    Raises:
        CacheError: no such cache or recipe, or several and none was named.
    """
    if not isinstance(on_miss, RemoteService):
        return find_folder(cache, recipe)
    cache, client = lasting(cache), RemoteClient(on_miss)
    try:
        return remote_folder(cache, recipe, client)
    finally:
        client.close()


def open_miss_filler(on_miss: Any, folder: RecipeFolder) -> Filler | None:
    """What makes missing images: for a RemoteService, "engine" or an open engine; None for a fallback.

    Raises:
        ConfigError: it is none of these, or the engine does not fit the recipe.
    """
    if isinstance(on_miss, RemoteService):
        return RemoteFiller(folder, on_miss)
    if isinstance(on_miss, str) and on_miss in FALLBACKS:
        return None
    if isinstance(on_miss, str) and on_miss == "engine":
        return MissFiller(folder)
    if not (hasattr(on_miss, "info") and hasattr(on_miss, "upscale")):
        raise ConfigError(
            f"on_miss must be one of {', '.join(FALLBACKS)}, engine, an engine, the http:// or https:// address of an "
            f"SR service, or a RemoteService, but is {on_miss!r}"
        )
    return MissFiller(folder, on_miss)


def _device(recipe: Recipe) -> str:
    """Where to compute. A worker forked from a process that uses CUDA cannot; without weights there is no need to.

    Raises:
        DeviceError: an engine with weights would run on the processor, for hours and unnoticed.
    """
    import torch

    if not torch.cuda._is_in_bad_fork():
        return resolve_device("auto", find_engine(recipe.engine).info.devices)
    if recipe.weights is None:
        return "cpu"
    raise DeviceError(
        f"this loader's workers were forked from a process that uses CUDA, so engine {recipe.engine} cannot use the "
        'GPU in them; give the DataLoader multiprocessing_context="spawn", or run `srcache build` first'
    )


def _close(owner: int, service: "SRService") -> None:
    if os.getpid() == owner:
        service.close(cancel=True)
