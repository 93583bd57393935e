"""The heads of answers, made of lines that were checked before: what is asked for most has the same headers each time.

uvicorn looks at every character of every header of every answer, which for a hit costs more than finding the image.
Here a header that was checked a moment ago is known. All that is not plain (an answer without a length, a connection
that ends) is left to uvicorn, and so is everything on its slower protocol, h11.
"""

from functools import lru_cache
from typing import Any

try:
    from uvicorn.protocols.http.httptools_impl import (
        HEADER_RE,
        HEADER_VALUE_RE,
        STATUS_LINE,
        RequestResponseCycle,
    )
except ImportError:  # httptools is not installed: uvicorn works with h11 then
    RequestResponseCycle = None  # type: ignore[assignment, misc]

_LEFT_TO_UVICORN = frozenset({b"connection", b"transfer-encoding"})
_KNOWN = 1024
"""Lines that are kept."""


def quicken(cycle: Any) -> None:
    """Let one of uvicorn's answers use known lines, if it is of the protocol on httptools."""
    if RequestResponseCycle is not None and type(cycle) is RequestResponseCycle:
        cycle.__class__ = QuickCycle


if RequestResponseCycle is not None:

    class QuickCycle(RequestResponseCycle):
        """uvicorn's answer to one request: its head is made of known lines, and sent with the body's beginning."""

        _head = b""

        async def send(self, message: Any) -> None:
            """See ASGI."""
            if message["type"] == "http.response.start":
                if self.response_started or not self._hold_head(message):
                    await super().send(message)
            elif self._head and not self.disconnected:
                self._send_body(message.get("body", b""), message.get("more_body", False))
            else:
                await super().send(message)

        def _hold_head(self, message: Any) -> bool:
            """Keep the head until the body comes; False if uvicorn must send it."""
            is_plain = self.keep_alive and not self.access_log and self.scope["method"] != "HEAD"
            if not is_plain or self.disconnected or self.flow.write_paused:
                return False
            lines, length = [STATUS_LINE[message["status"]]], -1
            for name, value in (*self.default_headers, *message["headers"]):
                line = _line(name, value)
                if line is None:
                    return False
                lines.append(line)
                if name == b"content-length":
                    length = int(value)
            if length < 0:
                return False
            self.response_started, self.waiting_for_100_continue = True, False
            self.chunked_encoding, self.expected_content_length = False, length
            self._head = b"".join((*lines, b"\r\n"))
            return True

        def _send_body(self, body: bytes, more: bool) -> None:
            """Send the head with the first piece of the body; how it ends is uvicorn's way."""
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the answer has not the length that its head says")
            self.transport.writelines((self._head, body))
            self._head = b""
            if not more:
                self.response_complete = True
                self.message_event.set()
                self.on_response()


@lru_cache(_KNOWN)
def _line(name: bytes, value: bytes) -> bytes | None:
    """A header as it is sent; None if uvicorn must look at it."""
    if name in _LEFT_TO_UVICORN or name != name.lower() or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        return None
    return name + b": " + value + b"\r\n"
