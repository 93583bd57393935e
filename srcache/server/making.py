"""Images on their way through the engine, each once however many ask for it; and those that can wait (prefetch)."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from srcache.errors import ImageError
from srcache.images import Decoded, decode_both, image_sides
from srcache.keys import ImageKey, split_name
from srcache.server.answers import Refusal
from srcache.server.hosted import SOURCE, HostedRecipe
from srcache.server.limits import DECODING, ByteBudget, Hold, making_bytes
from srcache.service.requests import make_request
from srcache.service.service import Served

_FULL_BATCHES = 6
"""Batches that are given to the engine at once at most; those that can wait leave room for others."""

_PATIENT_BATCHES = 2
_AGAIN = 0.2
"""Seconds after which an image that can wait looks for memory again."""

logger = logging.getLogger("srcache.server")


@dataclass(slots=True)
class Loaded:
    """A decoded image and the memory that it holds until its SR image is stored."""

    decoded: Decoded
    hold: Hold


Load = Callable[[], Loaded]
"""Reads and decodes an image; called in a thread."""


def decode_within(data: bytes, most_pixels: int, budget: ByteBudget, recipe_of: HostedRecipe) -> Loaded:
    """Decode an image, after its header has said how large it is.

    Raises:
        ImageError: it cannot be used, or has too many pixels (`too_large`).
        Refusal: there is no memory for it.
    """
    try:
        sides = image_sides(data)
        if sides[0] * sides[1] > most_pixels:
            raise ImageError("too_large", f"the image has {sides[1]}×{sides[0]} pixels, more than {most_pixels}")
        pixels = sides[0] * sides[1]
        need = making_bytes(sides, recipe_of.recipe)
        hold = budget.take(max(need, DECODING * pixels))
        try:
            decoded = decode_both(data, recipe_of.recipe.colors)
            hold.resize(need)
        except BaseException:
            hold.release()
            raise
    except (ImageError, Refusal):
        raise
    except MemoryError as error:
        raise ImageError("out_of_memory", "the image does not fit into this machine's memory") from error
    except Exception as error:  # a decoder that trips over bytes made to break it, in a way nobody has seen yet
        logger.info("an image could not be decoded", exc_info=True)
        raise ImageError("unreadable", f"the image is damaged ({error!r})") from error
    return Loaded(decoded, hold)


class Maker:
    """Has one recipe's images made, each once however many ask for it; lives in the event loop.

    Args:
        recipe: what is made.
        threads: decode images, and give them to the engine.

    Attributes:
        error: why no image can be made any more; None as long as they can.
    """

    def __init__(self, recipe: HostedRecipe, threads: Executor) -> None:
        self.error: BaseException | None = None
        self._recipe, self._threads = recipe, threads
        self._room = asyncio.Semaphore(_FULL_BATCHES * recipe.batch)
        self._tasks: dict[str, asyncio.Task[Served]] = {}
        self._patient: dict[str, tuple[Load, str, Callable[[], None]]] = {}
        self._feeders: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Images that can wait and are not begun yet."""
        return len(self._patient)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being made, and nothing waits."""
        return not self._tasks and not self._patient and not self._feeders

    def is_asked(self, name: str) -> bool:
        """Whether an entry is being made, or waits for it."""
        return name in self._tasks or name in self._patient

    def make(self, name: str, load: Load, source: str) -> "asyncio.Task[Served]":
        """Have an entry made: a task that others may be waiting for too, so wait for it under `asyncio.shield`."""
        task = self._tasks.get(name)
        if task is None:
            patient = self._patient.pop(name, None)
            task = self._tasks[name] = asyncio.create_task(self._make(name, load, source))
            task.add_done_callback(lambda done: self._forget(name, done))
            if patient is not None:
                patient[2]()
        return task

    def release_after(self, name: str, hold: Hold) -> None:
        """Release memory that an entry's making may still need: now, or when that has ended."""
        task = self._tasks.get(name)
        if task is None:
            hold.release()
        else:
            task.add_done_callback(lambda _: hold.release())

    def make_later(self, name: str, load: Load, source: str, done: Callable[[], None]) -> None:
        """Have an entry made when the engine has time, after what was asked for before.

        Args:
            name, load, source: as `make` takes them.
            done: called when the image has been begun by somebody else, or is finished.
        """
        if self.is_asked(name):
            done()
            return
        self._patient[name] = (load, source, done)
        if len(self._feeders) < _PATIENT_BATCHES * self._recipe.batch:
            feeder = asyncio.create_task(self._feed())
            self._feeders.add(feeder)
            feeder.add_done_callback(self._feeders.discard)

    async def _feed(self) -> None:
        while self._patient:
            name = next(iter(self._patient))
            load, source, done = self._patient.pop(name)
            try:
                await self._make_patiently(name, load, source)
            finally:
                done()

    async def _make_patiently(self, name: str, load: Load, source: str) -> None:
        while True:
            try:
                await asyncio.shield(self.make(name, load, source))
                return
            except Refusal as refusal:
                if refusal.status_code != 503:
                    return
                await asyncio.sleep(_AGAIN)
            except ImageError as error:
                if source != SOURCE:  # else anybody could fill the journal with files that are no images
                    self._recipe.note(name, source, error.reason, str(error))
                return
            except Exception as error:
                logger.error("an image that was to be made in advance was not made: %r", error)
                return

    async def _make(self, name: str, load: Load, source: str) -> Served:
        async with self._room:
            loop = asyncio.get_running_loop()
            future = await loop.run_in_executor(self._threads, self._submit, name, load, source)
            return await asyncio.wrap_future(future)

    def _submit(self, name: str, load: Load, source: str) -> "Future[Served]":
        key, sample = split_name(name)
        loaded = load()
        try:
            request = make_request(ImageKey(key), loaded.decoded, self._recipe.recipe, sample)
            future = self._recipe.submit(request, source)
        except BaseException:
            loaded.hold.release()
            raise
        future.add_done_callback(lambda _: loaded.hold.release())
        return future

    def _forget(self, name: str, task: "asyncio.Task[Served]") -> None:
        del self._tasks[name]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ImageError | Refusal):
            self.error = self.error or error
