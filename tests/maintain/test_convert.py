"""Checkpoints taken in: run once by the engine that recognises them, and refused later if they break a promise."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from srcache.engine.interface import Setup
from srcache.engine.registry import open_engine
from srcache.errors import EngineError, MissingExtraError
from srcache.maintain import convert as work
from srcache.maintain.convert import convert
from srcache.weights.checkpoint import check_of

pytestmark = pytest.mark.medium


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)


def net(folder: Path, name: str = "compact") -> Path:
    from spandrel_nets import AURA, NETS, tensors

    one = AURA if name == "aura" else NETS[name]
    torch.save(tensors(one.home, one.arguments), folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.mark.parametrize(("name", "scale"), [("compact", 2), ("aura", 4)])
def test_a_network_that_keeps_the_promises_is_recorded_as_such(tmp_path: Path, name: str, scale: int) -> None:
    said: list[str] = []
    found = convert(net(tmp_path, name), said.append)
    assert found.check is not None
    assert (found.check.engine, found.check.scale, found.check.problem) == ("spandrel", scale, None)
    assert check_of(found.digest) == found.check
    assert len(said) == 1
    assert convert(net(tmp_path, name), said.append) == found
    assert len(said) == 1, "once"


def test_what_was_left_out_is_noted(tmp_path: Path) -> None:
    loaded = torch.load(net(tmp_path), weights_only=True)
    torch.save({**loaded, "epoch": 7}, tmp_path / "more.pth")
    assert convert(tmp_path / "more.pth").notes == (
        f"{tmp_path / 'more.pth'}: left out what is no tensor of the network: epoch",
    )


def test_a_network_that_breaks_a_promise_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srcache_plugins.spandrel.network import SpandrelNetwork

    calls = iter(range(1000))
    plain = SpandrelNetwork._call
    monkeypatch.setattr(SpandrelNetwork, "_call", lambda *args: (plain(*args) + 0.01 * next(calls)).clamp(0, 1))
    found = convert(net(tmp_path))
    assert found.check is not None
    assert "promises" in (found.check.problem or "")
    monkeypatch.undo()
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    with pytest.raises(EngineError, match=r"cannot fill a cache: .*breaks .* promises"):
        open_engine("spandrel", Setup(scale=2, weights=found.digest))


def test_tensors_that_no_engine_recognises_are_taken_in_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    found = convert(tmp_path / "a.safetensors")
    assert (found.check, found.unchecked) == (None, None)

    def lacking(name: str) -> None:
        raise MissingExtraError("spandrel", "spandrel", "running a checkpoint")

    monkeypatch.setattr(work, "_engine_for", lacking)
    assert "spandrel" in (convert(tmp_path / "a.safetensors").unchecked or "")
