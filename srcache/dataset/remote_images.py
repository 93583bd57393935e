"""SR images of one recipe, asked of an SR service, and turned into entries of a store.

Of a file its own bytes are sent; of an image in memory a PNG of its pixels. What comes back is checked and decoded here
(`remote_answers`), in the thread that takes it.
"""

from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from srcache.dataset.missing import Missing
from srcache.errors import ImageError
from srcache.images import Colors, Decoded, decode_both, encode
from srcache.keys import ImageKey, entry_name, image_key, noise_seed, pixel_key, split_name
from srcache.recipe.recipe import Recipe
from srcache.service.protocol import Prefetched
from srcache.service.remote_answers import Answer, entry_of, wanted_of
from srcache.service.remote_client import RemoteClient
from srcache.service.remote_session import Sent
from srcache.service.requests import Request, make_request
from srcache.stores import Entry


class Coming(NamedTuple):
    """An image that was asked for, what is known about it, and its answer. No pixels: sources may be large."""

    missing: Missing
    request: Request
    answer: "Future[Answer]"


class RemoteImages:
    """Asks for SR images. Picklable, and safe in threads, as `RemoteClient` is.

    Args:
        client: asks the service.
        recipe: of the images.
        codec: the lossless codec of the store that they are for.
    """

    def __init__(self, client: RemoteClient, recipe: Recipe, codec: str) -> None:
        self.client, self._recipe, self._codec = client, recipe, codec

    def ask(self, missing: Missing, *, may_be_there: bool = False) -> Coming:
        """Ask for an image.

        Args:
            missing: which one.
            may_be_there: ask first whether the service has it, before its source is sent.

        Raises:
            ImageError: the source cannot be used, or is not the one that its key names.
        """
        key, decoded, image = _opened(missing, self._recipe.colors)
        sample = split_name(missing.name)[1]
        request = make_request(key, decoded, self._recipe, sample)
        wanted = wanted_of(request, self._recipe.fingerprint, by_pixels=image.as_pixels)
        ask = self.client.found if may_be_there else self.client.made
        return Coming(missing, _without_pixels(request), ask(wanted, image))

    def hand_over(self, missing: Missing) -> Prefetched:
        """Send an image to be made some time; returns what the service says of it.

        Raises:
            UnavailableError, ServiceError, ImageError: as `take`.
        """
        sample = split_name(missing.name)[1]
        return self.client.hand_over(
            self._recipe.fingerprint, sample, _opened(missing, self._recipe.colors)[2]
        ).result()

    def take(self, coming: Coming) -> Entry:
        """Wait for an image, and check it.

        Raises:
            UnavailableError: the service does not answer.
            ServiceError: it refuses, or answers what was not asked for.
            ImageError: it cannot make this image.
        """
        answer = coming.answer.result()
        return entry_of(answer, _renamed(coming.request, answer.key, self._recipe), self._recipe, self._codec)


def _without_pixels(request: Request) -> Request:
    """The same request with an image of the same shape that takes no memory."""
    return replace(request, lr=np.broadcast_to(np.uint8(0), request.lr.shape))


def _renamed(request: Request, key: ImageKey, recipe: Recipe) -> Request:
    """A request for the same image by another of its keys: pixels may be known as those of a file."""
    own, sample = split_name(request.name)
    seed = noise_seed(recipe.seed, key, sample)
    return replace(
        request,
        name=entry_name(key, sample),
        seed=seed,
        record={**request.record, "key": key, "seed": seed},
        aliases=tuple(sorted({own, *request.aliases} - {key})) if key != own else request.aliases,
    )


def _opened(missing: Missing, colors: Colors) -> tuple[ImageKey, Decoded, Sent]:
    """A source image's key, the image itself, and what to send of it.

    Raises:
        ImageError: it cannot be used, or is not the one that its key names.
    """
    key, data = split_name(missing.name)[0], missing.data()
    if data is None:
        decoded = missing.decoded()
        if decoded.as_ever is not None:
            raise ImageError("unsupported", f"{missing.title}: a service gets no image in memory with transparency")
        return pixel_key(decoded.rgb), decoded, Sent(data=partial(encode, decoded.rgb, "png:1"), as_pixels=True)
    if (found := image_key(data)) != key:
        detail = f"{missing.title}: it is not what was catalogued (its key was {key}, now it is {found})"
        raise ImageError("changed", detail)
    try:
        return key, decode_both(data, colors), Sent(data=lambda: data)
    except ImageError as error:
        raise ImageError(error.reason, f"{missing.title}: {error}") from error
