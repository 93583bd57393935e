"""Connections and what they may cost: their number, the size of headers, and clients that send or read too slowly.

uvicorn has limits of its own for some of it, but not for all, and its errors are plain text. Its two protocols, on h11
and on httptools, are both taken as they are; a class on top of them looks at what comes in.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from srcache.server.heads import quicken
from srcache.service.protocol import error_document

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Protocol
else:
    _Protocol = object

HEAD_BYTES = 64 << 10
"""Bytes that a request's line and headers may have."""

REST_BYTES = 64 << 20
"""Bytes of a body that are still taken in when the request was answered without it, so that the client sees why."""

PATIENCE = 15.0
"""Seconds in which headers must be there, or the rest of a body that nobody needs."""

READING = 60.0
"""Seconds in which a client must read some of what was sent to it."""

_PHRASES = {400: "Bad Request", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class Limits(_Protocol):
    """Limits on top of a protocol of uvicorn's, one object for each connection.

    Attributes:
        most: connections that may be open at once.
    """

    most = 1000
    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _extra = 0
    """Bytes that have come of headers that are not complete, or of a body that nobody needs."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one connection too many, and begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(503, "full", "too many connections are open; try again later", "retry-after: 1\r\n")
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._unwatch()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in data, and see what it was of."""
        if self.transport.is_closing():
            return
        before = self.cycle
        was_body = before is not None and before.more_body
        super().data_received(data)
        cycle = self.cycle
        if cycle is not before:
            quicken(cycle)
        is_body = cycle is not None and cycle.more_body
        if is_body and not cycle.response_complete:
            self._extra = 0
            self._unwatch()  # the route reads this body, and has limits of its own
            return
        is_end = was_body and not is_body  # of a body that comes behind its headers, which is none of those
        self._extra = 0 if cycle is not before or is_end else self._extra + len(data)
        if self._extra > (REST_BYTES if is_body else HEAD_BYTES):
            self._refuse(431, "too_large", f"a request's headers may have {HEAD_BYTES} bytes; send fewer")
        elif self._extra:
            self._watch()
        else:
            self._unwatch()

    def pause_writing(self) -> None:
        """Begin to wait until the client reads."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(READING, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """See uvicorn; in the form of all errors."""
        self._refuse(400, "bad_request", "this is no HTTP request that can be understood; use an HTTP client")

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self.transport.abort)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, reason: str, message: str, more: str = "") -> None:
        """Answer without a request, and close; if an answer is on its way, only close."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_answer(status, reason, message, more))
        self.transport.close()


def limited(protocol: type[Any], most: int) -> type[Any]:
    """A protocol of uvicorn's, with limits.

    Args:
        protocol: `H11Protocol` or `HttpToolsProtocol`.
        most: connections that may be open at once.
    """
    return type("Limited", (Limits, protocol), {"most": most})


def http_protocol() -> type[Any]:
    """The faster of uvicorn's protocols that is installed."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    found: type[Any] = AutoHTTPProtocol
    return found


def _answer(status: int, reason: str, message: str, more: str) -> bytes:
    body = json.dumps(error_document(reason, message)).encode()
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"{more}x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
        "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
