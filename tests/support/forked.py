"""Programs as forked children of one process that serves all processes of a run of the tests (see `forker`).

`started("srcache_cli.main:main", ["build", …], stdout=file, stderr=file, loads=ENGINES).wait(60)` is an exit code.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from srcache.files import brief_lock
from srcache.files.locks import ForkLock

COMMAND = "srcache_cli.main:main"
"""The command line, as the program that it is."""

ENGINES = ("engines", "srcache.fill.run", "srcache.maintain.check_process", "srcache_cli.main", "torch")
"""What every command needs that has images enlarged."""


class Child:
    """A program that was started, with what `subprocess.Popen` has of the same names."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None if it still runs."""
        if self.returncode is None and (code := _ask({"status": self.pid})) is not None:
            self.returncode = code
            os.close(self._handle)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends; returns the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if self.returncode is None:
            ends = select.poll()
            ends.register(self._handle, select.POLLIN)
            if not ends.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it if it still runs."""
        self.send_signal(signal.SIGKILL)


def started(
    program: str,
    words: Sequence[object],
    *,
    stdout: IO[Any] | int,
    stderr: IO[Any] | int,
    loads: Sequence[str] = (),
    file_size: int | None = None,
    folder: str | Path | None = None,
    closed: Sequence[str] = (),
) -> Child:
    """Call a function in a child that has this process's environment.

    Args:
        program: `module:function`; one that is called main finds its words in `sys.argv`, another is called with them.
        words: the program's.
        stdout, stderr: open files that it writes to.
        loads: modules that are loaded once, in the process that is forked.
        file_size: how many bytes a file of its may have.
        folder: that it is in; this process's if left out.
        closed: which of stdout and stderr it finds closed.
    """
    order = {"start": program, "words": [str(word) for word in words], "loads": list(loads), "file_size": file_size}
    order |= {"given": not program.endswith(":main"), "environment": dict(os.environ)}
    order |= {"folder": str(folder or os.getcwd()), "closed": list(closed)}
    files = [file if isinstance(file, int) else file.fileno() for file in (stdout, stderr)]
    return Child(_ask(order, files))


def stop() -> None:
    """Leave; whoever started the process that is forked waits for its end."""
    if found := _connections.pop(os.getpid(), None):
        found.shutdown(socket.SHUT_RDWR)  # whatever else holds it, such as a worker that was forked
        found.close()
    if _process:
        _process.pop().wait()


_connections: dict[int, socket.socket] = {}
"""By process: one that was forked takes its own."""

_asking = ForkLock()
_process: list["subprocess.Popen[bytes]"] = []


def _ask(order: dict[str, Any], files: Sequence[int] = ()) -> Any:
    with _asking:
        if os.getpid() not in _connections:
            _connections[os.getpid()] = _connected()
        connection = _connections[os.getpid()]
        socket.send_fds(connection, [json.dumps(order).encode()], list(files))
        return json.loads(connection.recv(1 << 16))


def _connected() -> socket.socket:
    """A connection to the process that is forked, which is started if no other process has done so."""
    shared = Path(os.environ["SRCACHE_TESTS_SHARED"])
    place = f"@{shared}/forker"
    with brief_lock(shared / "engines"):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            client.connect(place.replace("@", "\0", 1))
        except ConnectionRefusedError:
            words = [sys.executable, str(Path(__file__).with_name("forker.py")), place]
            _process.append(subprocess.Popen(words, stdout=subprocess.PIPE))
            with _process[0].stdout as said:  # type: ignore[union-attr]
                assert said.readline() == b"ready\n"
            client.connect(place.replace("@", "\0", 1))
    return client
