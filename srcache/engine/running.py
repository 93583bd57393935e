"""Where and how an engine's calls run: on its own device, in whatever thread, and compiled for as many shapes as come.

An engine is opened in one thread and called in another, and torch keeps both the current device and the limits of its
compiler for each thread. So an engine enters these at every call, and not once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

COMPILED_SHAPES = 1000
"""How many shapes may be compiled in one process; torch's own limits are meant for shapes that change by mistake."""


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Make a device the current one of this thread: streams, graphs and kernels belong to it, not to the first one.

    Args:
        device: as torch names it, such as `cuda:1`; nothing changes for `cpu`, or for an accelerator without a number.
    """
    if device.startswith("cpu"):
        yield
        return
    import torch

    place = torch.device(device)
    if place.index is None or place.type == "meta":
        yield
        return
    with torch.accelerator.device_index(place.index):
        yield


def allow_many_shapes() -> None:
    """Raise the limits of torch's compiler, in the thread that calls: each shape is compiled by itself."""
    import torch

    limits = torch._dynamo.config
    if limits.recompile_limit < COMPILED_SHAPES:
        limits.recompile_limit = COMPILED_SHAPES
    if limits.accumulated_recompile_limit < COMPILED_SHAPES:
        limits.accumulated_recompile_limit = COMPILED_SHAPES
