"""SeeSR's golden cases and weights, as read from `tests/golden/seesr`, and what puts them to use."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import paths
import torch
import yaml
from safetensors.torch import load_file
from srcache_plugins.seesr.pipeline import Settings

from srcache.engine.interface import Tiling

GOLDEN = paths.GOLDEN / "seesr"

SETTINGS = Settings(
    scale=4,
    process_size=128,
    steps=4,
    guidance=5.5,
    start="lr",
    prompt="",
    added_prompt="clean",
    negative_prompt="blur",
    parity=False,
    precision="fp32",
    tiling=None,
    color_fix="adain",
)
"""Of a pipeline over small networks; a test replaces what it is about."""

_MANIFEST = paths.ROOT / "configs/weights/seesr-tiny.yaml"
TINY_FILES: dict[str, dict[str, str]] = yaml.safe_load(_MANIFEST.read_text(encoding="utf-8"))["sources"]["tiny"][
    "files"
]
"""The parts of the bundle `seesr-tiny`: path and digest of each, as its manifest has them."""

_FILES = {
    "unet": "weights_unet_A",
    "controlnet": "weights_controlnet_A",
    "vae": "weights_vae_A",
    "text": "weights_text_A",
    "ram": "weights_ram_A_base",
    "dape": "weights_ram_A_dape",
}


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


def parts(folder: Path, scheduler: dict[str, Any]) -> dict[str, Path]:
    """The golden networks A as a bundle's parts; their configurations are written to a folder."""
    configs = {f"{name}.config": case(_FILES[name])[0]["config"] for name in _FILES if name != "dape"}
    configs["scheduler.config"] = scheduler
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    return {
        **{name: GOLDEN / f"{file}.safetensors" for name, file in _FILES.items()},
        **{name: folder / f"{name}.json" for name in configs},
        "tokenizer.vocab": GOLDEN / "tokenizer_A/vocab.json",
        "tokenizer.merges": GOLDEN / "tokenizer_A/merges.txt",
        "ram.tags": GOLDEN / "ram_A_tags.json",
    }


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class RecordedNoise:
    """Noise as a case has recorded it, in the place of `noise.Noise`."""

    def __init__(self, drawn: Iterable[torch.Tensor], posterior: torch.Tensor | None = None) -> None:
        self._drawn, self._posterior = list(drawn), posterior

    def draw(self) -> torch.Tensor:
        return self._drawn.pop(0)

    def draw_posterior(self) -> torch.Tensor:
        assert self._posterior is not None
        return self._posterior[:1]


class PredictionLog:
    """What a sampler predicts, step by step: the latents that go in, and the noise that is found in them.

    Windows of a latent are put together again.
    """

    def __init__(self, sampler: Any) -> None:
        self._run, self._calls = sampler.run, list[tuple[torch.Tensor, torch.Tensor]]()
        sampler.run = self._watch

    def _watch(self, latent: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._run(latent, *rest)
        self._calls.append((latent, found))
        return found

    def steps(self, windows: Any, size: tuple[int, int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The latents before every step, and the noise, of one image."""
        latents, noises = zip(*self._calls, strict=True)
        if windows is None:
            return list(latents), list(noises)
        count = len(windows.places)
        calls = -(-count // len(latents[0]))
        both = [[each[at : at + calls] for at in range(0, len(each), calls)] for each in (latents, noises)]
        found, noise = ([windows.averaged(torch.cat(step)[:count], *size) for step in steps] for steps in both)
        return found, noise


def settings_of(meta):
    """The settings with which the reference program made a complete case."""
    given = meta["args"]
    return replace(
        SETTINGS,
        scale=given["upscale"],
        process_size=given["process_size"],
        steps=given["num_inference_steps"],
        guidance=given["guidance_scale"],
        start=given["start_point"],
        prompt=given["user_prompt"],
        added_prompt=given["added_prompt"],
        negative_prompt=meta["negative_prompt"],
        parity=True,
        tiling=Tiling(size=given["latent_tile"], overlap=given["latent_overlap"]),
        color_fix=given["align_method"],
    )
