"""This machine: its devices, file systems and installed versions, for records, receipts and `srcache doctor`."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from srcache.errors import DeviceError

NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.gcsfuse"}
"""File systems that lie on another machine: LMDB's maps and locks do not hold there."""

REPORTED = ("srcache", "torch", "torchvision", "numpy", "pillow", "lmdb", "qoi", "diffusers", "transformers", "timm")
"""Packages whose versions are reported."""

_MOUNTS = Path("/proc/self/mounts")


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
    """The name of a resolved device in a record: its type, and for an accelerator its model."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}"


def usable_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or a container's limit; 0 where nobody says."""
    if not hasattr(os, "sysconf"):
        return 0
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(machine, int(text)) if text.isdecimal() else machine


def versions() -> dict[str, str]:
    """The installed versions of Python and of the packages that can change a pixel."""
    found = {"python": platform.python_version()}
    for package in REPORTED:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def file_system(path: Path) -> str:
    """The type of file system that a path is on, or would be: the innermost mount's; else `unknown`."""
    real, found = Path(os.path.realpath(path)), {}
    for line in _MOUNTS.read_text(errors="replace").splitlines() if _MOUNTS.is_file() else ():
        _, point, kind, *_ = line.split(" ")
        found[Path(point.replace("\\040", " "))] = kind
    return next((found[folder] for folder in (real, *real.parents) if folder in found), "unknown")
