"""Devices are resolved, or refused in words; versions are what is installed; file systems are those of the mounts."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from srcache import machine
from srcache.errors import DeviceError
from srcache.machine import accelerators, device_name, resolve_device, versions


class Module:
    """Stands for torch's module of a kind of accelerator, of which there are so many."""

    def __init__(self, count=1):
        self._count = count

    def is_available(self):
        return self._count > 0

    def device_count(self):
        return self._count


@pytest.fixture
def has(monkeypatch):
    """A function: torch prefers an accelerator of a kind, and finds so many of it."""
    ask = torch.get_device_module

    def put(kind, count=1):
        preferred = torch.device(kind) if kind else None
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: preferred)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda" and count > 0)
        monkeypatch.setattr(torch, "get_device_module", lambda name: Module(count) if name == kind else ask(name))

    return put


def test_auto_takes_an_accelerator_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_auto_takes_any_kind_that_what_shall_run_runs_on(kind, has):
    has(kind)
    assert accelerators() == [kind]
    assert resolve_device("auto", ("cpu", "cuda", "mps", "xpu")) == kind
    assert resolve_device(kind, ("cpu", kind)) == kind
    assert resolve_device("auto") == "cpu", "training and SeeSR do not run there"
    with pytest.raises(DeviceError, match=f"but got '{kind}', on which engine e does not run"):
        resolve_device(kind, who="engine e")
    has(kind, 0)
    assert (accelerators(), resolve_device("auto", ("cpu", kind))) == ([], "cpu")
    with pytest.raises(DeviceError, match=f"torch finds no {kind.upper()} device here; use --device cpu"):
        resolve_device(kind, ("cpu", kind))


def test_without_any_accelerator_in_torch_there_is_the_cpu(has):
    has(None)
    assert (accelerators(), resolve_device("auto", ("cpu", "cuda", "mps"))) == ([], "cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "meta", "mps"])
def test_what_is_no_device_here_is_refused(device):
    with pytest.raises(DeviceError, match=f"a device is cpu, cuda, cuda:1 or auto, but got '{device}'"):
        resolve_device(device)


def test_a_missing_accelerator_is_reported(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="torch finds no CUDA device here; use --device cpu"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(DeviceError, match="device cuda:2 was asked for, but torch finds only 2 of them"):
        resolve_device("cuda:2")


def test_an_accelerator_is_called_by_its_model(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Model 9")
    assert (device_name("cuda:0"), device_name("cpu")) == ("cuda:0 Model 9", "cpu")


def test_versions_are_those_of_the_installed_packages():
    found = versions()
    assert found["torch"] == version("torch")
    assert {"python", "srcache", "numpy", "pillow", "lmdb", "qoi"} <= set(found)


def test_the_innermost_mount_counts(monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("a / ext4 rw 0 0\nb /data nfs4 rw 0 0\nc /data/my\\040disk xfs rw 0 0\n")
    monkeypatch.setattr(machine, "_MOUNTS", mounts)
    found = {path: machine.file_system(Path(path)) for path in ("/", "/home/x", "/data/x", "/data/my disk/x", "/data2")}
    assert list(found.values()) == ["ext4", "ext4", "nfs4", "xfs", "ext4"]


def test_without_a_list_of_mounts_a_file_system_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_MOUNTS", tmp_path / "none")
    assert machine.file_system(tmp_path) == "unknown"


WITHOUT_TORCH = """
import sys
from srcache.machine import resolve_device
assert resolve_device("cpu") == resolve_device("auto", ("cpu",)) == "cpu"
assert "torch" not in sys.modules
"""


def test_the_cpu_is_told_without_loading_torch():
    assert subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=False).returncode == 0
