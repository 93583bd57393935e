"""`srcache view`: a gallery served on loopback until a signal ends it, or written as one HTML file."""

import contextlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srcache.errors import CacheError, ImageError, SrcacheError
from srcache.files import real_path, write_atomic
from srcache.images.copies import BUDGET, Copies, copies_within
from srcache.server.gallery.gallery import Gallery, GallerySettings, Item, OpenGallery
from srcache.server.gallery.page import file_page
from srcache.server.run import Listening, listening_socket, make_site, require_packages, url_of
from srcache.server.settings import ServerSettings

COUNT = 200
"""Images in a file, if not said otherwise."""

_ImageOf = tuple[int, str]
"""A row's place, and which of its images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A gallery that was written to `path`: how many of all images it shows, its size in bytes, and its warnings."""

    path: Path
    recipe: str
    images: int
    total: int
    bytes: int
    warnings: tuple[str, ...] = ()


def serve_gallery(settings: GallerySettings, port: int, announce: Callable[[Listening], None]) -> int:
    """Serve a gallery on loopback until a signal ends it; returns how many requests were answered.

    Args:
        settings: what is shown.
        port: to listen on; 0 for a free one.
        announce: called when it listens.

    Raises:
        SrcacheError: as `OpenGallery`.
        MachineError: the port cannot be had.
        MissingExtraError: the extra `serve` is not installed.
    """
    require_packages("srcache view (but not with --out)")
    from srcache.server.gallery.app import make_gallery_app
    from srcache.server.web_server import WebServer, web_config

    how = ServerSettings(cache=Path(settings.cache), recipes=(), port=port)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening_socket(how))
        opened = stack.enter_context(OpenGallery(settings))
        site = stack.enter_context(make_site(how, []))
        server = WebServer(web_config(how, make_gallery_app(opened, site)), site)
        announce(Listening(url=url_of(how, listener), warnings=opened.gallery.warnings))
        server.serve_until_ended(listener)
    return site.metrics.requests


def write_gallery(settings: GallerySettings, out: Path, count: int = COUNT, budget: int = BUDGET) -> FileReport:
    """Write a gallery as one HTML file that loads nothing.

    Args:
        settings: what is shown.
        out: the file; one that is there is replaced.
        count: how many images it shows at most, drawn by the seed.
        budget: bytes that all copies of images may have.

    Raises:
        SrcacheError: as `OpenGallery`.
        CacheError: the file would lie in the cache.
        DiskFullError: no room.
    """
    with OpenGallery(settings) as opened:
        gallery = opened.gallery
        if real_path(out).is_relative_to(real_path(gallery.folder.path.parent)):
            raise CacheError(f"{out} lies in the cache, which is only read; choose another place")
        every = gallery.index
        shown = replace(gallery, index=every.part(sorted(int(place) for place in every.find({}, 1)[:count])))
        rows, pictures = shown.index.rows, gallery.pictures
        wanted = [
            (place, kind) for place, row in enumerate(rows) for kind in pictures.kinds if pictures.might_have(row, kind)
        ]
        copies = copies_within(wanted, lambda one: _pixels(shown, *one), budget)
        sentence = _sentence(len(rows), len(every.rows), settings.seed, copies)
        page = file_page(shown, gallery, _data(shown, copies), sentence)
    write_atomic(out, page)
    return FileReport(
        path=out,
        recipe=gallery.folder.path.name,
        images=len(rows),
        total=len(every.rows),
        bytes=len(page.encode()),
        warnings=gallery.warnings,
    )


def _pixels(gallery: Gallery, place: int, kind: str) -> Any:
    try:
        return gallery.pictures.pixels(gallery.index.rows[place], kind)
    except ImageError:
        raise
    except SrcacheError as error:
        return str(error)


def _sentence(shown: int, total: int, seed: int, copies: Copies[_ImageOf]) -> str:
    """Which images a file shows, and how they were copied."""
    how = copies.reduction.describe()
    if shown < total:
        return f"This file shows {shown} of {total} images, drawn by seed {seed}: {how}. The choices count these alone."
    return f"This file shows all images: {how}."


def _data(shown: Gallery, copies: Copies[_ImageOf]) -> dict[str, Any]:
    """What the page's script takes: items, which options each has, and the orders."""
    index = shown.index
    items = [_item(shown, place, copies) for place in range(len(index.rows))]
    for choice in index.choices:
        for number, option in enumerate(choice.options, start=1):
            for place in option.mask().nonzero()[0]:
                items[place]["options"].setdefault(choice.key, []).append(number)
    return {"items": items, "orders": [order.places().tolist() for order in index.orders]}


def _item(gallery: Gallery, place: int, copies: Copies[_ImageOf]) -> Item:
    item = gallery.item(place)
    del item["size"]
    images, lost = {}, []
    for kind in gallery.pictures.kinds:
        if (copy := copies.made.get((place, kind))) is not None:
            source = f"data:{copy.mime};base64,{b64encode(copy.data).decode()}"
            images[kind] = {"src": source, "size": [copy.width, copy.height]}
        elif (why := copies.unreadable.get((place, kind))) is not None and not (kind == "sr" and item["state"]):
            lost.append(f"{kind.upper()} cannot be shown: {why}")
    thumb = images.get("sr", {}).get("src")
    return {**item, "images": images, "thumb": thumb, "note": ". ".join(lost), "options": {}}
