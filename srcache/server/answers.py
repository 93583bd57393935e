"""Answers: errors as JSON, images as they are stored or in a format that a client prefers, and what tags them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from srcache.files.documents import json_text
from srcache.images import suffix_of
from srcache.service import protocol

if TYPE_CHECKING:
    from srcache.server.limits import Hold

Headers = tuple[tuple[bytes, bytes], ...]

FORMATS = {"image/png": "png", "image/qoi": "qoi", "image/webp": "webp:90", "image/jpeg": "jpeg:90"}
"""What images can be answered in, beside as they are stored, the preferred first; and the codec of each."""

_OTHER_NAMES = {"image/x-qoi": "image/qoi", "image/jpg": "image/jpeg"}
_MOST_RANGES = 64
PIECE = 256 << 10
"""Bytes of an image that are handed over at once; the next follow when the client has read most of them."""


class Refusal(HTTPException):
    """A request that is answered with an error: its status, one word for counting, and a sentence.

    Args:
        retry: seconds after which to try again, for a 503.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        more = {**(headers or {}), **({} if retry is None else {"Retry-After": str(retry)})}
        super().__init__(status, message, more)
        self.reason = reason


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document as an answer that nobody keeps."""
    text = json_text(document, allow_nan=False)
    return Response(text, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def error_answer(error: Refusal) -> Response:
    """A refusal as an answer."""
    return json_answer(protocol.error_document(error.reason, error.detail), error.status_code, error.headers)


class Stored:
    """An entry as it lies in the store: its name, its image file's bytes and its record."""

    __slots__ = ("name", "payload", "record")

    def __init__(self, name: str, payload: bytes, record: Mapping[str, Any]) -> None:
        self.name, self.payload, self.record = name, payload, record

    @property
    def media_type(self) -> str:
        """The media type of the bytes."""
        return protocol.MEDIA_TYPES.get(suffix_of(self.payload), "application/octet-stream")


@lru_cache(maxsize=1024)
def choose_format(accept: str, stored: str) -> str | None:
    """The media type to answer in, for an Accept header and the type of the stored bytes; None if none will do.

    The stored bytes are preferred among equals, and an empty header takes everything.
    """
    ranges = _ranges(accept)
    offered = [stored, *(kind for kind in FORMATS if kind != stored)]
    weights = [_weight(kind, ranges) for kind in offered]
    best = max(weights)
    return offered[weights.index(best)] if best > 0 else None


def require_format(accept: str, stored: str) -> str:
    """As `choose_format`.

    Raises:
        Refusal: 406.
    """
    if (chosen := choose_format(accept, stored)) is None:
        raise Refusal(
            406,
            "not_acceptable",
            f"images are answered as {', '.join([*FORMATS, stored] if stored not in FORMATS else FORMATS)}, but the "
            "request accepts none of these; send another Accept header, or none",
        )
    return chosen


def _ranges(accept: str) -> dict[str, float]:
    """The media ranges of an Accept header and their weights; a part that makes no sense is left out."""
    found: dict[str, float] = {}
    for part in accept.split(",")[:_MOST_RANGES] if accept.strip() else ["*/*"]:
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                weight = _quality(value.strip())
        found[_OTHER_NAMES.get(kind, kind)] = weight
    return found


def _quality(text: str) -> float:
    """A q-value; 0 for one that makes no sense."""
    plain = text.replace(".", "", 1)
    return min(1.0, float(text)) if plain.isascii() and plain.isdecimal() else 0.0


def _weight(kind: str, ranges: Mapping[str, float]) -> float:
    """The weight of a media type: of the range that says most about it."""
    return next((ranges[one] for one in (kind, "image/*", "*/*") if one in ranges), 0.0)


def is_known(tag: str, if_none_match: str) -> bool:
    """Whether a client that sent this If-None-Match has what has this tag already."""
    if if_none_match.strip() == "*":
        return True
    return tag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))


class ImageAnswer:
    """An image as an answer: an ASGI application.

    Args:
        body: an image file's bytes; none for a 304.
        headers: as they are sent.
        status: 200 or 304.
        hold: the memory of a large body, released when it is sent; None for a small one.
    """

    __slots__ = ("_body", "_headers", "_hold", "_status")

    def __init__(self, body: bytes, headers: Headers, status: int = 200, hold: "Hold | None" = None) -> None:
        self._body, self._headers, self._status, self._hold = body, headers, status, hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, in pieces if it is large, so that a slow client does not keep all of it in memory twice."""
        if self._hold is None:
            await self._send(send)
            return
        with self._hold:
            await self._send(send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        start, end = 0, len(self._body) - PIECE
        while start < end:
            piece = self._body[start : start + PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            start += PIECE
        await send({"type": "http.response.body", "body": self._body[start:] if start else self._body})


def image_headers(stored: Stored, fingerprint: str, kind: str, checksum: str) -> Headers:
    """The headers of an answer with an image, but for whether it was stored already; see `srcache.service.protocol`.

    Args:
        stored: the entry.
        fingerprint: of its recipe.
        kind: the media type of what is sent.
        checksum: of what is sent.
    """
    key, _, sample = stored.name.rpartition("-")
    words = {
        "content-type": kind,
        "etag": protocol.entity_tag(fingerprint, stored.name, checksum),
        "vary": "Accept",
        "cache-control": "private",
        protocol.KEY_HEADER.lower(): key,
        protocol.SAMPLE_HEADER.lower(): str(int(sample)),
        protocol.FINGERPRINT_HEADER.lower(): fingerprint,
        protocol.CHECKSUM_HEADER.lower(): checksum,
    }
    packed = protocol.pack_record(stored.record)
    if packed is not None:
        words[protocol.RECORD_HEADER.lower()] = packed
    return tuple((name.encode(), value.encode()) for name, value in words.items())
