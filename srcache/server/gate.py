"""What every request passes: its id, the doors, the headers of all answers, the log, and unexpected errors."""

import json
import logging
import time
from typing import Any
from uuid import uuid4

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srcache.server.access import Doors
from srcache.server.answers import Refusal, error_answer
from srcache.server.site import Site
from srcache.service.protocol import HEALTH, METRICS, OPENAPI, PAGE, PREFETCH, READY, RECIPES, SR, STATS, is_request_id

POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of everything that is not the page."""

_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", POLICY.encode()),
]
_NAMED = frozenset({PAGE, HEALTH, READY, METRICS, OPENAPI, SR, PREFETCH, RECIPES, STATS})
_WHILE_DRAINING = frozenset({HEALTH, READY, METRICS})
_PROBES = frozenset({HEALTH, READY})
"""What machines ask for every few seconds; it is not logged."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"})

logger = logging.getLogger("srcache.server")
access_logger = logging.getLogger("srcache.server.access")


class Gate:
    """An ASGI application around another: one small layer, because every hit goes through it.

    Args:
        app: what answers.
        site: counts requests, and knows whether the server is ending.
        doors: who is let in.
        log_json: whether the access log is JSON; else it is lines.
    """

    def __init__(self, app: ASGIApp, site: Site, doors: Doors, log_json: bool = False) -> None:
        self._app, self._site, self._doors, self._log_json = app, site, doors, log_json

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
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
            seconds = time.perf_counter() - visit.began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._site.metrics.request(_route(scope["path"]), method, visit.status, seconds)
            if scope["path"] not in _PROBES and access_logger.isEnabledFor(logging.INFO):
                self._log(scope, visit, method, seconds)

    async def _answer(self, scope: Scope, receive: Receive, visit: "_Visit") -> None:
        path = scope["path"]
        self._doors.check(path, scope["scheme"], scope["headers"])
        if self._site.is_draining and path not in _WHILE_DRAINING:
            raise Refusal(
                503,
                "draining",
                "the service is ending; ask again in a moment",
                retry=5,
                headers={"Connection": "close"},
            )
        await self._app(scope, receive, visit.send)

    def _log(self, scope: Scope, visit: "_Visit", method: str, seconds: float) -> None:
        client = scope.get("client") or ("-", 0)
        said: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "client": client[0],
            "method": method,
            "path": scope["path"][:200],
            "status": visit.status,
            "bytes": visit.bytes,
            "ms": round(1000 * seconds, 1),
            "cache": scope.get("srcache.cached"),
            "id": visit.id,
        }
        if self._log_json:
            line = json.dumps(said)
        else:
            path = json.dumps(said["path"])[1:-1]
            line = f"{said['time']} {said['client']} {method} {path} {visit.status} {visit.bytes} {said['ms']}ms "
            line += f"{said['cache'] or '-'} {visit.id}"
        access_logger.info("%s", self._doors.hide(line))


class _Visit:
    """One request: its id, and what was sent of its answer."""

    __slots__ = ("_send", "began", "bytes", "id", "status")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self.began = time.perf_counter()
        self.status = self.bytes = 0
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
        self.id = given if is_request_id(given) else uuid4().hex

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            there = {name for name, _ in headers}
            headers += [pair for pair in _SECURITY if pair[0] not in there]
            headers.append((b"x-request-id", self.id.encode()))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
        await self._send(message)

    async def end(self, refusal: Refusal, scope: Scope, receive: Receive) -> None:
        """Answer with an error, unless an answer has begun: then the connection is cut, for its end would be wrong."""
        if self.status:
            raise ConnectionAbortedError(refusal.reason)
        await error_answer(refusal)(scope, receive, self.send)


def _route(path: str) -> str:
    """A path as metrics count it: few different ones, whatever clients ask for."""
    if path in _NAMED:
        return path
    if path.startswith(f"{SR}/"):
        return f"{SR}/{{key}}"
    return "/page" if path.startswith("/page/") else "other"
