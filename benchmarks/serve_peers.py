"""The servers that are measured, each in a process of its own: `srcache serve`, and what it stands beside.

    bare      a Starlette handler that answers with the same bytes every time, on uvicorn with the settings of `serve`
    litserve  LitServe with the same engine, batch and deadline; it reads and writes the same image files

`python -m benchmarks.serve_peers PORT FILE TYPE` runs the bare handler.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY = 60.0
"""Seconds that a server has to answer for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs: its port on 127.0.0.1 and its process."""

    port: int
    pid: int

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stats(self) -> dict[str, Any]:
        """What `srcache serve` says of its one recipe."""
        found: dict[str, Any] = json.loads(self.get("/v1/stats")[1])["recipes"][0]
        return found

    def private(self) -> float:
        """Its private memory in MB."""
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0


@contextmanager
def srcache_server(cache: Path, recipe: Path, *options: str) -> Iterator[Server]:
    """`srcache serve` of one recipe, a YAML file."""
    port = _free_port()
    words = ["-m", "srcache_cli.main", "serve", "--cache", str(cache), "--recipe", str(recipe), "--port", str(port)]
    with _running([*words, "--device", "cpu", *options], port, "/readyz") as server:
        yield server


@contextmanager
def bare_server(payload: Path, kind: str) -> Iterator[Server]:
    """A handler that answers with the bytes of a file, of a media type."""
    port = _free_port()
    with _running(["-m", "benchmarks.serve_peers", str(port), str(payload), kind], port, "/") as server:
        yield server


@contextmanager
def litserve_server(recipe: Path, batch: int, deadline: float) -> Iterator[Server]:
    """LitServe with the engine of a recipe."""
    port = _free_port()
    words = ["-m", "benchmarks.serve_litserve", str(port), str(recipe), str(batch), str(deadline)]
    with _running(words, port, "/health") as server:
        yield server


@contextmanager
def _running(words: Sequence[str], port: int, path: str) -> Iterator[Server]:
    """A process from when it answers; at the end it and its children are ended."""
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, *words]
        limits = {**os.environ, "OMP_NUM_THREADS": "1"}  # on few cores, threads of PyTorch that wait for each other
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=limits)
        try:
            server = Server(port=port, pid=process.pid)
            if not _answers(server, process, path):
                said.seek(0)
                raise RuntimeError(
                    f"a server did not start: {command!r}\n{said.read()[-4000:].decode(errors='replace')}"
                )
            yield server
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _answers(server: Server, process: "subprocess.Popen[bytes]", path: str) -> bool:
    """Whether a server answers before its time is over."""
    until = time.monotonic() + READY
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            if server.get(path)[0] == 200:
                return True
        time.sleep(0.1)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _run_bare(port: int, payload: Path, kind: str) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    body = payload.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(body, media_type=kind)

    app = Starlette(routes=[Route("/{path:path}", answer)])
    uvicorn.run(app, port=port, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    _run_bare(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
