"""A stand-in for torch.cuda that notes what is asked of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class FakeStream:
    """A stream with a name."""

    def __init__(self, cuda: "FakeCuda", name: str) -> None:
        self._cuda, self.name = cuda, name

    def wait_event(self, event: "FakeEvent") -> None:
        self._cuda.log.append(("wait", self.name, event.number))


class FakeEvent:
    """An event with a number."""

    def __init__(self, cuda: "FakeCuda", number: int) -> None:
        self._cuda, self.number = cuda, number

    def record(self, stream: FakeStream) -> None:
        self._cuda.log.append(("record", stream.name, self.number))

    def synchronize(self) -> None:
        self._cuda.log.append(("synchronize", self.number))


class FakeCuda:
    """Stands for torch.cuda; `log` has what streams and events did, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self._events = 0

    def Stream(self, device: torch.device) -> FakeStream:  # noqa: N802
        return FakeStream(self, f"own on {device}")

    def Event(self) -> FakeEvent:  # noqa: N802
        self._events += 1
        return FakeEvent(self, self._events)

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        yield

    def current_stream(self, device: torch.device) -> FakeStream:
        return FakeStream(self, "loop")
