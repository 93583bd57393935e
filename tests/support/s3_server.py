"""An S3 service for tests: moto's server in another process, on loopback, with credentials that open nothing else."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What a client needs beside AWS_ENDPOINT_URL."""

_PROGRAM = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


class S3Server:
    """moto's server; it keeps what it is given in memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-c", _PROGRAM, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        due = time.monotonic() + 120
        while time.monotonic() < due and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=5) as answer:
                json.load(answer)
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError("moto's server did not start")

    def stop(self) -> None:
        """End the server, and all that it holds."""
        self._process.kill()
        self._process.wait()


class Gate:
    """A port that leads to another one as long as it is open; behind a closed one nobody answers."""

    def __init__(self, port: int) -> None:
        self.port, self._inner = free_port(), port
        self._door: socket.socket | None = None
        self._lines = list[socket.socket]()

    @property
    def url(self) -> str:
        """The address that clients use."""
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Let clients through."""
        self._door = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        threading.Thread(target=self._listen, args=(self._door,), daemon=True).start()

    def close(self) -> None:
        """Cut everyone off."""
        if self._door is not None:
            with suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            self._door = None
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._lines.clear()

    def _listen(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                outer, _ = door.accept()
                inner = socket.create_connection(("127.0.0.1", self._inner))
                self._lines += [outer, inner]
                for pair in ((outer, inner), (inner, outer)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for line in (source, target):
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
