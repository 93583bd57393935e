"""Files of a checkpoint: configurations and tensors are read, and every tensor is put in its place in a module."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from srcache.errors import SrcacheError, WeightsError, listed
from srcache.weights import parse_json
from srcache.weights.bundle import fetch_command
from srcache.weights.contents import how_to_get_again
from srcache.weights.digests import bundle_of
from srcache.weights.disguises import disguise

_SHOWN = 8
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32, "BOOL": torch.bool}


def fit(model: nn.Module, tensors: dict[str, Tensor], what: str, surplus: Sequence[str] = ()) -> None:
    """Put a checkpoint's tensors into a model, which takes them over as they are.

    Args:
        model: may be on the meta device.
        tensors: by the model's own names.
        what: names the checkpoint in errors.
        surplus: patterns of names that may be in the checkpoint without a place in the model.

    Raises:
        WeightsError: tensors are missing, have another shape, or have no place and are not expected as surplus.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    strange = [name for name in tensors if name not in wanted and not any(re.fullmatch(each, name) for each in surplus)]
    shapes = [
        f"{name} {tuple(tensors[name].shape)} (expected {tuple(place.shape)})"
        for name, place in wanted.items()
        if name in tensors and tensors[name].shape != place.shape
    ]
    misfits = describe_misfits({"missing": missing, "without a place": strange, "of another shape": shapes})
    if misfits:
        raise WeightsError(f"{what} does not fit its network; tensors {misfits}")
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=True, assign=True)


def describe_misfits(groups: Mapping[str, Sequence[str]]) -> str:
    """Names of tensors by what is wrong with them, for a message; empty if there are none.

    >>> describe_misfits({"missing": ["a", "b"], "without a place": [], "of another shape": ["c"]})
    '2 missing: a, b; 1 of another shape: c'
    """
    return "; ".join(f"{len(names)} {fault}: {listed(names, _SHOWN)}" for fault, names in groups.items() if names)


def read_json(path: Path) -> dict[str, Any]:
    """A part that is a JSON object.

    Raises:
        WeightsError: it cannot be read, or it is no JSON object.
    """
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({disguise(path) or error}); {again(path)}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"expected a JSON object in {path}, but got a {type(found).__name__}; {again(path)}")
    return found


def again(path: Path) -> str:
    """How to get a broken part anew, for the end of a message."""
    return f"fetch it again: {how_to_get_again(path, fetch_command(bundle_of(path)))}"


def require_settings(path: Path, config: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse settings that lack what is not to be guessed: a library's defaults would make another network of them.

    Raises:
        WeightsError: it names what is lacking.
    """
    lacking = [name for name in names if config.get(name) is None]
    if lacking:
        raise WeightsError(
            f"{path} does not say {', '.join(lacking)}, so it is cut short or another file; {again(path)}"
        )


@contextmanager
def made_from(what: str, *paths: Path) -> Iterator[None]:
    """Turn whatever stops libraries from making a network of files into words that name the files.

    Raises:
        WeightsError: with the files, and how to get them again.
    """
    try:
        yield
    except (SrcacheError, MemoryError) as error:
        if isinstance(error, WeightsError) and not any(str(path) in str(error) for path in paths):
            raise WeightsError(f"{error} (from {' and '.join(map(str, paths))}; {again(paths[0])})") from error
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        files = " and ".join(map(str, paths))
        raise WeightsError(
            f"{what} cannot be made from {files} ({type(error).__name__}: {reason}): one of them is cut short, or of "
            f"another model; {again(paths[0])}"
        ) from error


def read_shapes(path: Path) -> dict[str, Tensor]:
    """The tensors of a part without their numbers, on the meta device; raises as `read_tensors`."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: torch.empty(one.get_shape(), dtype=_DTYPES.get(one.get_dtype(), torch.float32), device="meta")
                for name, one in slices.items()
            }
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}); {again(path)}") from error


def read_tensors(path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """A part that is tensors, on the CPU, the floating ones in another dtype if one is given.

    They are copied out of the mapped file, where they may lie unaligned, so that a CPU would sum in another order.

    Raises:
        WeightsError: it cannot be read as safetensors, or all its numbers are zero.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        reason = disguise(path) or error
        raise WeightsError(f"{path} cannot be read as safetensors ({reason}); {again(path)}") from error
    if not any(tensor.any() for tensor in tensors.values()):
        raise WeightsError(f"all numbers in {path} are zero, as an interrupted download leaves them; {again(path)}")
    return {
        name: value.to(dtype if dtype is not None and value.is_floating_point() else value.dtype, copy=True)
        for name, value in tensors.items()
    }
