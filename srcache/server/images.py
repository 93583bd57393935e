"""One request for an image: looked up, or read, named, made and stored; then answered as the client prefers it."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from xxhash import xxh3_64_hexdigest

from srcache.errors import DamagedError, ImageError
from srcache.images import decode, encode
from srcache.keys import ImageKey, entry_name, image_key, pixel_key
from srcache.server.answers import (
    FORMATS,
    PIECE,
    ImageAnswer,
    Refusal,
    Stored,
    image_headers,
    is_known,
    require_format,
)
from srcache.server.bodies import read_body
from srcache.server.headers import said
from srcache.server.hosted import SOURCE, HostedRecipe
from srcache.server.limits import Hold
from srcache.server.making import Load, Loaded, decode_within
from srcache.server.queries import Asked, asked, require_key
from srcache.server.ready import Ready, ReadyKey
from srcache.server.site import Site
from srcache.service import protocol
from srcache.service.protocol import HIT, MISS
from srcache.service.service import Served
from srcache.stores import sides_in, xxh3_in

_HASHED_HERE = 1 << 18
"""Bytes that are hashed in the event loop; more of them in a thread."""

_CACHED = {cached: (protocol.CACHE_HEADER.lower().encode(), cached.encode()) for cached in (HIT, MISS)}
_OF_BODIES = (b"content-type", b"content-length")

_TRANSCODING = 8
"""Bytes of memory for a pixel of an image that is encoded anew."""

_WRONG = {
    "empty": "the body is empty",
    "truncated": "the image file ends too early",
    "unreadable": "the body is not an image that srcache reads, or is damaged",
    "animated": "the file has several frames; send one image",
    "too_large": "the image, or its SR image, has more pixels than this service allows; send a smaller one",
    "unsupported": "the image's pixels have no agreed range; convert it to 8 or 16 bits",
    "out_of_memory": "the image does not fit into this machine's memory; send a smaller one",
}
"""What is said of an image by the reason for which it cannot be used; a decoder's own words might say more than they
should."""


class Images:
    """The routes of images."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def post(self, request: Request) -> ImageAnswer:
        """POST /v1/sr: the SR image of an image that is sent.

        Raises:
            Refusal: with the reason.
        """
        wanted = asked(self._site, request, protocol.RECIPE, protocol.SAMPLE, protocol.AS)
        recipe, accept = wanted.recipe, said(request.scope, b"accept")
        require_format(accept, recipe.media_type)
        key, load, hold = await read_image(self._site, request, wanted)
        place, name = (recipe.fingerprint, key, wanted.sample, accept), entry_name(key, wanted.sample)
        ready, cached = self._site.ready.get(place), HIT
        try:
            if ready is None:
                found = await self._find(recipe, key, wanted.sample)
                if found is None:
                    found, cached = await self._made(recipe, name, load), MISS
                ready = await self._prepared(recipe, found, place)
        finally:
            self._site.makers[recipe.fingerprint].release_after(name, hold)
        self._count(request, recipe, cached)
        return ImageAnswer(ready.body, (_CACHED[cached], *ready.posted), hold=self._held(ready))

    async def get(self, request: Request) -> ImageAnswer:
        """GET /v1/sr/{key}: an SR image that is stored.

        Raises:
            Refusal: with the reason; 404 if it is not.
        """
        wanted = asked(self._site, request, protocol.RECIPE, protocol.SAMPLE)
        recipe, accept = wanted.recipe, said(request.scope, b"accept")
        place = (recipe.fingerprint, request.scope["path_params"]["key"], wanted.sample, accept)
        ready = self._site.ready.get(place)
        if ready is None:
            found = await self._find(recipe, require_key(place[1]), wanted.sample)
            if found is None:
                raise Refusal(404, "not_stored", "the cache has no such SR image; POST the image to have it made")
            ready = await self._prepared(recipe, found, place)
        self._count(request, recipe, HIT)
        if (known := said(request.scope, b"if-none-match")) and is_known(ready.tag, known):
            return ImageAnswer(b"", tuple(pair for pair in ready.got if pair[0] not in _OF_BODIES), 304)
        return ImageAnswer(ready.body, (_CACHED[HIT], *ready.got), hold=self._held(ready))

    def _held(self, ready: Ready) -> Hold | None:
        """The memory of a large answer, which a slow client may need for long."""
        return self._site.budget.take(len(ready.body)) if len(ready.body) > PIECE else None

    def _count(self, request: Request, recipe: HostedRecipe, cached: str) -> None:
        request.scope["srcache.cached"] = cached
        recipe.hits += cached == HIT
        self._site.metrics.answered(recipe, cached)

    async def _find(self, recipe: HostedRecipe, key: ImageKey, sample: int) -> Stored | None:
        try:
            found = await self._looked_up(recipe, lambda: recipe.find(key, sample))
        except DamagedError as error:
            self._site.metrics.failed(recipe, "damaged")
            raise Refusal(
                503, "damaged", "the stored image is damaged; the cache's owner must run `srcache repair`", retry=60
            ) from error
        return found

    async def _looked_up(self, recipe: HostedRecipe, look: Callable[[], Stored | None]) -> Stored | None:
        """What a look-up finds: done here where that is over at once (a thread costs more), else in a thread."""
        if recipe.folder.store_kind.prompt:
            return look()
        return await asyncio.get_running_loop().run_in_executor(self._site.readers, look)

    async def _made(self, recipe: HostedRecipe, name: str, load: Load) -> Stored:
        """Have an image made; returns it as it was stored."""
        if (reason := recipe.failure(name)) is not None:
            raise failed(recipe, reason)
        maker = self._site.maker(recipe)
        task = maker.make(name, load, SOURCE)
        try:
            async with asyncio.timeout(self._site.settings.engine_seconds):
                served: Served = await asyncio.shield(task)
        except TimeoutError as error:
            if task.done():
                raise
            raise Refusal(
                504, "too_long", "the image was not made in time; it may be there later, so ask again"
            ) from error
        except ImageError as error:
            self._site.metrics.failed(recipe, error.reason)
            raise unusable(error) from error
        except (Refusal, asyncio.CancelledError):
            raise
        except Exception as error:
            raise Refusal(
                503, "stopped", "the engine has stopped, and the service is ending; try again", retry=10
            ) from error
        if served.failure is not None:
            self._site.metrics.failed(recipe, served.failure.reason)
            raise failed(recipe, served.failure.reason)
        found = await self._looked_up(recipe, lambda: recipe.read(name))
        if found is None:
            raise Refusal(503, "gone", "the image was stored, but is gone; try again", retry=1)
        return found

    async def _prepared(self, recipe: HostedRecipe, found: Stored, place: ReadyKey) -> Ready:
        """A stored image as it is answered; kept, for it may be asked for again."""
        kind = require_format(place[3], found.media_type)
        body, checksum = found.payload, xxh3_in(found.record) or xxh3_64_hexdigest(found.payload)
        if kind != found.media_type:
            body, checksum = await self._encoded(recipe, found, kind)
        headers = image_headers(found, recipe.fingerprint, kind, checksum)
        headers = (*headers, (b"content-length", str(len(body)).encode()))
        key, _, sample = found.name.rpartition("-")
        where = protocol.content_location(ImageKey(key), int(sample), recipe.fingerprint)
        tag = protocol.entity_tag(recipe.fingerprint, found.name, checksum)
        ready = Ready(body, tag, headers, (*headers, (b"content-location", where.encode())))
        self._site.ready.keep(place, ready)
        return ready

    async def _encoded(self, recipe: HostedRecipe, found: Stored, kind: str) -> tuple[bytes, str]:
        """A stored image in another format, and the checksum of that."""
        height, width = sides_in(found.record) or (0, 0)
        with self._site.budget.take(_TRANSCODING * height * width):
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._site.readers, _encoded, found.payload, FORMATS[kind])
        return body, xxh3_64_hexdigest(body)


async def read_image(site: Site, request: Request, wanted: Asked) -> tuple[ImageKey, Load, Hold]:
    """The key of the image in a request's body, what decodes it when it must be made, and the memory of both.

    Raises:
        Refusal: with the reason.
    """
    if said(request.scope, b"content-type").lower().startswith("multipart/"):
        words = "the body is a form; send the bytes of the image file itself (curl --data-binary @FILE)"
        raise Refusal(415, "form", words)
    data, hold = await read_body(request, site.settings.most_body, site.budget)
    loop = asyncio.get_running_loop()

    def load() -> Loaded:
        return decode_within(data, site.settings.most_pixels, site.budget, wanted.recipe)

    try:
        if wanted.as_pixels:
            loaded = await loop.run_in_executor(site.threads, load)
            key = await loop.run_in_executor(site.threads, pixel_key, loaded.decoded.rgb)
            hold.release()
            return key, lambda: loaded, loaded.hold
        if len(data) <= _HASHED_HERE:
            return image_key(data), load, hold
        return await loop.run_in_executor(site.threads, image_key, data), load, hold
    except ImageError as error:
        hold.release()
        site.metrics.failed(wanted.recipe, error.reason)
        raise unusable(error) from error
    except BaseException:
        hold.release()
        raise


def unusable(error: ImageError) -> Refusal:
    """The answer to an image that cannot be used: 413 for one that is too large, else 415."""
    words = _WRONG.get(error.reason, "the image cannot be used")
    return Refusal(413 if error.reason in ("too_large", "out_of_memory") else 415, error.reason, f"{words}")


def failed(recipe: HostedRecipe, reason: str) -> Refusal:
    """The answer to an image that the engine could not make; the engine's own words stay here, in the journal."""
    word = reason if reason.isidentifier() and len(reason) <= 40 else "failed"
    return Refusal(
        422,
        word,
        f"the image was read, but engine {recipe.recipe.engine} could not make its SR image ({word}); it is not tried "
        "again before the service is started with --retry-failed",
    )


def _encoded(payload: bytes, codec: str) -> bytes:
    return encode(decode(payload), codec)
