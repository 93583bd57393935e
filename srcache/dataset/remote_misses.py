"""SR images that a cache lacks, had from an SR service, and written to the cache where that takes images.

Of a file its own bytes are sent; of an image in memory a PNG of its pixels. What comes back is checked and decoded here
(`remote_answers`), in the thread that asked.
"""

from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from srcache.cache.manifest import RecipeFolder
from srcache.dataset.missing import Made, Missing
from srcache.errors import CacheError, DiskFullError, ImageError, UnavailableError
from srcache.images import encode
from srcache.keys import ImageKey, image_key, pixel_key, split_name
from srcache.service.remote import RemoteService
from srcache.service.remote_answers import Answer, entry_of, wanted_of
from srcache.service.remote_client import RemoteClient
from srcache.service.remote_session import Sent
from srcache.service.requests import make_request
from srcache.stores import Entry, Store


class _Asked(NamedTuple):
    """An image that was asked for: what it is wanted as, its own key, and what is known or will come."""

    missing: Missing
    key: ImageKey
    decoded: Any
    answer: "Future[Answer]"


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
        self._folder, self._client = folder, RemoteClient(remote)
        self._store = _writable(folder)

    def make(self, wanted: Iterable[Missing]) -> Made:
        """See `Filler.make`. Where a fallback is served, a service that does not answer is no error.

        Raises:
            UnavailableError: it does not answer.
            ServiceError: it refuses, or answers what was not asked for.
            ImageError: a source image cannot be used.
            MachineError: the disk is full.
        """
        asked = list[_Asked]()
        try:
            for missing in wanted:
                asked.append(self._ask(missing))
            return self._take(asked)
        finally:
            for one in asked:
                one.answer.cancel()

    def _ask(self, missing: Missing) -> _Asked:
        recipe, (key, sample) = self._folder.recipe, split_name(missing.name)
        data, decoded = missing.data(), missing.decoded()
        if data is None:
            key, image = pixel_key(decoded.rgb), Sent(data=partial(encode, decoded.rgb, "png:1"), as_pixels=True)
        elif image_key(data) == key:
            image = Sent(data=lambda: data)
        else:
            raise ImageError("changed", f"{missing.title} is not what was catalogued (its key was {key})")
        request = make_request(key, decoded, recipe, sample)
        wanted = wanted_of(request, recipe.fingerprint, by_pixels=image.as_pixels)
        return _Asked(missing, key, decoded, self._client.made(wanted, image))

    def _take(self, asked: list[_Asked]) -> Made:
        """Wait for what was asked for, and store it."""
        entries, given, failed = list[Entry](), dict[str, bytes](), list[str]()
        for one in asked:
            try:
                entry = self._entry(one, one.answer.result())
            except ImageError as error:
                failed.append(f"{one.missing.title} ({error.reason}: {error})")
            except UnavailableError as error:
                if self._client.remote.fallback == "raise":
                    raise
                failed.append(f"{one.missing.title} ({error})")
            else:
                entries.append(entry)
                given[one.missing.name] = entry.payload
        if self._store is not None and entries:
            self._store.put_many(entries)
        return Made(added=len(entries), failed=failed, given=given)

    def _entry(self, one: _Asked, answer: Answer) -> Entry:
        sample = split_name(one.missing.name)[1]
        request = make_request(answer.key, one.decoded, self._folder.recipe, sample)
        return entry_of(answer, request, self._folder.recipe, self._folder.store_kind.codec)


def _writable(folder: RecipeFolder) -> Store | None:
    """The store, made if it is not there; None if it takes no images from a training."""
    if folder.store_kind.misses:
        try:
            return folder.store(writable=True)
        except DiskFullError:  # it may not be written to, but what it holds can be read
            folder.store().close()
            return None
    try:
        folder.store().close()
    except CacheError:
        folder.store(writable=True).close()
    return None
