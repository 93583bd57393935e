"""A guard around pyiqa while it makes a metric: no network, no unpickling, no code, and a list of what was loaded.

pyiqa downloads what is missing without a time-out, unpickles what it finds (`weights_only=False`), and prints. Its
loaders are therefore replaced for as long as a metric is being made, and put back whatever happens. It is meant for one
thread at a time, before any work starts.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from srcache.study.quality.pyiqa_weights import fetching, torch_folder


class AbsentFileError(Exception):
    """A file that a metric wanted to download."""


class CodeRefusedError(Exception):
    """A file that is no plain weights, or that holds code."""


@dataclass(slots=True)
class Loaded:
    """The files that were read while a metric was made, in order, each once."""

    paths: list[Path] = field(default_factory=list)

    def note(self, file: Any) -> None:
        """Remember a path, or an open file's name."""
        path = Path(str(getattr(file, "name", file)))
        if path.is_file() and path not in self.paths:
            self.paths.append(path)


@contextmanager
def guarded(*, allow_code: bool) -> Iterator[Loaded]:
    """Let pyiqa make a metric from local files only.

    Args:
        allow_code: let checkpoints be unpickled that do not load as plain weights, and TorchScript be run.

    Raises:
        AbsentFileError: it wanted to download a file.
        CodeRefusedError: a checkpoint is no plain weights, and code is not allowed.
    """
    import huggingface_hub.constants
    import pyiqa.utils.download_util
    import safetensors.torch
    import scipy.io
    import torch

    loaded = Loaded()
    pyiqa_files = pyiqa.utils.download_util
    with ExitStack() as stack:
        stack.enter_context(quiet())
        for owner, name, value in (
            (pyiqa_files, "DEFAULT_CACHE_DIR", str(torch_folder() / "pyiqa")),
            (pyiqa_files, "download_url_to_file", _refuse_download),
            (torch.hub, "download_url_to_file", _refuse_download),
            (huggingface_hub.constants, "HF_HUB_OFFLINE", True),
            (torch, "load", _weights_only(torch.load, loaded, allow_code)),
            (safetensors.torch, "load_file", _noting(safetensors.torch.load_file, loaded)),
            (scipy.io, "loadmat", _noting(scipy.io.loadmat, loaded)),
            (torch.jit, "load", _noting(torch.jit.load, loaded) if allow_code else _refuse_code),
            (torch.hub, "load", torch.hub.load if allow_code else _refuse_code),
        ):
            stack.enter_context(_replaced(owner, name, value))
        stack.enter_context(_without_network())
        yield loaded


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library prints and warns out of standard output and error."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _without_network() -> Iterator[None]:
    """No name is looked up; whoever tries gets an error at once, instead of waiting for a time-out."""
    import socket
    import urllib.request

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("the network is not used while a metric is made")

    def refuse_url(url: Any, *_: Any, **__: Any) -> NoReturn:
        raise AbsentFileError(f"a file from {getattr(url, 'full_url', url)}, which is not on this machine")

    with _replaced(socket, "getaddrinfo", refuse), _replaced(urllib.request, "urlopen", refuse_url):
        yield


def _refuse_download(url: str, dst: str, *_: Any, **__: Any) -> NoReturn:
    path = Path(dst)
    raise AbsentFileError(
        f"{path.name}, which is not in {path.parent}; this command brings it:\n  {fetching(url, path)}"
    )


def _refuse_code(what: Any, *_: Any, **__: Any) -> NoReturn:
    name = Path(str(getattr(what, "name", what))).name
    raise CodeRefusedError(f"{name}, which holds code that would be run")


def _noting(load: Callable[..., Any], loaded: Loaded) -> Callable[..., Any]:
    def noting(file: Any, *args: Any, **kwargs: Any) -> Any:
        loaded.note(file)
        return load(file, *args, **kwargs)

    return noting


def _weights_only(load: Callable[..., Any], loaded: Loaded, allow_code: bool) -> Callable[..., Any]:
    """`torch.load` with weights-only forced, whatever it is called with."""

    def load_weights(file: Any, *args: Any, **kwargs: Any) -> Any:
        loaded.note(file)
        try:
            return load(file, *args, **{**kwargs, "weights_only": True})
        except Exception as error:
            if allow_code:
                if hasattr(file, "seek"):
                    file.seek(0)
                return load(file, *args, **kwargs)
            name = Path(str(getattr(file, "name", file))).name
            reason = str(error).partition("\n")[0]
            raise CodeRefusedError(f"{name}, which cannot be read as plain weights ({reason})") from error

    return load_weights
