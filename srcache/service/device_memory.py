"""How many images fit into a GPU's memory."""

import sys
from collections.abc import Callable

Gauge = Callable[[Callable[[], object]], tuple[int, int]]
"""Makes a call; returns the peak of the bytes that it took, and those that were free before."""

_SHARE = 0.8
"""Of the free memory that a batch may take; the rest is for what does not grow evenly, and for results in flight."""


def cuda_gauge(device: str) -> Gauge | None:
    """A gauge for a resolved device; None where it is no CUDA device."""
    if not device.startswith("cuda"):
        return None

    def gauge(act: Callable[[], object]) -> tuple[int, int]:
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        free, before = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_allocated(device)
        act()
        return torch.cuda.max_memory_allocated(device) - before, free

    return gauge


def fitting(width: int, needed: Callable[[int], float], free: int) -> int:
    """`width`, halved until a batch of so many images fits into `free` bytes with something to spare; at least 1.

    Args:
        width: images per batch to begin with.
        needed: the bytes that a batch of so many images takes.
        free: bytes of free memory.
    """
    while width > 1 and needed(width) > _SHARE * free:
        width //= 2
    return width


def empty_device_cache() -> None:
    """Give back what a call left in torch's cache on the device; it may be in pieces of a wrong size."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    for kind in ("mps", "xpu"):
        if torch.get_device_module(kind).is_available():
            torch.get_device_module(kind).empty_cache()
