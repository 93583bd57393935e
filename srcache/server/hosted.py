"""A recipe that is served: its folder and store, the failures that are known, and, once loaded, its engine."""

import platform
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import Any

from srcache.cache.failures import FailedEntry, failures_by_reason
from srcache.cache.manifest import Cache, RecipeFolder
from srcache.engine.interface import EngineInfo
from srcache.engine.registry import find_engine
from srcache.fill.feeding import FillCounts, load_engine, service_settings
from srcache.fill.settings import FillSettings, engine_device, require_possible
from srcache.keys import ImageKey, entry_name, split_name
from srcache.machine import device_name, versions
from srcache.recipe.recipe import Recipe
from srcache.server.answers import Stored
from srcache.server.settings import ServerSettings
from srcache.service.protocol import MEDIA_TYPES
from srcache.service.requests import Request
from srcache.service.service import Served, ServiceSettings, SRService
from srcache.stores import Store, source_of

SOURCE = "(sent to srcache serve)"
"""What journals say of an image that a client sent, in place of its file's name."""


class HostedRecipe:
    """One recipe of a running server. Look-ups work at once; images are made when `start` has returned.

    Args:
        folder: where the recipe stands, as a writer's; its lock is held.
        store: its entries, open for adding.
        settings: the server's.

    Attributes:
        recipe, fingerprint, name, info: the recipe, its fingerprint, its folder's name, and its engine's description.
        media_type: of what is stored from now on.
        counts: what became of requests to the engine.
        hits: answers from the store; `most_sample` is the highest sample that was made.
    """

    def __init__(self, folder: RecipeFolder, store: Store, settings: ServerSettings) -> None:
        self.folder, self.store = folder, store
        self.recipe: Recipe = folder.recipe
        self.fingerprint, self.name = self.recipe.fingerprint, self.recipe.folder
        self.info: EngineInfo = find_engine(self.recipe.engine).info
        self.counts = FillCounts(folder, 0, None)
        self.hits = self.most_sample = 0
        self._settings, self._mode, self._began = settings, "eager", time.perf_counter()
        self._service: SRService | None = None
        self._failed = {} if settings.retry_failed else {name: one.reason for name, one in folder.failures().items()}
        self._lock = threading.Lock()
        self.media_type = MEDIA_TYPES[_suffix(self.recipe.codec or folder.store_kind.codec)]

    @property
    def is_ready(self) -> bool:
        """Whether the engine is loaded."""
        return self._service is not None

    @property
    def service(self) -> SRService:
        """The engine's service; `is_ready` must be true."""
        assert self._service is not None
        return self._service

    @property
    def batch(self) -> int:
        """Images per engine call, at most."""
        return self._settings.batch or self.info.batch

    def start(self) -> None:
        """Load the engine, which may take minutes, and start its service.

        Raises:
            SrcacheError: the engine cannot be loaded here.
        """
        how = fill_settings(self._settings)
        engine = load_engine(self.recipe, how)
        device = engine_device(self.info, self._settings.device)
        plain = service_settings(how, device, device_name(device))
        running = ServiceSettings(
            batch=plain.batch,
            codec=self.folder.store_kind.codec,
            encoders=plain.encoders,
            linger=self._settings.deadline,
            device=plain.device,
            gauge=plain.gauge,
        )
        self._mode = str(getattr(engine, "mode", "compiled" if how.compiled else "eager"))
        self._service = SRService(engine, self.recipe, self.store, running)

    def find(self, key: ImageKey, sample: int) -> Stored | None:
        """The stored image of a key; of pixels in memory also that of the file they are of.

        Raises:
            DamagedError: its bytes are not what was written.
        """
        name = entry_name(key, sample)
        if (found := self.read(name)) is not None:
            return found
        file = source_of(self.store, key)
        return None if file is None else self.read(entry_name(file, sample))

    def read(self, name: str) -> Stored | None:
        """The entry of a name.

        Raises:
            DamagedError: its bytes are not what was written.
        """
        payload = self.store.get(name)
        return None if payload is None else Stored(name, payload, self.store.record(name) or {})

    def has(self, key: ImageKey, sample: int) -> bool:
        """Whether `find` would find something."""
        if self.store.has(entry_name(key, sample)):
            return True
        file = source_of(self.store, key)
        return file is not None and self.store.has(entry_name(file, sample))

    def failure(self, name: str) -> str | None:
        """The reason for which an entry could not be made, in this run or an earlier one; None if it was not tried."""
        return self._failed.get(name)

    def submit(self, request: Request, source: str) -> "Future[Served]":
        """Ask the engine for an image; blocks while much is waiting. What comes of it is counted and noted.

        Raises:
            MachineError: the service has ended, for the reason given.
        """
        self.most_sample = max(self.most_sample, split_name(request.name)[1])
        future = self.service.submit(request)
        future.add_done_callback(lambda done: self._settle(source, done))
        return future

    def note(self, name: str, source: str, reason: str, detail: str) -> None:
        """Note that an entry cannot be made, in the folder's journal and for the rest of this run."""
        self.counts.fail(FailedEntry(name, source, reason, detail))
        self._failed[name] = reason

    def end(self, *, cancel: bool) -> None:
        """Finish what was asked for, or drop it; then leave a receipt, if anything was asked of the engine."""
        if self._service is None:
            return
        self._service.close(cancel=cancel)
        if self._service.calls.computed or self.counts.failures:
            self.folder.write_receipt(self._receipt(cancel))

    def _settle(self, source: str, future: "Future[Served]") -> None:
        self.counts.settle(source, future)
        if future.exception() is None and (failure := future.result().failure) is not None and failure.tried:
            self._failed[future.result().name] = failure.reason

    def _receipt(self, interrupted: bool) -> dict[str, Any]:
        calls = self.service.calls
        return {
            "catalog": "",
            "samples": self.most_sample + 1,
            "served": True,
            "hits": self.hits,
            "added": self.counts.added,
            "meanwhile": self.counts.meanwhile,
            "failed": failures_by_reason(self.counts.failures),
            "seconds": round(time.perf_counter() - self._began, 3),
            "engine_seconds": round(calls.seconds, 3),
            "padding": round(calls.padded / max(1, calls.computed), 4),
            "interrupted": interrupted,
            "engine": self.recipe.engine,
            "mode": self._mode,
            "batch": self.batch,
            "device": self.service.settings.device,
            "machine": platform.machine(),
            "versions": versions(),
            "writer": self.folder.writer,
        }


def fill_settings(settings: ServerSettings) -> FillSettings:
    """The settings of a fill that does what the server does."""
    return FillSettings(
        batch=settings.batch, device=settings.device, workers=settings.workers, compiled=settings.compiled
    )


@contextmanager
def hosted(cache: Cache, recipe: Recipe, settings: ServerSettings) -> Iterator[HostedRecipe]:
    """A recipe of a cache, locked and open for serving; its engine is not loaded yet.

    Raises:
        BusyError: another process fills the recipe's folder, and only one may.
        RecipeError, EngineError: the recipe does not fit the engine that is installed.
    """
    require_possible(recipe, fill_settings(settings))
    folder = cache.add(recipe).as_writer()
    with folder.lock(), closing(folder.store(writable=True)) as store:
        yield HostedRecipe(folder, store, settings)


def _suffix(codec: str) -> str:
    kind = codec.partition(":")[0]
    return ".jpg" if kind == "jpeg" else f".{kind}"
