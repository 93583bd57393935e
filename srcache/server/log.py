"""The access log: one line or one JSON object for each request.

Lines are written by a thread, some tenths of a second later and many at once: a request is not held up by the disk, nor
the server by a reader of its log that has stopped. If too many wait, the oldest are left out, and their number is said.
"""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TextIO

_MOST = 100_000
_EVERY = 0.2
"""Seconds between two looks at what waits."""


class Line(NamedTuple):
    """What is said of a request: seconds since 1970, the client's address, and so on to its id."""

    time: float
    client: str
    method: str
    path: str
    status: int
    bytes: int
    milliseconds: float
    cache: str | None
    id: str


class AccessLog:
    """Writes lines in a thread of its own; a context manager, which writes what is left at its end.

    Args:
        as_json: JSON objects instead of lines.
        hide: takes secrets out of a line.
        stream: where to write; None for stderr.
    """

    def __init__(self, as_json: bool, hide: Callable[[str], str], stream: TextIO | None = None) -> None:
        self._text = _as_json if as_json else _as_line
        self._hide, self._stream = hide, stream or sys.stderr
        self._waiting: deque[Line] = deque(maxlen=_MOST)
        self._noted = self._written = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="srcache-log", daemon=True)

    def __enter__(self) -> "AccessLog":
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._end.set()
        self._thread.join(5)

    def note(self, line: Line) -> None:
        """Have a line written."""
        self._waiting.append(line)
        self._noted += 1

    def _run(self) -> None:
        while not self._end.wait(_EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        lines: list[str] = []
        while self._waiting:
            lines.append(self._hide(self._text(self._waiting.popleft())))
        self._written += len(lines)
        if lines:
            lost = self._noted - self._written - len(self._waiting)
            if lost > 0:
                self._written += lost
                lines.append(f"{lost} lines were left out")
            self._stream.write("\n".join([*lines, ""]))
            self._stream.flush()


def _as_line(line: Line) -> str:
    at, client, method, path, status, count, taken, cache, request = line
    return f"{_second(int(at))}Z {client} {method} {_plain(path)} {status} {count} {taken}ms {cache or '-'} {request}"


def _as_json(line: Line) -> str:
    return json.dumps({**line._asdict(), "time": f"{_second(int(line.time))}.{int(line.time % 1 * 1000):03d}Z"})


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


@lru_cache(maxsize=1024)
def _plain(path: str) -> str:
    """A path in which nothing ends a line, or is invisible."""
    return json.dumps(path)[1:-1]
