"""Clients of a service that cost little: each keeps a connection, and asks for the next thing when it has the last.

Client and server share the machine's cores, so a client must take little of them: no HTTP library, no task for each
request, and an answer's body is received where it stays. `python -m benchmarks.serve_load PLAN` runs a plan, a JSON
file, in a process of its own, and prints what it found as JSON.

An answer is right if it is 200, and the xxh3-64 of its body is one of those that the plan expects for its request.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from xxhash import xxh3_64_hexdigest

_FIRST = 1 << 18
"""Bytes of a connection's first buffer; it grows to the largest answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as it is sent, and the checksum that its answer's body must have (empty: any)."""

    data: bytes
    checksum: str = ""


@dataclass(slots=True, kw_only=True)
class Load:
    """What clients saw.

    Attributes:
        seconds: from the first request to the last answer that counts.
        latencies: of each answer that counts, in seconds.
        right, wrong, lost: answers; `lost` are requests whose connection ended without one.
        problems: what the first few wrong and lost ones were.
        received: bytes of bodies.
        hits: answers whose headers say that the image was stored already.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    right: int = 0
    wrong: int = 0
    lost: int = 0
    received: int = 0
    hits: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """The latency that so many of the answers have at most, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def request(method: str, path: str, body: bytes = b"", headers: Sequence[str] = ()) -> bytes:
    """A request as it is sent over a connection that is kept."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body:
        lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.BufferedProtocol):
    """One client: sends a request, receives its answer into its own buffer, and goes on with the next.

    Args:
        asks: what to ask for, in order; other clients may take from it too.
        load: where to count.
        until: when to stop asking (on `time.perf_counter`), if the requests do not end before.
        since: answers to what was asked earlier do not count as latencies; they must still be right.
    """

    def __init__(self, asks: Iterator[Ask], load: Load, until: float, since: float) -> None:
        self._asks, self._load, self._until, self._since = asks, load, until, since
        self._buffer = bytearray(_FIRST)
        self._filled = self._needed = self._body = 0
        self._head = b""
        self._asked: Ask | None = None
        self._began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come: read the head when it is complete, count the answer when its body is."""
        self._filled += nbytes
        if not self._needed and not self._read_head():
            return
        if self._filled >= self._needed:
            self._finish()

    def eof_received(self) -> None:
        """The server hung up."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; a request without an answer is lost."""
        if self._asked is not None:
            self._load.lost += 1
            self._note(f"lost: {error!r} after {time.perf_counter() - self._began:.3f} s")
        if not self.done.done():
            self.done.set_result(None)

    def _next(self) -> None:
        self._began = time.perf_counter()
        self._asked = next(self._asks, None) if self._began < self._until else None
        if self._asked is None:
            self._transport.close()
            return
        self._filled = self._needed = 0
        self._transport.write(self._asked.data)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return False
        self._head, self._body = bytes(self._buffer[:end]).lower(), end + 4
        at = self._head.find(b"\r\ncontent-length:")
        length = int(self._head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        self._needed = self._body + length
        if len(self._buffer) < self._needed:
            larger = bytearray(self._needed + _FIRST)
            larger[: self._filled] = self._buffer[: self._filled]
            self._buffer = larger
        return True

    def _finish(self) -> None:
        now, load, asked = time.perf_counter(), self._load, self._asked
        assert asked is not None
        body = memoryview(self._buffer)[self._body : self._needed]
        good = self._head.startswith(b"http/1.1 200")
        if good and (not asked.checksum or xxh3_64_hexdigest(body) == asked.checksum):
            load.right += 1
        else:
            load.wrong += 1
            self._note(f"wrong: {self._head[:60]!r}, {bytes(body[:200]) if not good else 'another image'!r}")
        load.received += len(body)
        load.hits += b"\r\nx-srcache-cache: hit" in self._head
        if self._began >= self._since:
            load.latencies.append(now - self._began)
        body.release()
        self._next()

    def _note(self, problem: str) -> None:
        if len(self._load.problems) < 10:
            self._load.problems.append(problem)


async def ask_all(port: int, queues: Sequence[Iterator[Ask]], seconds: float, warm: float = 0.0) -> Load:
    """Ask with one client for each queue, until their requests end or so many seconds have passed.

    Args:
        port: of 127.0.0.1.
        queues: what each client asks for; several may be the same iterator.
        seconds: after `warm`, when to stop asking; what was asked is still waited for.
        warm: seconds at the beginning whose answers do not count.
    """
    load = Load()
    began = time.perf_counter()
    since = began + warm
    loop = asyncio.get_running_loop()
    opened = [
        loop.create_connection(lambda queue=queue: Connection(queue, load, since + seconds, since), "127.0.0.1", port)
        for queue in queues
    ]
    clients = [client for _, client in await asyncio.gather(*opened)]
    await asyncio.gather(*(client.done for client in clients))
    load.seconds = min(time.perf_counter() - since, seconds) if load.latencies else 0.0
    return load


def run_plan(path: Path) -> Load:
    """Run a plan, a JSON file with the requests beside it, one after the other, in a file with the suffix .requests.

    The plan has `port`, `clients`, `seconds` and `warm` (see `ask_all`), and for each request its length and the
    checksum of its answer (`requests`). `shared`: clients take turns with one queue; else each goes through all
    requests, from a place of its own. `repeat`: they go round until the time is over.
    """
    plan = json.loads(path.read_text())
    with path.with_suffix(".requests").open("rb") as file:
        asks = [Ask(data=file.read(length), checksum=checksum) for length, checksum in plan["requests"]]
    clients = plan["clients"]
    if plan["shared"]:
        queues = [_round(asks, 0, plan["repeat"])] * clients
    else:
        queues = [_round(asks, len(asks) * at // clients, plan["repeat"]) for at in range(clients)]
    gc.disable()
    return asyncio.run(ask_all(plan["port"], queues, plan["seconds"], plan["warm"]))


def _round(asks: Sequence[Ask], start: int, repeat: bool) -> Iterator[Ask]:
    while True:
        yield from asks[start:]
        yield from asks[:start]
        if not repeat:
            return


if __name__ == "__main__":
    json.dump(asdict(run_plan(Path(sys.argv[1]))), sys.stdout)
