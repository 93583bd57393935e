"""Faster ways to run a function of tensors: compiled, and recorded as a CUDA graph, handed over in one call."""

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from srcache.weights.checkpoint import weights_folder

MOST = 1000
"""Shapes that may be compiled in one process; torch's own limits are meant for shapes that change by mistake."""

SHAPES = 3
"""How many recordings are kept; each holds on to the memory of a call."""


def compiled(act: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`act` through torch.compile: minutes at the first call of each shape, and less time at all others.

    What is compiled is kept in the user's cache folder, by torch: per device, versions and shape. So the minutes are
    spent once on a machine.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(weights_folder().parent / "compiled"))
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, MOST)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, MOST)
    return torch.compile(act, fullgraph=True, dynamic=False)


class Captured:
    """Does what `act` does, from recordings.

    Args:
        act: a function of tensors on one CUDA device, which neither waits for the device nor branches on values.
    """

    def __init__(self, act: Callable[..., Tensor]) -> None:
        self._act = act
        self._recordings: OrderedDict[tuple[torch.Size, ...], _Recording] = OrderedDict()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The result of `act`."""
        shapes = tuple(tensor.shape for tensor in tensors)
        if shapes not in self._recordings:
            while len(self._recordings) >= SHAPES:
                self._recordings.popitem(last=False)
            self._recordings[shapes] = _Recording(self._act, tensors)
        self._recordings.move_to_end(shapes)
        return self._recordings[shapes].replayed(tensors)


class _Recording:
    def __init__(self, act: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> None:
        self._inputs = [tensor.clone() for tensor in tensors]
        self._held: list[Any] = [None] * len(tensors)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            act(*self._inputs)  # whatever is chosen, compiled or allocated at a first call
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = act(*self._inputs)

    def replayed(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Inputs that are the same objects as at the last call are not copied again."""
        for place, tensor in enumerate(tensors):
            if self._held[place] is not tensor:
                self._inputs[place].copy_(tensor, non_blocking=True)
                self._held[place] = tensor
        self._graph.replay()
        return self._output.clone()
