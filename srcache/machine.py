"""What this machine is: its devices, and the versions of what matters, for records, receipts and `doctor`."""

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from srcache.errors import DeviceError

REPORTED = ("srcache", "torch", "torchvision", "numpy", "pillow", "lmdb", "qoi")


def resolve_device(device: str) -> str:
    """`auto` → `cuda` if there is one, else `cpu`; anything else must be a device that torch knows and finds.

    Raises:
        DeviceError: there is no such device here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"a device is cpu, cuda, cuda:1 or auto, but got {device!r}") from error
    if found.type not in ("cpu", "cuda"):
        raise DeviceError(f"a device is cpu, cuda, cuda:1 or auto, but got {device!r}")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {device} was asked for, but torch finds no CUDA device here; use --device cpu")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {device} was asked for, but torch finds only {torch.cuda.device_count()} of them")
    return device


def device_name(device: str) -> str:
    """What to call a resolved device in a record: its kind, and for an accelerator its model."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}"


def versions() -> dict[str, str]:
    """Python's version and those of the packages that can move a pixel, as installed."""
    found = {"python": platform.python_version()}
    for package in REPORTED:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
