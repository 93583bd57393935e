"""Batches on an accelerator, copied one ahead on a stream of its own while the loop computes."""

from typing import TYPE_CHECKING, Any, NamedTuple

from srcache.loader.batches import Batch

if TYPE_CHECKING:
    from torch import Tensor


class Copied(NamedTuple):
    """A batch on its way to the device, and what tells that it has arrived."""

    images: "Tensor"
    labels: Any
    arrived: Any


class DeviceCopier:
    """Copies batches to a CUDA device.

    Args:
        device: where to.
        cuda: torch.cuda, or what stands for it in a test.
    """

    def __init__(self, device: Any, cuda: Any) -> None:
        self._device, self._cuda = device, cuda
        self._stream = cuda.Stream(device=device)

    def begin(self, batch: Batch) -> Copied:
        """Begin to copy a batch; its slot is not written to before that is done."""
        with self._cuda.stream(self._stream):
            images = batch.images.to(self._device, non_blocking=True)
            labels = batch.labels
            if hasattr(labels, "to"):
                labels = labels.to(self._device, non_blocking=True)
            arrived = self._cuda.Event()
            arrived.record(self._stream)
        batch.slot.busy = arrived
        return Copied(images, labels, arrived)

    def finish(self, copied: Copied) -> tuple["Tensor", Any]:
        """The batch, for the stream in use: whatever is computed there waits for the copy."""
        current = self._cuda.current_stream(self._device)
        current.wait_event(copied.arrived)
        for tensor in (copied.images, copied.labels):
            if getattr(tensor, "is_cuda", False):
                tensor.record_stream(current)  # its memory was given out on the other stream
        return copied.images, copied.labels


def open_copier(device: Any) -> DeviceCopier | None:
    """What copies to a device; None for the processor, where nothing is to be copied.

    Raises:
        DeviceError: there is no such device on this machine.
    """
    import torch

    from srcache.machine import resolve_device

    wanted = torch.device(resolve_device(str(device)))
    if wanted.type == "cpu":
        return None
    return DeviceCopier(wanted, torch.cuda)
