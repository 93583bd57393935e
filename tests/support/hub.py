"""A hub for tests: a small HTTP server that speaks as much of the Hugging Face hub as `hf_hub_download` asks for."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFUSALS = {
    "gone": (404, "RepoNotFound"),
    "private": (401, "RepoNotFound"),
    "gated": (403, "GatedRepo"),
    "no-revision": (404, "RevisionNotFound"),
    "broken": (400, "Strange"),
}


def commit_of(repository: str) -> str:
    """The one commit that a repository has."""
    return hashlib.sha1(repository.encode()).hexdigest()


@dataclass
class Hub:
    """What the server has, what it refuses, and what it was asked.

    Attributes:
        files: repository → path → bytes.
        refuse: repository → a key of `REFUSALS`.
        cut: path → bytes after which the line breaks, once for each number.
        stall: a path of which half is sent and then nothing, until `go_on` is set; `stalled` says that it came to that.
        seen: (method, repository, path, first byte asked for).
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refuse: dict[str, str] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    stall: str | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[str, str, str, int]] = field(default_factory=list)
    address: str = ""

    def asked(self, method: str = "GET") -> list[tuple[str, str, int]]:
        """What was asked by a method: (repository, path, first byte)."""
        return [rest for used, *rest in ((one[0], *one[1:]) for one in self.seen) if used == method]


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub with nothing in it, at `hub.address` of this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        before, _, after = self.path.strip("/").partition("/resolve/")
        repository, (_, _, path) = before, after.partition("/")
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.hub.seen.append((self.command, repository, path, first))
        refusal = self.hub.refuse.get(repository, "gone" if repository not in self.hub.files else None)
        if refusal:
            self._refuse(*REFUSALS[refusal])
        elif path not in self.hub.files[repository]:
            self._refuse(404, "EntryNotFound")
        else:
            self._send(repository, path, self.hub.files[repository][path], first)

    def _refuse(self, status: int, word: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", word)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, repository: str, path: str, data: bytes, first: int) -> None:
        digest = hashlib.sha256(data).hexdigest()
        self.send_response(206 if first else 200)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", commit_of(repository))
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Linked-Etag", f'"{digest}"')
        self.send_header("Accept-Ranges", "bytes")
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if self.command == "GET":
            self._body(path, data[first:])

    def _body(self, path: str, data: bytes) -> None:
        cuts = self.hub.cut.get(path)
        if cuts:
            self.wfile.write(data[: cuts.pop(0)])
            self.close_connection = True
            return
        if path == self.hub.stall:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.hub.stalled.set()
            self.hub.go_on.wait(30)
            data = data[len(data) // 2 :]
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):  # the client was killed
            self.close_connection = True
