"""Files of a checkpoint: configurations and tensors are read, and every tensor is put in its place in a module."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from srcache.errors import WeightsError, listed

_SHOWN = 8


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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise WeightsError(f"expected a JSON object in {path}, but got a {type(found).__name__}; fetch it again")
    return found


def read_tensors(path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """A part that is tensors, on the CPU, the floating ones in another dtype if one is given.

    They are copied out of the mapped file, where they may lie unaligned, so that a CPU would sum in another order.

    Raises:
        WeightsError: it cannot be read as safetensors.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}); fetch it again") from error
    return {
        name: value.to(dtype if dtype is not None and value.is_floating_point() else value.dtype, copy=True)
        for name, value in tensors.items()
    }
