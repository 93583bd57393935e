"""POST /v1/prefetch: images that will be asked for soon are made when the engine has time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from srcache.errors import ImageError
from srcache.files.documents import parse_json
from srcache.keys import ImageKey, entry_name
from srcache.server.answers import Refusal, json_answer
from srcache.server.bodies import read_body
from srcache.server.headers import said
from srcache.server.hosted import SOURCE, HostedRecipe
from srcache.server.images import read_image
from srcache.server.limits import DECODING, Hold, making_bytes
from srcache.server.making import Load, Loaded
from srcache.server.queries import asked, query, require_key, require_sample
from srcache.server.site import Site
from srcache.service import protocol

_MOST_JSON = 4 << 20
_NOTE = 1024
"""Bytes that are counted for a name that waits."""

_FIELDS = {"recipe", "keys", "samples"}


class Prefetch:
    """The route of images that will be asked for."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def post(self, request: Request) -> Response:
        """POST /v1/prefetch, with JSON that names keys, or with an image.

        Raises:
            Refusal: with the reason.
        """
        kind = said(request.scope, b"content-type").partition(";")[0].strip().lower()
        document = await (self._keys(request) if kind == "application/json" else self._image(request))
        return json_answer(document, 202)

    async def _image(self, request: Request) -> dict[str, Any]:
        wanted = asked(self._site, request, protocol.RECIPE, protocol.SAMPLE, protocol.AS)
        recipe = wanted.recipe
        maker = self._site.maker(recipe)
        key, load, hold = await read_image(self._site, request, wanted)
        found = _Found(recipe)
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(self._site.readers, found.needs, key, wanted.sample):
            maker.make_later(entry_name(key, wanted.sample), load, SOURCE, hold.release)
        else:
            hold.release()
        return {**found.document(), "key": key}

    async def _keys(self, request: Request) -> dict[str, Any]:
        query(request)
        data, hold = await read_body(request, min(_MOST_JSON, self._site.settings.most_body), self._site.budget)
        loop = asyncio.get_running_loop()
        with hold:
            recipe, keys, samples = await loop.run_in_executor(self._site.readers, self._wanted, data)
        maker, found = self._site.maker(recipe), _Found(recipe)
        missing = await loop.run_in_executor(self._site.readers, found.missing, keys, samples)
        for key, sample in missing:
            place = self._site.places.get(key)
            if place is None:
                found.unknown.setdefault(key)
                continue
            note = self._site.budget.take(_NOTE)
            found.queued += 1
            source = self._site.catalog.rows[place].name if self._site.catalog else ""
            maker.make_later(entry_name(key, sample), self._loader(place, recipe), source, note.release)
        return found.document()

    def _wanted(self, data: bytes) -> tuple[HostedRecipe, list[ImageKey], list[int]]:
        """What a JSON document asks for."""
        try:
            plain = parse_json(data)
        except ValueError as error:
            raise Refusal(400, "bad_json", "the body is not JSON, though its Content-Type says so") from error
        if not isinstance(plain, dict) or not set(plain) <= _FIELDS or not isinstance(plain.get("keys"), list):
            raise Refusal(400, "bad_json", 'expected {"recipe": NAME, "keys": [KEY, …], "samples": [0, …]}')
        name, samples = plain.get("recipe"), plain.get("samples", [0])
        if not isinstance(name, str | None):
            raise Refusal(400, "bad_json", "recipe must be a name, a fingerprint or a folder's name")
        if len(plain["keys"]) > protocol.MOST_KEYS:
            raise Refusal(400, "too_many", f"one request may name {protocol.MOST_KEYS} keys; send several requests")
        if not isinstance(samples, list) or not samples or not all(type(one) is int for one in samples):
            raise Refusal(400, "bad_json", "samples must be a list of numbers, such as [0]")
        recipe = self._site.find(name)
        numbers = sorted({require_sample(one, recipe) for one in samples})
        return recipe, list(dict.fromkeys(map(require_key, plain["keys"]))), numbers

    def _loader(self, place: int, recipe: HostedRecipe) -> Load:
        """What reads and decodes an image of the source, after it has counted the memory for that."""
        site = self._site

        def load() -> Loaded:
            assert site.catalog is not None
            hold = Hold(site.budget)
            try:
                path = site.catalog.rows[place].path
                hold.resize(path.stat().st_size if path else 0)
                decoded = site.catalog.load(place, check=True, colors=recipe.recipe.colors)
                height, width, _ = decoded.rgb.shape
                hold.resize(
                    min(site.budget.most, max(DECODING * height * width, making_bytes((height, width), recipe.recipe)))
                )
            except OSError as error:
                hold.release()
                raise ImageError("unreadable", f"the file cannot be read ({error.strerror})") from error
            except BaseException:
                hold.release()
                raise
            return Loaded(decoded, hold)

        return load


class _Found:
    """What became of the entries that a request names."""

    def __init__(self, recipe: HostedRecipe) -> None:
        self.stored = self.queued = 0
        self.unknown: dict[ImageKey, None] = {}
        self._recipe, self._failed = recipe, Counter[str]()

    def missing(self, keys: Sequence[ImageKey], samples: Sequence[int]) -> list[tuple[ImageKey, int]]:
        """Those that are neither stored nor known to fail."""
        return [(key, sample) for key in keys for sample in samples if self._is_missing(key, sample)]

    def needs(self, key: ImageKey, sample: int) -> bool:
        """Whether an entry must be made; it is then counted as queued."""
        missing = self._is_missing(key, sample)
        self.queued += missing
        return missing

    def document(self) -> dict[str, Any]:
        """The answer."""
        found = protocol.Prefetched(
            stored=self.stored, queued=self.queued, failed=dict(self._failed), unknown=list(self.unknown)
        )
        return {**found}

    def _is_missing(self, key: ImageKey, sample: int) -> bool:
        if self._recipe.has(key, sample):
            self.stored += 1
            return False
        if (reason := self._recipe.failure(entry_name(key, sample))) is not None:
            self._failed[reason] += 1
            return False
        return True
