"""Faster ways to run a function of tensors: compiled, and from a CUDA graph, which one call hands to the device."""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from srcache.engine.running import allow_many_shapes
from srcache.errors import EngineError
from srcache.weights.checkpoint import weights_folder

from .networks.convolutions import exact_convolutions

RECORDED = 48
"""How many recordings are kept: three functions (a UNet, both halves of a VAE) with sixteen shapes each."""


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` through torch.compile: minutes at the first call of each shape, and less time at all others.

    What is compiled is kept in the user's cache folder, by torch: per device, versions and shape. So the minutes are
    spent once on a machine. Compiled convolutions take no settings of their own, so cuDNN's are set while one runs, for
    the whole process; in a CUDA graph that is only while it is recorded.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(weights_folder().parent / "compiled"))
    made: Callable[..., Tensor] = torch.compile(function, fullgraph=True, dynamic=False)

    def run(*tensors: Tensor) -> Tensor:
        allow_many_shapes()
        with exact_convolutions():
            return made(*tensors)

    return run


class GraphMemory:
    """The recordings of an engine; those used last are kept.

    All of them compute in one piece of memory, as large as the largest needs; each has its inputs to itself. That is
    safe because they run on one stream, and a result is copied out of it before the next one runs.
    """

    def __init__(self) -> None:
        self._recordings: OrderedDict[Any, _Recording] = OrderedDict()
        self._place: tuple[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self._recordings)

    def recording(self, function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> "_Recording":
        """The recording of a function for the shapes of its inputs, made now if there is none.

        Raises:
            EngineError: nothing was recorded.
        """
        key = function, *(tensor.shape for tensor in tensors)
        if key not in self._recordings:
            while len(self._recordings) >= RECORDED:
                self._recordings.popitem(last=False)
            self._recordings[key] = self._recorded(function, tensors)
        self._recordings.move_to_end(key)
        return self._recordings[key]

    def _recorded(self, function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> "_Recording":
        """A new recording; where there is no memory for one more, the others are given up for it."""
        if self._place is None:
            self._place = torch.cuda.Stream(), torch.cuda.graph_pool_handle()  # type: ignore[no-untyped-call]
        try:
            return _Recording(function, tensors, *self._place)
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
        self._recordings.clear()
        return _Recording(function, tensors, *self._place)


class GraphedCallable:
    """Runs a function of tensors from CUDA graphs, one recorded for each set of shapes.

    Args:
        function: of tensors on the current CUDA device; it neither waits for the device nor branches on values.
        memory: for its recordings; may be that of other functions which run on the same thread.
    """

    def __init__(self, function: Callable[..., Tensor], memory: GraphMemory | None = None) -> None:
        self._function, self.memory = function, GraphMemory() if memory is None else memory

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The result of the function.

        Raises:
            EngineError: nothing was recorded.
        """
        return self.memory.recording(self._function, tensors).replay(tensors)


class _Recording:
    """One CUDA graph, with the memory of its inputs and its output."""

    def __init__(self, function: Callable[..., Tensor], tensors: tuple[Tensor, ...], stream: Any, pool: Any) -> None:
        _require_current_device(tensors)
        self._inputs = [tensor.clone() for tensor in tensors]
        self._held: list[Any] = [lambda: None] * len(tensors)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            expected = function(*self._inputs)  # whatever is chosen, compiled or allocated at a first call
        torch.cuda.current_stream().wait_stream(stream)
        expected = expected.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)
        self._output.fill_(float("nan"))
        self._graph.replay()
        _require_result(self._output, expected)

    def replay(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Run the graph; inputs that are the same objects as at the last call are not copied again."""
        for place, tensor in enumerate(tensors):
            if self._held[place]() is not tensor:
                self._inputs[place].copy_(tensor, non_blocking=True)
                self._held[place] = weakref.ref(tensor)
        self._graph.replay()
        return self._output.clone()


def _require_current_device(tensors: tuple[Tensor, ...]) -> None:
    """Refuse to record for a device that is not the current one: the graph would be empty.

    Raises:
        EngineError: a tensor is elsewhere.
    """
    current = torch.cuda.current_device()
    places = sorted({str(tensor.device) for tensor in tensors if tensor.device.index != current})
    if places:
        raise EngineError(
            f"a CUDA graph was to be recorded on {', '.join(places)}, but cuda:{current} is this thread's current "
            "device; call the engine within `srcache.engine.on_device`"
        )


def _require_result(found: Tensor, expected: Tensor) -> None:
    """Refuse a graph that leaves its output as it was before: it was filled with values that are no numbers.

    Raises:
        EngineError: nothing was recorded.
    """
    if bool(found.isnan().all()) and not bool(expected.isnan().all()):
        raise EngineError(
            f"the CUDA graph that was recorded on {found.device} computes nothing; this is a fault of srcache's engine "
            "or of torch: report it, with the versions that `srcache doctor` shows"
        )
