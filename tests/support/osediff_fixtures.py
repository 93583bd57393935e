"""OSEDiff's golden cases and weights, as read from `tests/golden/osediff`, and what puts them to use.

The text encoder, its tokenizer and the tagger are those of SeeSR's set.
"""

import json
from pathlib import Path
from typing import Any

import paths
import seesr_fixtures
import torch
import yaml
from safetensors.torch import load_file, save_file

GOLDEN = paths.GOLDEN / "osediff"
SCHEDULER = json.loads((GOLDEN / "b_step.json").read_text(encoding="utf-8"))["scheduler_config"]

_MANIFEST = paths.ROOT / "configs/weights/osediff-tiny.yaml"


def case(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a case is about, and its tensors as they are stored."""
    meta = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    file = GOLDEN / f"{name}.safetensors"
    return meta, load_file(file) if file.exists() else {}


def cases(prefix: str) -> list[str]:
    """The names of all cases that begin so."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.json"))


def base(name: str) -> dict[str, torch.Tensor]:
    """The float32 tensors of a network before the additions: `unet` or `vae`."""
    return {key: value.float() for key, value in case(f"weights_{name}_A")[1].items()}


def lora() -> dict[str, torch.Tensor]:
    """The tensors of the authors' file, by the names that a conversion gives them."""
    found = torch.load(GOLDEN / "osediff_A.pkl", weights_only=True)
    networks = ("state_dict_unet", "state_dict_vae")
    return {f"{network}.{name}": tensor for network in networks for name, tensor in found[network].items()}


def parts(folder: Path) -> dict[str, Path]:
    """The golden networks as a bundle's parts; settings and the additions are written to a folder."""
    shared = seesr_fixtures.parts(folder, SCHEDULER)
    own = {name: folder / f"{name}.config.own.json" for name in ("unet", "vae")}
    for name, path in own.items():
        path.write_text(json.dumps(case(f"weights_{name}_A")[0]["config"]), encoding="utf-8")
    save_file(lora(), folder / "osediff.safetensors")
    return {
        **{name: path for name, path in shared.items() if not name.startswith("controlnet")},
        **{name: GOLDEN / f"weights_{name}_A.safetensors" for name in own},
        **{f"{name}.config": path for name, path in own.items()},
        "osediff": folder / "osediff.safetensors",
    }


def tiny_files() -> dict[str, dict[str, str]]:
    """The parts of the bundle `osediff-tiny`: path and digest of each, as its manifests have them."""
    sources = yaml.safe_load(_MANIFEST.read_text(encoding="utf-8"))["sources"]
    return {name: place for source in sources.values() for name, place in source["files"].items()}
