"""One process's connections to an SR service, in the event loop of a thread of their own.

A try that failed in a way that may pass is repeated after a pause: some times where a fallback is served instead, and
until the time is over where none is. A service that fails again and again is not asked for a while (see `Breaker`).
"""

import asyncio
import json
import os
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from srcache.errors import ConfigError, ImageError, ServiceError, UnavailableError
from srcache.service import protocol
from srcache.service.protocol import Prefetched
from srcache.service.remote import RemoteService
from srcache.service.remote_answers import Answer, Passing, Wanted, prefetched, read_answer, read_document, refuse
from srcache.service.remote_tries import Breaker, pause
from srcache.service.token_file import read_token

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

_T = TypeVar("_T")

_CONNECT = 5.0
"""Seconds for a connection to come about."""

_KEPT = 4.0
"""Seconds that an unused connection is kept: less than uvicorn keeps it, so that we are the ones who end it."""

_FEW_TRIES, _TRIES = 5, 8
"""Tries where a fallback is served instead; and where none is, but the service has never answered yet."""

_END = 5.0
"""Seconds to wait for the end of what goes on."""

_ANY = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An image that is sent to be made: where its bytes come from, and whether it stands for an image in memory.

    `data` may take a while: it is called in a thread, when it is the image's turn.
    """

    data: Callable[[], bytes]
    as_pixels: bool = False


class Session:
    """Connections, and the thread that waits for them. Belongs to the process that made it.

    Args:
        remote: which service, and how.

    Attributes:
        owner: the process.
        loop: where the methods that are coroutines run.
    """

    def __init__(self, remote: RemoteService) -> None:
        self._remote, self._token = remote, _token_of(remote)
        self._client = _connections(remote)
        self.owner, self.loop = os.getpid(), asyncio.new_event_loop()
        self._slots, self._breaker, self._has_answered = asyncio.Semaphore(remote.batch), Breaker(), False
        self._closing, self._is_closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._run, name="srcache-remote", daemon=True)
        self._thread.start()

    def submit(self, ask: "Callable[[], Awaitable[_T]]") -> "Future[_T]":
        """Have a request made; from any thread. See `patiently`. In a closed session the future is a cancelled one."""
        with self._closing:  # so that what is submitted before the end is cut off by it, and nothing comes after
            if not self._is_closed:
                return asyncio.run_coroutine_threadsafe(self.patiently(ask), self.loop)
        ended: Future[_T] = Future()
        ended.cancel()
        return ended

    def close(self) -> None:
        """Cut off what goes on, close the connections, and end the thread; closing twice is harmless."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        if threading.current_thread() is not self._thread:  # the garbage collector may call from anywhere
            self._thread.join(_END)

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _end(self) -> None:
        await self._cut_off()
        await self._client.aclose()
        await self.loop.shutdown_asyncgens()
        await self._cut_off()
        await self.loop.shutdown_default_executor()
        self.loop.call_soon(self.loop.stop)

    async def _cut_off(self) -> None:
        """Cancel all that goes on, and what comes of that, until nothing is left."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    async def patiently(self, ask: "Callable[[], Awaitable[_T]]") -> _T:
        """The result of a request, which is made when it is its turn, and made again where that may help.

        Raises:
            UnavailableError: there was no answer in time, or nothing is asked at the moment.
            ServiceError: the answer is no such thing.
            ImageError: the service cannot make this image.
        """
        async with self._slots:
            is_probe = self._breaker.enter()
            try:
                if is_probe:
                    await self._require_ready()
                result = await self._tried(ask, 1 if is_probe else _ANY)
            except UnavailableError as error:
                self._breaker.failed(str(error), is_probe)
                raise
            except (ServiceError, ImageError):
                self._breaker.succeeded()
                raise
            except BaseException:
                self._breaker.abandoned(is_probe)
                raise
            self._breaker.succeeded()
            return result

    async def _tried(self, ask: "Callable[[], Awaitable[_T]]", most: int) -> _T:
        deadline, tries, last = self.loop.time() + self._remote.timeout, 0, ""
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    result = await ask()
            except TimeoutError as error:
                raise UnavailableError(
                    f"{self._title} has not answered within {self._remote.timeout:g} s{last}"
                ) from error
            except Passing as passing:
                tries, last = tries + (passing.asked is None), f" ({passing})"
                wait = pause(max(tries, 1), passing.asked)
                if tries >= min(most, passing.most, self._most_tries) or self.loop.time() + wait >= deadline:
                    raise passing.final(f"{self._title}: {passing}") from passing
            except ServiceError as error:
                raise type(error)(f"{self._title}: {error}") from error
            else:
                self._has_answered = True
                return result
            await asyncio.sleep(wait)

    @property
    def _most_tries(self) -> int:
        if self._remote.fallback != "raise":
            return _FEW_TRIES
        return _ANY if self._has_answered else _TRIES

    @property
    def _title(self) -> str:
        return f"the SR service at {self._remote.url}"

    async def found(self, wanted: Wanted, image: Sent) -> Answer:
        """Like `made`, but the source is sent only if the service does not have the image yet."""
        query = {protocol.RECIPE: wanted.fingerprint, protocol.SAMPLE: str(wanted.sample)}
        async with self._response("GET", protocol.image_path(wanted.key), query) as response:
            if response.status_code != 404:
                await self._require(response, 200)
                return await read_answer(response, wanted)
        return await self.made(wanted, image)

    async def made(self, wanted: Wanted, image: Sent) -> Answer:
        """An image, made of its source if the service does not have it."""
        query = _query_of(wanted.fingerprint, wanted.sample, image)
        body = await asyncio.to_thread(image.data)
        async with self._response("POST", protocol.SR, query, body, _type_of(image)) as response:
            await self._require(response, 200)
            return await read_answer(response, wanted)

    async def ask_for(self, fingerprint: str, keys: Sequence[str], samples: Sequence[int]) -> Prefetched:
        """Have the service make images that it knows by their keys, some time."""
        asked = {"recipe": fingerprint, "keys": list(keys), "samples": list(samples)}
        body = json.dumps(asked).encode()
        async with self._response("POST", protocol.PREFETCH, {}, body, "application/json") as response:
            await self._require(response, 202)
            return prefetched(await read_document(response), keys)

    async def hand_over(self, fingerprint: str, sample: int, image: Sent) -> Prefetched:
        """Have the service make an image that is sent, some time."""
        body, query = await asyncio.to_thread(image.data), _query_of(fingerprint, sample, image)
        async with self._response("POST", protocol.PREFETCH, query, body, _type_of(image)) as response:
            await self._require(response, 202)
            return prefetched(await read_document(response), ())

    async def recipes(self) -> list[dict[str, Any]]:
        """What the service offers: a list of objects, in which nothing is checked."""
        async with self._response("GET", protocol.RECIPES, {}) as response:
            await self._require(response, 200)
            found = (await read_document(response)).get("recipes")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ServiceError("expected a list of recipes, but the answer has none")
        return found

    async def _require_ready(self) -> None:
        """Refuse to go on with a service that says itself that it is not ready, or says nothing."""
        try:
            async with asyncio.timeout(_CONNECT), self._response("GET", protocol.READY, {}) as response:
                is_ready = response.status_code < 500
        except (TimeoutError, Passing) as error:
            raise UnavailableError(f"{self._title} still does not answer ({error})") from error
        if not is_ready:
            raise UnavailableError(f"{self._title} is not ready yet")

    async def _require(self, response: "Response", status: int) -> None:
        """Raise unless an answer has this status; where only the token has changed, the next try takes the new one."""
        if response.status_code == status:
            return
        if response.status_code == 401 and self._token != (token := _token_of(self._remote)):
            self._token = token
            raise Passing("the token has changed", most=3, final=ServiceError)
        await refuse(response)

    @asynccontextmanager
    async def _response(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None, kind: str | None = None
    ) -> "AsyncIterator[Response]":
        """An answer whose body is still to be read."""
        import httpx

        headers = {"Accept": "application/json" if path in (protocol.RECIPES, protocol.PREFETCH) else "image/*"}
        headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= {"Content-Type": kind} if kind else {}
        try:
            request = self._client.build_request(method, path, params=query, headers=headers, content=body)
            response = await self._client.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _failure_of(error) from error


def _token_of(remote: RemoteService) -> str | None:
    return None if remote.token_file is None else read_token(Path(remote.token_file))


def _query_of(fingerprint: str, sample: int, image: Sent) -> dict[str, str]:
    pixels = {protocol.AS: protocol.PIXELS} if image.as_pixels else {}
    return {protocol.RECIPE: fingerprint, protocol.SAMPLE: str(sample), **pixels}


def _type_of(image: Sent) -> str:
    return "image/png" if image.as_pixels else "application/octet-stream"


def _connections(remote: RemoteService) -> "AsyncClient":
    """The connections to a service, none of which is open yet.

    Raises:
        ConfigError: the file with certificates cannot be used.
    """
    import httpx

    trusted: ssl.SSLContext | bool = True
    if remote.ca_file is not None:
        try:
            trusted = ssl.create_default_context(cafile=str(remote.ca_file))
        except OSError as error:
            raise ConfigError(f"ca_file {remote.ca_file} has no certificates that can be read ({error})") from error
    return httpx.AsyncClient(
        base_url=remote.url,
        headers={"User-Agent": "srcache", "Accept-Encoding": "identity"},
        verify=trusted,
        trust_env=not remote.is_near,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=_CONNECT),
        limits=httpx.Limits(
            max_connections=remote.batch, max_keepalive_connections=remote.batch, keepalive_expiry=_KEPT
        ),
    )


def _failure_of(error: Exception) -> Exception:
    """A failed connection as one that may come about later, or as one that never will."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ServiceError(
                f"its certificate is not trusted ({cause.verify_message or cause}); give the certificates that it is "
                "signed by as ca_file="
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return ServiceError("it does not speak TLS at this port; is its address http:// ?")
        cause = cause.__cause__ or cause.__context__
    return Passing(f"no answer ({str(error) or type(error).__name__})")
