"""Asks an SR service from any thread and any process: every request is a future, and each process has its connections.

All waiting for the network is done by one thread for each process (`remote_session`). So a request is cut off at its
time wherever it stands, and Ctrl-C waits for nothing.
"""

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from srcache.errors import needs_extra
from srcache.service.protocol import Prefetched
from srcache.service.remote import RemoteService
from srcache.service.remote_answers import Answer, Wanted
from srcache.service.remote_session import Sent, Session
from srcache.service.token_file import read_token

_T = TypeVar("_T")


class RemoteClient:
    """Asks one service. Safe in threads, under fork and spawn, and when pickled.

    Futures raise UnavailableError where there was no answer in time, ServiceError where the answer is not what was
    asked for, and ImageError where the service cannot make this one image.

    Args:
        remote: which service, and how it is asked.

    Raises:
        ConfigError: there is no token where one was named.
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, remote: RemoteService) -> None:
        with needs_extra("httpx", "serve", "asking an SR service"):
            import httpx  # noqa: F401
        if remote.token_file is not None:
            read_token(Path(remote.token_file))
        self.remote, self._has_ended = remote, False
        self._session: Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"remote": self.remote, "_session": None, "_has_ended": False}

    def found(self, wanted: Wanted, image: Sent) -> "Future[Answer]":
        """Like `made`, but the source is sent only if the service does not have the image yet."""
        return self._submit(lambda session: session.found(wanted, image))

    def made(self, wanted: Wanted, image: Sent) -> "Future[Answer]":
        """An image, made of its source if the service does not have it."""
        return self._submit(lambda session: session.made(wanted, image))

    def ask_for(self, fingerprint: str, keys: Sequence[str], samples: Sequence[int]) -> "Future[Prefetched]":
        """Have the service make images that it knows by their keys, some time."""
        return self._submit(lambda session: session.ask_for(fingerprint, keys, samples))

    def hand_over(self, fingerprint: str, sample: int, image: Sent) -> "Future[Prefetched]":
        """Have the service make an image that is sent, some time."""
        return self._submit(lambda session: session.hand_over(fingerprint, sample, image))

    def recipes(self) -> "Future[list[dict[str, Any]]]":
        """What the service offers: a list of objects, in which nothing is checked."""
        return self._submit(lambda session: session.recipes())

    def close(self, *, for_good: bool = False) -> None:
        """Cut off what goes on, whose futures raise CancelledError, and close the connections of this process.

        A later call opens others; after `for_good` its future raises CancelledError too.
        """
        with _turn:
            session, self._session, self._has_ended = self._session, None, self._has_ended or for_good
        if session is not None:
            _close(session)

    def _submit(self, ask: Callable[[Session], Awaitable[_T]]) -> "Future[_T]":
        if self._has_ended:
            ended: Future[_T] = Future()
            ended.cancel()
            return ended
        session = self._running()
        return session.submit(lambda: ask(session))

    def _running(self) -> Session:
        """This process's session, which lives as long as this object does."""
        with _turn:
            if self._session is None or self._session.owner != os.getpid():
                if self._session is not None:
                    _INHERITED.append(self._session)
                self._session = Session(self.remote)
                weakref.finalize(self, _close, self._session)
            return self._session


def _close(session: Session) -> None:
    if session.owner == os.getpid():
        session.close()


_INHERITED: list[Session] = []
"""Sessions of a parent process, kept untouched: their sockets are the parent's, and closing them here may hang."""


class _Turn:
    """A lock between the threads of this process, and a new one in a process that was forked while it was held."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


_turn = _Turn()
