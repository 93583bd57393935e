"""How many images fit into a GPU's memory."""

import sys
from collections.abc import Callable

_SHARE = 0.8
"""Of the free memory that a batch may take; the rest is for what does not grow evenly, and for results on their way."""
Gauge = Callable[[Callable[[], object]], tuple[int, int]]
"""Makes a call; returns the bytes that it took at its worst, and those that were free before."""


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


def fitting(width: int, taken: int, free: int) -> int:
    """`width`, halved until so many images, each of which takes `taken` bytes, fit into `free` bytes; at least 1."""
    while width > 1 and width * taken > _SHARE * free:
        width //= 2
    return width


def _empty_device_cache() -> None:
    """Give back what a call left in torch's cache on the device; it may be in pieces of a wrong size."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
