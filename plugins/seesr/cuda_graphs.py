"""Faster ways to run a function of tensors: compiled, and from a CUDA graph, which one call hands to the device."""

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from srcache.weights.checkpoint import weights_folder

COMPILED_SHAPES = 1000
"""How many shapes may be compiled in one process; torch's own limits are meant for shapes that change by mistake."""

RECORDED_SHAPES = 3
"""How many recordings are kept; each holds on to the memory of a call."""


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` through torch.compile: minutes at the first call of each shape, and less time at all others.

    What is compiled is kept in the user's cache folder, by torch: per device, versions and shape. So the minutes are
    spent once on a machine.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(weights_folder().parent / "compiled"))
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, COMPILED_SHAPES)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, COMPILED_SHAPES)
    return torch.compile(function, fullgraph=True, dynamic=False)


class GraphedCallable:
    """Runs a function of tensors from CUDA graphs, one recorded for each set of shapes; those used last are kept.

    Args:
        function: of tensors on one CUDA device; it neither waits for the device nor branches on values.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._recordings: OrderedDict[tuple[torch.Size, ...], _Recording] = OrderedDict()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The result of the function."""
        shapes = tuple(tensor.shape for tensor in tensors)
        if shapes not in self._recordings:
            while len(self._recordings) >= RECORDED_SHAPES:
                self._recordings.popitem(last=False)
            self._recordings[shapes] = _Recording(self._function, tensors)
        self._recordings.move_to_end(shapes)
        return self._recordings[shapes].replay(tensors)


class _Recording:
    """One CUDA graph, with the memory of its inputs and its output."""

    def __init__(self, function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> None:
        self._inputs = [tensor.clone() for tensor in tensors]
        self._held: list[Any] = [None] * len(tensors)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(*self._inputs)  # whatever is chosen, compiled or allocated at a first call
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def replay(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Run the graph; inputs that are the same objects as at the last call are not copied again."""
        for place, tensor in enumerate(tensors):
            if self._held[place] is not tensor:
                self._inputs[place].copy_(tensor, non_blocking=True)
                self._held[place] = tensor
        self._graph.replay()
        return self._output.clone()
