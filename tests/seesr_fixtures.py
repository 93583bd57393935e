"""SeeSR's golden cases and weights, as read from `tests/golden/seesr`."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

GOLDEN = Path(__file__).parent / "golden" / "seesr"


def case(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a case is about, and its tensors as they are stored."""
    meta = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    file = GOLDEN / f"{name}.safetensors"
    return meta, load_file(file) if file.exists() else {}


def weights(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and the float32 tensors of a network, such as `unet_A`."""
    meta, tensors = case(f"weights_{name}")
    return meta.get("config", {}), {key: value.float() for key, value in tensors.items()}


def cases(prefix: str) -> list[str]:
    """The names of all cases that begin so."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.json"))
