"""What runs the pages on engines with published weights line by line, against a hub on this machine."""

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paths
import torch
from PIL import Image

RAM = "xinyu1205/recognize_anything_model"
QUICK = ["--set", "precision=bf16", "--set", "options.process_size=128", "--device", "cpu"]
"""What each line that computes is given beside its own words, as there is no GPU to count on."""


def lines_of(page: str) -> list[str]:
    """The lines of a page's blocks of shell."""
    text = (paths.ROOT / page).read_text(encoding="utf-8")
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def tagger_files() -> dict[str, bytes]:
    """RAM in its full size and DAPE, of random numbers, as they are published."""
    from srcache_plugins.stable_diffusion.networks.tagger import published_shapes
    from srcache_plugins.stable_diffusion.tiny import lora_shapes, random_tensor

    rng, shapes = np.random.RandomState(1), published_shapes({})
    ram = {name: random_tensor(rng, name, shape) for name, shape in shapes.items()}
    dape = {name: random_tensor(rng, name, shape) for name, shape in lora_shapes(shapes).items()}
    return {"ram_swin_large_14m.pth": pickled({"model": ram}), "DAPE.pth": pickled(dape)}


def written_by(write_weights: Callable[[Path], None], folder: Path) -> dict[str, bytes]:
    """The files of a small bundle, by their paths."""
    write_weights(folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def take_photos(folder: Path) -> None:
    """Two small photographs."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(folder / f"{name}.png")


def runner(folder: Path, address: str) -> Callable[[str], str]:
    """Runs a line of a page in a folder, with a hub at an address; returns what it printed."""
    homes = {"HF_HOME": str(folder / "hub"), "SRCACHE_HOME": str(folder / "home"), "HF_ENDPOINT": address}

    def run(line: str) -> str:
        program, *words = shlex.split(line)
        assert program == "srcache"
        words += QUICK if words[0] in ("upscale", "build") else []
        command = [sys.executable, "-m", "srcache_cli.main", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **homes}
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


def pickled(content: object) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """A file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
