"""An SR service in a thread, made of http.server alone, that can be told to answer wrongly.

Its images are those that `build` would store, so that a client's results can be compared byte by byte.
"""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from srcache.engine.registry import open_engine
from srcache.errors import ImageError
from srcache.images import decode_both, suffix_of
from srcache.keys import entry_name, image_key, pixel_key
from srcache.recipe.recipe import Recipe
from srcache.service import protocol
from srcache.service.requests import make_request
from srcache.service.service import ServiceSettings, SRService
from srcache.stores import open_store

Act = Callable[["Handler", dict[str, Any]], bool]
"""Called before an answer with what is asked; returns whether it has answered itself."""


class FakeService:
    """What the handlers share.

    Attributes:
        asked: the requests that came, (method, path).
        act: what to do instead of answering; None answers as it should be.
        change: changes an answer, a dict of status, headers and body, before it is sent.
        token: that every request must bring; None for none.
        most: the most requests that were being answered at a time.
        known: bytes of images by key that prefetch knows.
    """

    def __init__(self, recipes: list[Recipe], codec: str = "qoi") -> None:
        self.recipes = {recipe.fingerprint: recipe for recipe in recipes}
        self.store = open_store("memory", Path("fake"), writable=True)
        self.services = {
            recipe.fingerprint: SRService(
                open_engine(recipe.engine, recipe.setup("cpu")),
                recipe,
                self.store if number == 0 else open_store("memory", Path(f"fake{number}"), writable=True),
                ServiceSettings(codec=codec),
            )
            for number, recipe in enumerate(recipes)
        }
        self.asked: list[tuple[str, str]] = []
        self.act: Act | None = None
        self.change: Callable[[dict[str, Any]], None] | None = None
        self.token: str | None = None
        self.known: dict[str, bytes] = {}
        self.url, self.headers = "", list[dict[str, str]]()
        self._now, self.most = 0, 0
        self.lock = threading.Lock()

    @property
    def counts(self) -> Counter[str]:
        """How often each path was asked for, keys left out."""
        return Counter(f"{method} {path if len(path) < 30 else '/v1/sr/KEY'}" for method, path in self.asked)

    def made(self, recipe: Recipe, key: str, sample: int, data: bytes) -> Any:
        """An entry, made if it is not there."""
        service = self.services[recipe.fingerprint]
        served = service.submit(make_request(key, decode_both(data), recipe, sample)).result(30)
        return served.failure or self.entry(recipe, key, sample)

    def entry(self, recipe: Recipe, key: str, sample: int) -> tuple[str, bytes, dict[str, Any]] | None:
        """(name, payload, record) of what is stored."""
        store, name = self.services[recipe.fingerprint]._store, entry_name(key, sample)
        if (payload := store.get(name)) is None and (file := store.resolve(key)) is not None:
            name = entry_name(file, sample)
            payload = store.get(name)
        return None if payload is None else (name, payload, store.record(name) or {})

    @contextmanager
    def busy(self):
        with self.lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self.lock:
                self._now -= 1


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    fake: FakeService

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked |= {"method": method, "path": parts.path}
        asked["body"] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fake.asked.append((method, parts.path))
        self.fake.headers.append(dict(self.headers))
        with self.fake.busy():
            if self.fake.act is not None and self.fake.act(self, asked):
                return
            try:
                answer = self._made(asked)
            except ImageError as error:
                answer = refusal(415, error.reason, str(error))
        if self.fake.change is not None:
            self.fake.change(answer)
        self.send(answer)

    def send(self, answer: dict[str, Any]) -> None:
        """Send a status, headers and a body."""
        try:
            self.send_response(answer["status"])
            for name, value in {"Content-Length": str(len(answer["body"])), **answer["headers"]}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer["body"])
        except OSError:
            self.close_connection = True

    def _made(self, asked: dict[str, Any]) -> dict[str, Any]:
        fake, path = self.fake, asked["path"]
        if fake.token is not None and self.headers.get("Authorization") != f"Bearer {fake.token}":
            return refusal(401, "no_token", "a token is needed")
        if path == protocol.READY:
            return document({"ok": True})
        if path == protocol.RECIPES:
            return document({"recipes": [protocol.offered_recipe(one) for one in fake.recipes.values()]})
        if path == protocol.PREFETCH and self.headers["Content-Type"] == "application/json":
            return self._prefetched(json.loads(asked["body"]))
        recipe = fake.recipes.get(asked.get("recipe", next(iter(fake.recipes))))
        if recipe is None:
            return refusal(404, "no_recipe", "there is no such recipe")
        sample = int(asked.get("sample", 0))
        if asked["method"] == "GET":
            found = fake.entry(recipe, path.rpartition("/")[2], sample)
            return image(recipe, found, protocol.HIT) if found else refusal(404, "not_stored", "not there")
        data = asked["body"]
        key = pixel_key(decode_both(data).rgb) if asked.get("as") else image_key(data)
        found, cached = fake.entry(recipe, key, sample), protocol.HIT
        if found is None:
            found, cached = fake.made(recipe, key, sample, data), protocol.MISS
        if not isinstance(found, tuple):
            return refusal(422, found.reason, found.detail)
        if path == protocol.PREFETCH:
            return document({"stored": 1, "queued": 0, "failed": {}, "unknown": [], "key": key}, 202)
        return image(recipe, found, cached)

    def _prefetched(self, wanted: dict[str, Any]) -> dict[str, Any]:
        fake, counts, unknown, failed = self.fake, Counter[str](), list[str](), Counter[str]()
        recipe = fake.recipes[wanted["recipe"]]
        for key in wanted["keys"]:
            for sample in wanted.get("samples", [0]):
                if fake.entry(recipe, key, sample):
                    counts["stored"] += 1
                elif key in fake.known:
                    made = fake.made(recipe, key, sample, fake.known[key])
                    counts["queued"] += isinstance(made, tuple)
                    failed.update([] if isinstance(made, tuple) else [made.reason])
                elif key not in unknown:
                    unknown.append(key)
        answer = {"stored": counts["stored"], "queued": counts["queued"], "failed": failed, "unknown": unknown}
        return document(answer, 202)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._open: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what tests are about."""

    def cut(self) -> None:
        """End every connection."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def image(recipe: Recipe, found: tuple[str, bytes, dict[str, Any]], cached: str) -> dict[str, Any]:
    """The answer with an image."""
    name, payload, record = found
    key, _, sample = name.rpartition("-")
    headers = {
        "Content-Type": protocol.MEDIA_TYPES[suffix_of(payload)],
        protocol.KEY_HEADER: key,
        protocol.SAMPLE_HEADER: str(int(sample)),
        protocol.FINGERPRINT_HEADER: recipe.fingerprint,
        protocol.CHECKSUM_HEADER: protocol.checksum_of(payload),
        protocol.CACHE_HEADER: cached,
    }
    if (packed := protocol.pack_record(record)) is not None:
        headers[protocol.RECORD_HEADER] = packed
    return {"status": 200, "headers": headers, "body": payload}


def document(plain: Any, status: int = 200) -> dict[str, Any]:
    """The answer with a JSON document."""
    body = json.dumps(plain).encode()
    return {"status": status, "headers": {"Content-Type": "application/json"}, "body": body}


def refusal(status: int, reason: str, message: str, **headers: str) -> dict[str, Any]:
    """The answer with an error."""
    answer = document(protocol.error_document(reason, message), status)
    answer["headers"].update(headers)
    return answer


@contextmanager
def fake_service(*recipes: Recipe, codec: str = "qoi", port: int = 0, tls: tuple[Path, Path] | None = None):
    """A running service, which ends with the context; `tls`: certificate and key."""
    fake = FakeService(list(recipes), codec)
    server = _Server(("127.0.0.1", port), type("Bound", (Handler,), {"fake": fake}))
    fake.url = f"http://127.0.0.1:{server.server_port}"
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        fake.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.cut()
        server.server_close()
        thread.join()
        for service in fake.services.values():
            service.close()
