"""SR images that a training loop asks for and the cache lacks, made on the way and written back.

Each process has an engine of its own, opened when it first misses an image. What a batch lacks is made together, in
engine batches of the size that `fill` takes, so that the cache gets what `fill` would have put there.
"""

import os
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from srcache.cache.manifest import RecipeFolder
from srcache.engine.interface import SREngine
from srcache.engine.registry import find_engine, open_engine
from srcache.errors import ConfigError, DeviceError, RecipeError
from srcache.images import Decoded
from srcache.keys import split_name
from srcache.locks import ForkLock
from srcache.machine import device_name, resolve_device
from srcache.recipe.reading import require_engine
from srcache.recipe.recipe import Recipe

if TYPE_CHECKING:
    from srcache.service.service import SRService

FALLBACKS = ("raise", "lr", "hr")
"""What can be done about a missing image without an engine."""

_PATIENCE = 60.0
"""Seconds that a short batch waits to be filled up; `drain` ends the wait at once."""


class MissFiller:
    """Makes the SR images that a recipe's folder lacks, and stores them there.

    Picklable if its engine is; forked and spawned copies open an engine of their own.

    Args:
        folder: where the recipe stands, and the results go.
        engine: one that is open already; None opens the recipe's own.

    Raises:
        EngineError: the recipe's engine is not installed.
        RecipeError: `engine` is not the recipe's, or computes something else than the recipe says.
    """

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

    def make(self, wanted: Iterable[tuple[str, str, Decoded]]) -> tuple[int, list[str]]:
        """Make and store entries.

        Args:
            wanted: of each its entry's name, what to call it in a message, and its source image; read one by one.

        Returns:
            How many were made and stored here (another process may have stored others in the meantime), and which could
            not be made, with the reason.

        Raises:
            MachineError: the disk is full, or the device is lost.
        """
        with self._one_at_a_time:
            return self._make(wanted)

    def _make(self, wanted: Iterable[tuple[str, str, Decoded]]) -> tuple[int, list[str]]:
        from srcache.service.requests import make_request

        service, asked = self._running(), []
        for name, title, source in wanted:
            key, sample = split_name(name)
            asked.append((title, service.submit(make_request(key, source, self._folder.recipe, sample))))
        service.drain()
        outcomes = [(title, future.result()) for title, future in asked]
        failed = [f"{title} ({done.failure.reason}: {done.failure.detail})" for title, done in outcomes if done.failure]
        return sum(done.added for _, done in outcomes), failed

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


def open_miss_filler(on_miss: Any, folder: RecipeFolder) -> MissFiller | None:
    """What `on_miss=` stands for: a MissFiller for "engine" or an open engine; None for a fallback.

    Raises:
        ConfigError: it is none of these, or the engine does not fit the recipe.
    """
    if isinstance(on_miss, str) and on_miss in FALLBACKS:
        return None
    if isinstance(on_miss, str) and on_miss == "engine":
        return MissFiller(folder)
    if not (hasattr(on_miss, "info") and hasattr(on_miss, "upscale")):
        raise ConfigError(f"on_miss must be one of {', '.join(FALLBACKS)}, engine, or an engine, but is {on_miss!r}")
    return MissFiller(folder, on_miss)


def _device(recipe: Recipe) -> str:
    """Where to compute. A worker forked from a process that uses CUDA cannot; without weights there is no need to.

    Raises:
        DeviceError: an engine with weights would run on the processor, for hours and unnoticed.
    """
    import torch

    if not torch.cuda._is_in_bad_fork():
        return resolve_device("auto")
    if recipe.weights is None:
        return "cpu"
    raise DeviceError(
        f"this loader's workers were forked from a process that uses CUDA, so engine {recipe.engine} cannot use the "
        'GPU in them; give the DataLoader multiprocessing_context="spawn", or run `srcache build` first'
    )


def _close(owner: int, service: "SRService") -> None:
    if os.getpid() == owner:
        service.close(cancel=True)
