"""One actor of a fill on Ray: a process of a cluster with an engine, an `SRService`, and a writer of shards.

The cache is opened by its location, as any process on that machine would; so an actor also finds out whether its
machine sees the same cache and the same images. An error of a machine is an outcome like any other: raised, Ray would
wrap it, log it, and start the actor anew.
"""

import platform
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.cache.manifest import RecipeFolder, open_cache
from srcache.catalog.rows import Catalog
from srcache.errors import CacheError, CatalogError, SrcacheError
from srcache.fill.feeding import FillCounts, FillJob, load_engine, start_service, submit_all
from srcache.fill.plan import Plan
from srcache.fill.ray_rows import Outcome, outcome_table, work_of
from srcache.fill.settings import FillSettings, require_possible

if TYPE_CHECKING:
    from pyarrow import Table

_TELL_EVERY = 0.5
"""Seconds between two words to the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJob:
    """What an actor must know.

    Attributes:
        cache: where the cache lies, as every machine calls it.
        recipe: its fingerprint.
        codec: the lossless codec of what is written.
        settings: of the fill.
        token, token_name: a file in the recipe's folder, and what it holds: another folder of that name has none.
        root, url: the folder that the images lie in, or the URL that they are below.
        ledger: the handle of the actor with the `RayLedger`.
    """

    cache: str
    recipe: str
    codec: str
    settings: FillSettings
    token: str
    token_name: str
    root: str | None
    url: str | None = None
    ledger: Any


class RayActor:
    """Fills a cache with blocks of work, one after the other; Ray Data makes it, calls it, and lets go of it.

    It is a writer of its own from its beginning to its end, and then its shard is sealed: when Ray Data lets go of the
    actor, or at the latest when its process ends.
    """

    def __init__(self, job: RayJob) -> None:
        self._job, self._open = job, ExitStack()
        self._stopped = threading.Event()
        self._error: Exception | None = None
        weakref.finalize(self, self._open.close)
        try:
            self._begin()
        except Exception as error:
            self._error = error

    def __call__(self, table: "Table") -> "Table":
        """Do the work in a table; returns what became of it."""
        return outcome_table([self._outcome(*work) for work in work_of(table, self._job.url)])

    def _begin(self) -> None:
        import ray

        job = self._job
        self._folder = _folder(job)
        recipe = self._folder.recipe
        require_possible(recipe, job.settings)
        self._open.enter_context(self._folder.lock())
        self._engine = load_engine(recipe, job.settings)
        settings = job.settings
        store = self._open.enter_context(closing(self._folder.store(writable=True, shard_bytes=settings.shard_bytes)))
        self._open.callback(self._folder.push)
        self._service = start_service(self._engine, recipe, store, settings, job.codec)
        self._open.callback(self._service.close, cancel=True)
        ray.get(job.ledger.enter.remote(ray.get_runtime_context().get_actor_id(), self._folder.writer))

    def _outcome(self, block: int, tried: bool, catalog: Catalog, plan: Plan) -> Outcome:
        import ray

        if self._error is not None:
            return Outcome(block=block, kind=type(self._error).__name__, error=_words(self._error))
        begun = ray.get(self._job.ledger.begin.remote(block))
        if begun is None or self._stopped.is_set():
            return Outcome(block=block)
        counts, calls = FillCounts(self._folder, len(plan.missing), None), self._service.calls
        before = calls.seconds, calls.computed, calls.padded
        settings, recipe = self._job.settings, self._folder.recipe
        job = FillJob(catalog=catalog, recipe=recipe, plan=plan, settings=settings, codec=self._job.codec)
        with self._telling(block, counts):
            error = self._feed(job, counts)
        own = counts.meanwhile if tried or begun else 0
        return Outcome(
            block=block,
            added=counts.added + own,
            found=counts.meanwhile - own,
            failures=tuple(counts.failures),
            seconds=calls.seconds - before[0],
            computed=calls.computed - before[1],
            padded=calls.padded - before[2],
            notes=tuple(counts.notes.elements()),
            device=self._service.settings.device,
            mode=str(getattr(self._engine, "mode", "compiled" if settings.compiled else "eager")),
            error=_words(error) if error else "",
            kind=type(error).__name__ if error else "",
        )

    @contextmanager
    def _telling(self, block: int, counts: FillCounts) -> Iterator[None]:
        """Tell how far the block is, and close the service when the run is stopped; the batch in hand is finished.

        The thread ends with the block, for one that speaks to Ray while Ray ends the process would cut that short.
        """
        import ray

        done, actor = threading.Event(), ray.get_runtime_context().get_actor_id()

        def tell() -> None:
            while not done.wait(_TELL_EVERY):
                if ray.get(self._job.ledger.tell.remote(actor, block, counts.done)):
                    self._stopped.set()
                    self._service.close(cancel=True)
                    return

        thread = threading.Thread(target=tell, name="srcache-tell", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _feed(self, job: FillJob, counts: FillCounts) -> Exception | None:
        """Make what a block asks for; returns an error that is no image's fault."""
        try:
            submit_all(job, self._service, counts)
            counts.check()
        except Exception as error:
            if self._stopped.is_set():
                self._service.close(cancel=True)  # waits until the batch in hand is stored and counted
                return None
            return error
        return None


def _folder(job: RayJob) -> RecipeFolder:
    """The recipe's folder, as a writer, if this machine sees the cache and the images of the run.

    Raises:
        CacheError: it sees another cache at that place, or none.
        CatalogError: it does not see the images.
    """
    machine = platform.node()
    try:
        folder = open_cache(job.cache, spool=job.settings.spool).find(job.recipe).as_writer()
        token = job.token if folder.mirror else _token(folder.path / job.token_name)
    except (CacheError, OSError) as error:
        token, found = "", f" ({error})"
    else:
        found = ", but another cache of the same name"
    if token != job.token:
        raise CacheError(
            f"machine {machine} does not see the cache {job.cache} of this run{found}; "
            "the cache must lie where every machine of the cluster finds it by this name"
        )
    if job.root is not None and not Path(job.root).is_dir():
        raise CatalogError(
            f"machine {machine} does not see the images in {job.root}; "
            "they must lie where every machine of the cluster finds them by this name"
        )
    return folder


def _token(path: Path) -> str:
    """What a file holds; on a network file system it may take a moment to be seen."""
    deadline = time.monotonic() + 5
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return path.read_text(encoding="utf-8")


def _words(error: Exception) -> str:
    """What to say of an error that happened on this machine."""
    text = str(error) if isinstance(error, SrcacheError) else f"{type(error).__name__}: {error}"
    machine = platform.node()
    return text if machine in text else f"on machine {machine}: {text}"
