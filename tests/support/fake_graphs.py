"""CUDA graphs without CUDA: what is computed while one is recorded is noted, and computed again when it is replayed.

As on a GPU, a replay writes to the memory that the recording had, and reads its inputs from where they were.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeStream:
    """A stream of which nothing is asked."""

    def wait_stream(self, other: Any) -> None:
        return


class FakeGraph:
    """A graph: the operations that were called while it was recorded, with their arguments and results."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, results in self.calls:
            for kept, again in zip(results, tensors(func(*args, **kwargs)), strict=True):
                kept.copy_(again)


def tensors(found: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]


class _Notes(TorchDispatchMode):
    def __init__(self, graph: FakeGraph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self._graph.calls.append((func, args, kwargs or {}, tensors(found)))
        return found


class FakeGraphs:
    """Stands for what `cuda_graphs` asks of torch.cuda; `pools` and `streams` have what each recording was given.

    `records` can be set to False: recordings stay empty then, as on another device.
    """

    def __init__(self) -> None:
        self.pools: list[Any] = []
        self.streams: list[Any] = []
        self.records, self.device, self.out_of_memory = True, None, 0

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put everything in the place of torch.cuda's."""
        for name, stand_in in (
            ("Stream", FakeStream),
            ("current_stream", FakeStream),
            ("graph_pool_handle", object),
            ("current_device", lambda: self.device),
            ("CUDAGraph", FakeGraph),
            ("stream", self.stream),
            ("graph", self.graph),
        ):
            monkeypatch.setattr(torch.cuda, name, stand_in)

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        yield

    @contextmanager
    def graph(self, graph: FakeGraph, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        if self.out_of_memory:
            self.out_of_memory -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.pools.append(pool)
        self.streams.append(stream)
        if self.records:
            with _Notes(graph):
                yield
        else:
            yield
