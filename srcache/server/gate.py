"""What every request passes: its id, the doors, the headers of all answers, the log, and unexpected errors."""

import itertools
import logging
import time
from collections.abc import Callable
from uuid import uuid4

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srcache.server.access import Doors
from srcache.server.answers import Refusal, error_answer
from srcache.server.headers import read_headers, said, with_security
from srcache.server.log import Line
from srcache.server.site import Site
from srcache.service.protocol import HEALTH, METRICS, OPENAPI, PAGE, PREFETCH, READY, RECIPES, SR, STATS, is_request_id

_NAMED = frozenset({PAGE, HEALTH, READY, METRICS, OPENAPI, SR, PREFETCH, RECIPES, STATS})
_WHILE_DRAINING = frozenset({HEALTH, READY, METRICS})
_PROBES = frozenset({HEALTH, READY})
"""What machines ask for every few seconds; it is not logged."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"})
_IMAGES, _PAGES = f"{SR}/", "/page/"

_RUN, _numbers = uuid4().hex[:20], itertools.count()
"""Ids of requests are this, which is another one in each run, and a number."""

logger = logging.getLogger("srcache.server")


class Gate:
    """An ASGI application around another: one small layer, because every hit goes through it.

    Args:
        app: what answers; it may raise a `Refusal`.
        site: counts requests, and knows whether the server is ending.
        doors: who is let in.
        log: gets a line for each request.
    """

    def __init__(self, app: ASGIApp, site: Site, doors: Doors, log: Callable[[Line], None]) -> None:
        self._app, self._site, self._doors, self._log = app, site, doors, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await _live(scope, receive, send)
            return
        visit = _Visit(scope, send)
        self._site.active += 1
        try:
            await self._answer(scope, receive, visit)
        except Refusal as refusal:
            await visit.end(refusal, scope, receive)
        except ClientDisconnect:
            visit.status = visit.status or 499
        except Exception:
            logger.exception("request %s ended with an error that nobody expected; this is a bug in srcache", visit.id)
            words = "the service met an error that nobody expected; its log says more under this request's id"
            await visit.end(Refusal(500, "internal", words), scope, receive)
        finally:
            self._site.active -= 1
            self._note(scope, visit)

    async def _answer(self, scope: Scope, receive: Receive, visit: "_Visit") -> None:
        path, headers = scope["path"], read_headers(scope)
        if b"x-request-id" in headers and is_request_id(given := said(scope, b"x-request-id")):
            visit.id = given
        self._doors.check(path, scope["scheme"], headers)
        if self._site.is_draining and path not in _WHILE_DRAINING:
            words = "the service is ending; ask again in a moment"
            raise Refusal(503, "draining", words, retry=5, headers={"Connection": "close"})
        await self._app(scope, receive, visit.send)

    def _note(self, scope: Scope, visit: "_Visit") -> None:
        """Count and log a request."""
        path, seconds = scope["path"], time.perf_counter() - visit.began
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._site.metrics.request(_route(path), method, visit.status, seconds)
        if path not in _PROBES:
            client, cache = scope.get("client"), scope.get("srcache.cached")
            milliseconds = round(1000 * seconds, 1)
            self._log(
                Line(time.time(), client[0] if client else "-", method, path[:200], visit.status, visit.bytes,
                     milliseconds, cache, visit.id)
            )  # fmt: skip


class _Visit:
    """One request: its id, and what was sent of its answer."""

    __slots__ = ("_is_page", "_send", "began", "bytes", "id", "status")

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.perf_counter()
        self.status = self.bytes = 0
        self.id = f"{_RUN}{next(_numbers):012x}"
        self._send = send
        self._is_page = scope["path"] == PAGE or scope["path"].startswith(_PAGES)

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = with_security(message["headers"], self._is_page)
            headers.append((b"x-request-id", self.id.encode()))
            message["headers"] = headers
        else:
            self.bytes += len(message["body"])
        await self._send(message)

    async def end(self, refusal: Refusal, scope: Scope, receive: Receive) -> None:
        """Answer with an error, unless an answer has begun: then the connection is cut, for its end would be wrong."""
        if self.status:
            raise ConnectionAbortedError(refusal.reason)
        await error_answer(refusal)(scope, receive, self.send)


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI's lifespan, at whose beginning and end there is nothing to do; nothing else is spoken but HTTP."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _route(path: str) -> str:
    """A path as metrics count it: few different ones, whatever clients ask for."""
    if path.startswith(_IMAGES):
        return f"{SR}/{{key}}"
    if path in _NAMED:
        return path
    return "/page" if path.startswith(_PAGES) else "other"
