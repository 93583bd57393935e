"""Checkpoints: files of tensors that the user has, found by what they are, not by where they lie.

A checkpoint is adopted once: read without unpickling anything but tensors, written as safetensors into the user's cache
folder, and named by the SHA-256 of that file. Recipes name it by this digest. So a checkpoint makes the same images
wherever its file came from, and another one cannot take its place unnoticed.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.errors import DamagedError, DiskFullError, WeightsError, listed
from srcache.files import disk_errors, user_folder, write_atomic
from srcache.files.documents import Shape, parse_json
from srcache.files.folders import paths_in
from srcache.files.regular import regular_status
from srcache.files.scratch import scratch_folder
from srcache.progress import Say
from srcache.weights.disguises import disguise

if TYPE_CHECKING:
    from torch import Tensor

_DIGEST = re.compile(r"[0-9a-f]{64}")
PICKLED = frozenset({".pth", ".pt", ".pkl", ".ckpt", ".bin"})
"""Kinds of files that training programs write; read for their tensors alone."""

_INSIDE = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net", "generator")
"""Names under which training programs put the network's tensors, the preferred one first."""

_INSIDE_ONLY = ("net_g_ema", "net_g", "netG", "g_ema", "G_ema", "G")
"""Further such names, which count only where no tensors lie beside them."""

_BESIDE = "state_dict_"
"""How the names of dictionaries begin in which a training program put the tensors of several networks side by side."""

_FLAGS = {"pro": "unet1.conv1.conv.0.weight"}
"""What is no tensor and yet says which network it is, and a tensor that such networks have: Real-CUGAN's "pro" models
compute other pixels from tensors of the same names."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A checkpoint in the weights folder: SHA-256, file, size in bytes, and the name of the file that it came from."""

    digest: str
    path: Path
    bytes: int
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCheck:
    """What came of running a checkpoint once, when it was taken in: which engine runs it, at which scale, with which
    versions of packages, and which promise of engines it breaks, if any."""

    engine: str
    scale: float
    problem: str | None
    versions: Mapping[str, str]


def record_check(digest: str, check: EngineCheck) -> None:
    """Keep a check beside its checkpoint."""
    write_atomic(_check_file(digest), json.dumps(asdict(check), indent=1) + "\n")


def check_of(digest: str) -> EngineCheck | None:
    """The check that was recorded of a checkpoint; None if none was, or it does not read."""
    try:
        return EngineCheck(**parse_json(_check_file(digest).read_bytes(), _CHECK))
    except (OSError, ValueError, TypeError):
        return None


_CHECK: Shape = {"engine": str, "scale": float, "problem": (str, type(None)), "versions": {...: str}}


def _check_file(digest: str) -> Path:
    return weights_folder() / f"{digest}.check.json"


def is_digest(text: str) -> bool:
    """Whether a text has the form of a SHA-256: 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def weights_folder() -> Path:
    """Where adopted checkpoints lie."""
    return user_folder() / "weights"


def kind_of(path: Path) -> str:
    """A file's suffix in small letters: X.PTH is a `.pth`."""
    return path.suffix.lower()


def adopt(path: Path, say: Say | None = None) -> str:
    """Copy a checkpoint into the weights folder, and return its digest; one that is there already is not stored again.

    Args:
        path: a `.safetensors` file, or `.pth`, `.pt`, `.pkl`, `.ckpt` or `.bin` that holds nothing but tensors.
        say: called with a line that names what beside the network's tensors was left out, if anything was.

    Raises:
        WeightsError: it cannot be read, is of another kind, or holds more than tensors.
        DiskFullError: no room.
    """
    if kind_of(path) not in {".safetensors", *PICKLED}:
        kinds = ", ".join([".safetensors", *sorted(PICKLED)])
        raise WeightsError(f"expected a checkpoint ({kinds}), but got {path}")
    try:
        regular_status(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}; name a checkpoint's file") from error
    folder = weights_folder()
    with disk_errors(folder), scratch_folder(folder, "adopting") as work:
        copy = work / "copy"
        if kind_of(path) == ".safetensors":
            require_tensors(path)
            shutil.copyfile(path, copy)
        else:
            _convert(path, copy, say)
        return _move_in(copy, path.name)


def _move_in(file: Path, origin: str) -> str:
    """Move a file to its place in the weights folder, safe from a crash."""
    with file.open("rb+") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        os.fsync(opened.fileno())
    target = weights_folder() / f"{digest}.safetensors"
    if not target.exists():
        os.replace(file, target)
        write_atomic(target.with_suffix(".origin"), origin + "\n")
    return digest


def adopted() -> list[Adopted]:
    """What is in the weights folder, by digest."""
    found = []
    for path in paths_in(weights_folder(), "*.safetensors"):
        note = path.with_suffix(".origin")
        origin = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
        found.append(Adopted(path.stem, path, path.stat().st_size, origin))
    return found


def matching(beginning: str) -> Adopted:
    """The adopted checkpoint whose digest begins so.

    Raises:
        WeightsError: there is none, or more than one.
    """
    found = [one for one in adopted() if one.digest.startswith(beginning)]
    if len(found) != 1:
        begins = f"{len(found)} checkpoints begin" if found else "no checkpoint begins"
        raise WeightsError(f"{begins} with {beginning!r}; `srcache models list` shows what is in {weights_folder()}")
    return found[0]


def find(digest: str) -> Path:
    """The file of an adopted checkpoint, checked against its name.

    Raises:
        WeightsError: it is not on this machine.
        DamagedError: the file is not what was adopted.
    """
    path = weights_folder() / f"{digest}.safetensors"
    if is_digest(digest) and (weights_folder() / "bundles" / f"{digest}.json").is_file():
        raise WeightsError(f"weights {digest} are a bundle of several files, but one checkpoint is needed")
    if not is_digest(digest) or not path.is_file():
        raise WeightsError(
            f"no weights {digest} on this machine (looked in {path.parent}); "
            "`srcache models convert FILE` takes a checkpoint in, `srcache models fetch NAME` brings a bundle"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise DamagedError(f"{path} is not what was adopted (its SHA-256 is {found}); delete it, and convert it again")
    return path


def load_tensors(digest: str) -> "dict[str, Tensor]":
    """The tensors of an adopted checkpoint, on the CPU; raises as `find`."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = load_file(find(digest))
    return tensors


def require_tensors(path: Path) -> None:
    """Read the head of a safetensors file, to report a git-lfs pointer, an HTML page or an incomplete download.

    Raises:
        WeightsError: it is no safetensors file, is cut short, or holds no tensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        regular_status(path)
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} does not read as safetensors: {disguise(path) or f'{error}; get it again'}"
        ) from error
    if not names:
        raise WeightsError(f"{path} holds no tensors")


def _convert(path: Path, target: Path, say: Say | None) -> None:
    """Write a pickled checkpoint as safetensors; what is in it but tensors and plain containers is refused, not run."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors, dropped = _network_tensors(_load(path), path)
    if dropped and say:
        say(f"{path}: left out what is no tensor of the network: {listed(dropped)}")
    shares = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    try:
        save_file({name: _alone(tensors[name], shares) for name in sorted(tensors)}, target)
    except SafetensorError as error:
        raise DiskFullError(f"{path} could not be written as {target} ({error}); make room, and try again") from error


def _alone(tensor: "Tensor", shares: Mapping[int, int]) -> "Tensor":
    """A tensor that shares its memory with no other; not copied if it never did, for large files are many gigabytes."""
    tensor, storage = tensor.detach(), tensor.untyped_storage()
    alone = shares[storage.data_ptr()] == 1 and storage.nbytes() == tensor.nbytes and tensor.is_contiguous()
    return tensor if alone else tensor.clone().contiguous()


def _load(path: Path) -> Any:
    """What a pickled file holds; of a large one, only the tensors that are asked for are read."""
    import torch

    try:
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a third-party file can break torch's reader in any way
        if known := disguise(path):
            raise WeightsError(f"{path} cannot be read as plain tensors: {known}") from error
        raise WeightsError(
            f"{path} cannot be read as plain tensors ({_reason(error)}); get it again, or, if its author put more than "
            "tensors in it, ask for safetensors: srcache runs no code from checkpoints"
        ) from error


def _reason(error: Exception) -> str:
    """What torch's reader stumbled over, without its advice to switch the guard off."""
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {found[1]}, which would be run"
    broken = ("Weights only load failed", "PytorchStreamReader failed")
    if any(each in text for each in broken) or isinstance(error, LookupError | EOFError):
        return "it is no file that torch.save wrote, or is cut short"
    return next(iter(text.splitlines()), type(error).__name__)


def _network_tensors(loaded: Any, path: Path) -> "tuple[dict[str, Tensor], list[str]]":
    """The network's tensors, wherever the training program put them; and the names of what lay beside them."""
    if isinstance(loaded, Mapping):
        for inner in [loaded[name] for name in _INSIDE if isinstance(loaded.get(name), Mapping)]:
            return _network_tensors(inner, path)
        found = {str(name): value for name, value in loaded.items() if hasattr(value, "untyped_storage")}
        if found:
            flags = _flags(loaded, found)
            return found | flags, [str(name) for name in loaded if str(name) not in found | flags]
        only = [inner for inner in loaded.values() if isinstance(inner, Mapping)] if len(loaded) == 1 else []
        for inner in [*(loaded[name] for name in _INSIDE_ONLY if isinstance(loaded.get(name), Mapping)), *only]:
            return _network_tensors(inner, path)
        if several := _networks_tensors(loaded):
            return several, [str(name) for name in loaded if not str(name).startswith(_BESIDE)]
    keys = listed(list(map(str, loaded))) if isinstance(loaded, Mapping) else type(loaded).__name__
    raise WeightsError(f"{path} holds no named tensors; it holds: {keys}")


def _networks_tensors(loaded: Mapping[Any, Any]) -> "dict[str, Tensor]":
    """The tensors of several networks, each with its dictionary's name before its own: state_dict_unet.conv_in.bias."""
    networks = {
        str(name): inner
        for name, inner in loaded.items()
        if str(name).startswith(_BESIDE) and isinstance(inner, Mapping)
    }
    if len(networks) < 2:
        return {}
    return {
        f"{name}.{own}": tensor
        for name, inner in networks.items()
        for own, tensor in inner.items()
        if hasattr(tensor, "untyped_storage")
    }


def _flags(loaded: Mapping[Any, Any], tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """What is no tensor, but changes what the network computes by being there, as tensors of one number."""
    import torch

    wanted = [name for name, mark in _FLAGS.items() if mark in tensors]
    return {name: torch.ones(1) for name in wanted if name in loaded and name not in tensors}
