"""This machine: its devices, file systems and installed versions, for records, receipts and `srcache doctor`."""

import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from srcache.errors import DeviceError

NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "fuse.gcsfuse"}
"""File systems that lie on another machine: LMDB's maps and locks do not hold there."""

REPORTED = ("srcache", "torch", "torchvision", "numpy", "pillow", "lmdb", "qoi", "diffusers", "transformers", "timm")
"""Packages whose versions are reported."""

TRIED = ("cpu",)
"""Kinds of device on which srcache's tests have run. Whoever adds one has run those that are marked `gpu` there."""

_MOUNTS = Path("/proc/self/mounts")


def accelerators() -> list[str]:
    """The kinds of accelerator that torch finds here, such as `cuda`, `xpu` or `mps`; the one that it prefers first."""
    import torch

    preferred = torch.accelerator.current_accelerator()
    kinds = dict.fromkeys([*([preferred.type] if preferred else []), "cuda"])
    return [kind for kind in kinds if torch.get_device_module(kind).is_available()]


def resolve_device(device: str, kinds: Sequence[str] = ("cpu", "cuda"), who: str = "") -> str:
    """`auto` → the accelerator, if there is one of these kinds, else `cpu`; anything else must be there.

    Args:
        device: as torch names it, or `auto`.
        kinds: of devices, that what shall run there can run on.
        who: what shall run there, for messages.

    Raises:
        DeviceError: there is no such device here, or it is of another kind.
    """
    if "cpu" in kinds and (device == "cpu" or (device == "auto" and len(kinds) == 1)):
        return "cpu"  # without torch, which takes seconds to load
    import torch

    if device == "auto":
        return next((kind for kind in accelerators() if kind in kinds), "cpu")
    refusal = f"a device is cpu, cuda, cuda:1 or auto, but got {device!r}"
    more = " and ".join(kind for kind in kinds if kind not in ("cpu", "cuda"))
    refusal += f" ({who or 'this'} also runs on {more})" if more else ""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(refusal) from error
    if found.type not in kinds:
        raise DeviceError(refusal + (f", on which {who} does not run" if who else ""))
    if found.type == "cpu":
        return device
    module = torch.get_device_module(found.type)
    if not module.is_available():
        raise DeviceError(
            f"device {device} was asked for, but torch finds no {found.type.upper()} device here; use --device cpu"
        )
    if (found.index or 0) >= module.device_count():
        raise DeviceError(f"device {device} was asked for, but torch finds only {module.device_count()} of them")
    return device


def device_name(device: str) -> str:
    """The name of a resolved device in a record: its type, and for an accelerator its model, if torch knows it."""
    if device.startswith("cpu"):
        return device
    import torch

    ask = getattr(torch.get_device_module(torch.device(device).type), "get_device_name", None)
    return f"{device} {ask(device)}" if ask else device


def usable_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or a container's limit; 0 where nobody says."""
    if not hasattr(os, "sysconf"):
        return 0
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(machine, int(text)) if text.isdecimal() else machine


def search_path() -> tuple[tuple[str, int], ...]:
    """Where packages are looked for, and when something was last installed there: a key for what is known of them."""
    return tuple((place, _changed(place)) for place in sys.path)


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def versions() -> dict[str, str]:
    """The installed versions of Python and of the packages that can change a pixel."""
    return {"python": platform.python_version(), **_versions(search_path())}


@lru_cache(maxsize=1)
def _versions(_: tuple[tuple[str, int], ...]) -> dict[str, str]:
    found = {}
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
