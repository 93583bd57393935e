"""The routes of a gallery that is served: the page, what fits a choice, and images made small by requests.

Images are read, shrunk and encoded when they are asked for, in a few threads, and kept by the browser alone. All is
read with GET; behind the gate that `srcache serve` has too, which checks the Host header.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from srcache.errors import DamagedError, ImageError
from srcache.images import one_image
from srcache.images.copies import Copy, Reduction, copy_image
from srcache.server.access import Doors
from srcache.server.answers import Refusal, json_answer
from srcache.server.gallery.gallery import Gallery, Item, OpenGallery
from srcache.server.gallery.page import PAGE, script, served_page, style
from srcache.server.gallery.rows import GalleryRow
from srcache.server.gate import Gate
from srcache.server.page import FILES, HTML, POLICY, SCRIPT, STYLE, text_answer
from srcache.server.queries import query
from srcache.server.site import Site
from srcache.service.protocol import PAGE as ROOT

_IMAGES, _ICON = "/image/", "/page/icon.svg"
_THUMB = Reduction(160, "webp:80")
_EXACT, _LARGE = Reduction(1024, "png"), Reduction(2048, "webp:92")
"""Images of up to this side keep their pixels; larger ones are shrunk to the second, and lose a little."""

_FOUND = TypeVar("_FOUND")


def make_gallery_app(opened: OpenGallery, site: Site) -> ASGIApp:
    """The gallery as an ASGI application."""
    return Gate(GalleryRoutes(opened, site), site, Doors(None), lambda line: None)


class GalleryRoutes:
    """Finds what answers a request: an ASGI application that raises a `Refusal` where nothing does.

    Args:
        opened: what is shown.
        site: has the threads that read.
    """

    def __init__(self, opened: OpenGallery, site: Site) -> None:
        self._opened, self._site = opened, site
        self._generation, self._gallery = 0, opened.gallery
        self._places = _places(self._gallery)
        self._table: dict[str, Callable[[Request], Awaitable[Response]]] = {
            ROOT: self.page,
            "/images": self.images,
            _ICON: text_answer(*FILES[_ICON]),
            "/page/gallery.css": text_answer(STYLE, style),
            "/page/gallery.js": text_answer(SCRIPT, script),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI.

        Raises:
            Refusal: 404, 405, or what the handler refuses.
        """
        path: str = scope["path"]
        handler = self.image if path.startswith(_IMAGES) else self._table.get(path)
        if handler is None:
            raise Refusal(404, "not_found", "there is nothing at this path; the gallery is at /")
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "bad_method", "a gallery is read with GET", headers={"Allow": "GET, HEAD"})
        answer = await handler(Request(scope, receive))
        await answer(scope, receive, send)

    async def page(self, request: Request) -> Response:
        """GET /: the page, of the cache as it is now."""
        gallery = await self._read(self._opened.refresh)
        if gallery is not self._gallery:
            self._generation, self._gallery, self._places = self._generation + 1, gallery, _places(gallery)
        html = await self._read(lambda: served_page(gallery, self._generation))
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY}
        return Response(html, headers=headers, media_type=HTML)

    async def images(self, request: Request) -> Response:
        """GET /images: what fits a choice, from a start on.

        Raises:
            Refusal: 400, a choice that there is not; 409, the choices are others by now.
        """
        index = self._gallery.index
        keys = [choice.key for choice in index.choices]
        given = query(request, *keys, "order", "words", "start", "generation")
        if _number(given, "generation") != self._generation:
            raise Refusal(409, "changed", "the cache has changed since this page was loaded; load the page again")
        chosen = {key: _number(given, key) for key in keys}
        start, order, words = _number(given, "start"), _number(given, "order"), given.get("words", "")[:1000]
        try:
            places = await self._read(lambda: index.find(chosen, order, words))
        except IndexError as error:
            raise Refusal(400, "bad_query", "there is no such choice; load the page again") from error
        gallery = self._gallery
        shown = [int(place) for place in places[start : start + PAGE]]
        items = await self._read(lambda: [_item(gallery, place) for place in shown])
        return json_answer({"total": len(places), "items": items})

    async def image(self, request: Request) -> Response:
        """GET /image/{kind}/{entry}: an image of a row, or its thumbnail.

        Raises:
            Refusal: 404, there is none, or it cannot be shown; 503, it is damaged.
        """
        kind, _, entry = request.url.path[len(_IMAGES) :].partition("/")
        place = self._places.get(entry)
        if place is None or kind not in (*self._gallery.pictures.kinds, "thumb"):
            raise Refusal(404, "not_found", "there is no such image in this gallery")
        gallery, row = self._gallery, self._gallery.index.rows[place]
        try:
            made = await self._read(lambda: _copy(gallery, row, kind))
        except ImageError as error:
            raise Refusal(404, error.reason, str(error)) from error
        except DamagedError as error:
            raise Refusal(503, "damaged", str(error)) from error
        return Response(made.data, headers={"Cache-Control": "private, max-age=600"}, media_type=made.mime)

    async def _read(self, look: Callable[[], _FOUND]) -> _FOUND:
        return await asyncio.get_running_loop().run_in_executor(self._site.readers, look)


def _places(gallery: Gallery) -> dict[str, int]:
    return {row.entry: place for place, row in enumerate(gallery.index.rows)}


def _item(gallery: Gallery, place: int) -> Item:
    """A row as the page's script takes it; where the size of its images is not known, it is a guess."""
    item, row = gallery.item(place), gallery.index.rows[place]
    known = item.pop("size")
    size = known or (1, 1)
    is_whole = item["state"] != "damaged"
    kinds = [kind for kind in gallery.pictures.kinds if gallery.pictures.might_have(row, kind)]
    images = {kind: {"src": f"image/{kind}/{row.entry}", "size": size} for kind in kinds if kind != "sr" or is_whole}
    return {**item, "images": images, "guessed": known is None, "thumb": f"image/thumb/{row.entry}"}


def _copy(gallery: Gallery, row: GalleryRow, kind: str) -> Copy:
    with one_image():
        rgb = gallery.pictures.pixels(row, "sr" if kind == "thumb" else kind)
        if kind == "thumb":
            return copy_image(rgb, _THUMB)
        return copy_image(rgb, _EXACT if max(rgb.shape[:2]) <= _EXACT.side else _LARGE)


def _number(given: Any, name: str) -> int:
    """A number in a query; 0 if it is not there.

    Raises:
        Refusal: 400, it is none.
    """
    text = given.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise Refusal(400, "bad_query", f"the parameter {name} must be a number")
    return int(text)
