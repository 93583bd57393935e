"""SR images that a training loop asks for and the cache lacks, had from an SR service, and kept where that can be."""

from collections import deque
from collections.abc import Iterable

from srcache.cache.manifest import RecipeFolder
from srcache.dataset.missing import Made, Missing
from srcache.dataset.remote_images import Coming, RemoteImages
from srcache.errors import CacheError, DiskFullError, ImageError, UnavailableError
from srcache.service.remote import RemoteService
from srcache.service.remote_client import RemoteClient
from srcache.stores import Entry, Store


class RemoteFiller:
    """Asks an SR service for the images that a recipe's folder lacks, and stores them there; see `RemoteService`.

    Picklable; each process has connections of its own. Safe in threads.

    Args:
        folder: where the recipe stands, and the results go.
        remote: which service, and how it is asked.

    Raises:
        ConfigError: there is no token where one was named.
        MissingExtraError: httpx is not installed.
    """

    counted = "fetched"

    def __init__(self, folder: RecipeFolder, remote: RemoteService) -> None:
        self._images = RemoteImages(RemoteClient(remote), folder.recipe, folder.store_kind.codec)
        self._raises = remote.fallback == "raise"
        self._store = _writable(folder)

    def make(self, wanted: Iterable[Missing]) -> Made:
        """See `Filler.make`. Where a fallback is served, a service that does not answer is no error.

        Raises:
            UnavailableError: it does not answer.
            ServiceError: it refuses, or answers what was not asked for.
            ImageError: a source image cannot be used.
            MachineError: the disk is full.
        """
        coming, entries, given, failed = deque[Coming](), list[Entry](), dict[str, bytes](), list[str]()

        def take() -> None:
            one = coming.popleft()
            if (entry := self._taken(one, failed)) is not None:
                entries.append(entry)
                given[one.missing.name] = entry.payload

        try:
            for missing in wanted:
                coming.append(self._images.ask(missing))
                if len(coming) > 2 * self._images.client.remote.batch:
                    take()
            while coming:
                take()
        finally:
            for one in coming:
                one.answer.cancel()
            if self._store is not None and entries:
                self._store.put_many(entries)
        return Made(added=len(entries), failed=failed, given=given)

    def _taken(self, one: Coming, failed: list[str]) -> Entry | None:
        """An image that has come; None for one that has not, which is noted."""
        try:
            return self._images.take(one)
        except ImageError as error:
            failed.append(f"{one.missing.title} ({error.reason}: {error})")
        except UnavailableError as error:
            if self._raises:
                raise
            failed.append(f"{one.missing.title} ({error})")
        return None


def _writable(folder: RecipeFolder) -> Store | None:
    """The store, made if it is not there; None if it takes no images from a training.

    It is closed until there is something to store: a training that misses nothing is in nobody's way.
    """
    if folder.store_kind.misses:
        try:
            store = folder.store(writable=True)
            store.close()
            return store
        except DiskFullError:  # it may not be written to, but what it holds can be read
            folder.store().close()
            return None
    try:
        folder.store().close()
    except CacheError:
        folder.store(writable=True).close()
    return None
