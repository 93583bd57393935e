"""uvicorn, so that it ends in order: what was asked for is finished, while what is new is refused."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from srcache.server.connections import HEAD_BYTES, http_protocol, limited
from srcache.server.settings import ServerSettings
from srcache.server.site import Site

AT_ONCE = 130
"""The exit code of a process that was told twice to end."""

_STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_KEEP_ALIVE = 75
"""Seconds that a connection stays open without a request: longer than clients and proxies keep theirs."""


class WebServer(uvicorn.Server):
    """A server that answers from the start, loads its engines meanwhile, and ends in order.

    Args:
        config: see `web_config`.
        site: what it serves.
    """

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site, self._error = site, list[BaseException]()

    def serve_until_ended(self, listener: socket.socket) -> None:
        """Serve, load the engines, and end them.

        Raises:
            SrcacheError: an engine could not be loaded, or stopped.
        """
        loading = threading.Thread(target=self._load, name="srcache-load", daemon=True)
        loading.start()
        try:
            self.run([listener])
        finally:
            loading.join()
            error = self._error[0] if self._error else self._site.error
            for recipe in self._site.recipes:
                recipe.end(cancel=error is not None)
        for recipe in self._site.recipes:
            recipe.counts.check()
        if error is not None:
            raise error

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn; a signal that was handled is not raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup has it
        before = {number: signal.signal(number, self._end) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn: called ten times a second; returns whether to end."""
        if self._error or self._site.error is not None:
            self._site.is_draining = True
            return await super().on_tick(counter) or self._site.active == 0
        return await super().on_tick(counter) or (self._site.is_draining and self._site.is_idle)

    def _end(self, _number: int, _frame: object) -> None:
        if self._site.is_draining:
            os._exit(AT_ONCE)
        self._site.is_draining = True

    def _load(self) -> None:
        try:
            for recipe in self._site.recipes:
                recipe.start()
        except Exception as error:
            self._error.append(error)


def web_config(settings: ServerSettings, app: Any) -> uvicorn.Config:
    """uvicorn's settings: no log of its own, no headers that clients could forge, and limits."""
    return uvicorn.Config(
        app,
        http=limited(http_protocol(), settings.connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        h11_max_incomplete_event_size=HEAD_BYTES,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
