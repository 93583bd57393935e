"""The guard: nothing downloaded, nothing unpickled, nothing printed, and everything put back."""

import io
import socket
import sys
import urllib.request
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

from srcache.errors import MachineError, WeightsError
from srcache.study.quality.pyiqa_guard import AbsentFileError, CodeRefusedError, Loaded, guarded, quiet
from srcache.study.quality.pyiqa_metrics import open_scorer

pytestmark = pytest.mark.usefixtures("no_weights")
needs_pyiqa = pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa (extra iqa) is not installed")


@needs_pyiqa
def test_the_guard_puts_everything_back():
    import torch

    before = torch.load, torch.jit.load, torch.hub.load, socket.getaddrinfo, urllib.request.urlopen
    with pytest.raises(WeightsError):
        open_scorer("stlpips", device="cpu")
    open_scorer("psnry", device="cpu")
    assert before == (torch.load, torch.jit.load, torch.hub.load, socket.getaddrinfo, urllib.request.urlopen)


class _Bomb:
    """What unpickles it, makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@needs_pyiqa
def test_a_checkpoint_that_holds_code_is_refused_and_not_run(no_weights):
    import torch

    file = no_weights / "torch/hub/pyiqa/brisque_svm_weights.pth"
    file.parent.mkdir(parents=True)
    torch.save(_Bomb(no_weights / "mark"), file)
    with pytest.raises(WeightsError, match=r"brisque needs brisque_svm_weights\.pth, .* plain weights .*--allow-code"):
        open_scorer("brisque", device="cpu")
    assert not (no_weights / "mark").exists()
    with pytest.raises(MachineError, match="brisque cannot be made"):
        open_scorer("brisque", device="cpu", allow_code=True)
    assert (no_weights / "mark").exists(), "whoever opts in gets what the checkpoint brings"


@needs_pyiqa
def test_downloads_and_the_network_are_refused_in_words(no_weights):
    import torch

    with guarded(allow_code=True):
        with pytest.raises(
            AbsentFileError, match=r"x\.pth, which is not in .*brings it:\n  curl -fL .*https://a\.b/x\.pth"
        ):
            torch.hub.download_url_to_file("https://a.b/x.pth", str(no_weights / "x.pth"))
        with pytest.raises(AbsentFileError, match=r"a file from https://a\.b/y, which is not on this machine"):
            urllib.request.urlopen("https://a.b/y")
        with pytest.raises(OSError, match="the network is not used"):
            socket.getaddrinfo("a.b", 443)


@needs_pyiqa
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_code_is_refused_unless_it_is_allowed(no_weights):
    import torch

    module, file = torch.jit.script(torch.nn.Identity()), no_weights / "m.pt"
    module.save(str(file))
    with guarded(allow_code=False), pytest.raises(CodeRefusedError, match=r"m\.pt, which holds code"):
        torch.jit.load(str(file))
    with guarded(allow_code=True) as loaded:
        torch.jit.load(str(file))
    assert loaded.paths == [file]


def test_each_file_is_noted_once_and_only_if_it_is_one(no_weights):
    loaded, file = Loaded(), no_weights / "a"
    file.touch()
    for one in (file, str(file), no_weights / "none", no_weights, io.BytesIO()):
        loaded.note(one)
    with file.open("rb") as opened:
        loaded.note(opened)
    assert loaded.paths == [file]


def test_what_a_library_prints_and_warns_is_not_seen(capsys):
    with quiet():
        sys.stdout.write("hello")
        warnings.warn("a warning is an error in these tests", stacklevel=1)
    assert capsys.readouterr().out == ""
