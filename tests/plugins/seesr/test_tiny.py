"""The bundle that is made on the spot: the same bytes everywhere, and networks that run the complete engine."""

import hashlib
import json

import paths
import pytest
import torch
import yaml
from srcache_plugins.seesr import SeeSR
from srcache_plugins.seesr.loading import NEEDED, Loading, load_networks
from srcache_plugins.seesr.pipeline import Pipeline, Settings
from srcache_plugins.seesr.tiny import CONFIGS, write_weights

from srcache.engine.interface import Tiling, Upscaled

MANIFEST = paths.ROOT / "configs/weights/seesr-tiny.yaml"
FILES = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["sources"]["tiny"]["files"]


def digests(folder):
    found = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(folder).as_posix(): digest for path, digest in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tiny")
    write_weights(made)
    return made


@pytest.fixture(scope="module")
def networks(folder):
    how = Loading(
        device=torch.device("cpu"),
        dtype=torch.float32,
        conditioning_scale=1.0,
        encoder_tile=256,
        decoder_tile=32,
        antialias=False,
    )
    return load_networks({part: folder / file["path"] for part, file in FILES.items()}, how)


def test_the_files_are_those_of_the_manifest_and_no_others(folder):
    assert digests(folder) == {file["path"]: file["sha256"] for file in FILES.values()}
    assert set(NEEDED) <= set(FILES)


def test_the_files_are_the_same_whatever_was_drawn_before(folder, tmp_path):
    torch.manual_seed(5)
    SeeSR.make_weights("any", tmp_path)
    assert digests(tmp_path) == digests(folder)


def test_the_configurations_are_json_that_is_read_back(folder):
    for name, config in CONFIGS.items():
        assert json.loads((folder / name).read_text(encoding="utf-8")) == config


def test_it_is_small(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20 * 2**20


def test_images_come_out_and_tags_depend_on_them(networks):
    chosen = Settings(
        scale=4,
        process_size=128,
        steps=2,
        guidance=5.5,
        start="lr",
        prompt="",
        added_prompt="clean",
        negative_prompt="blur",
        parity=False,
        precision="fp32",
        tiling=Tiling(size=12, overlap=4),
        color_fix=None,
    )
    coarse = torch.rand(4, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    some = torch.nn.functional.interpolate(coarse, size=(24, 32), mode="nearest")
    with torch.inference_mode():
        made = Pipeline(networks, chosen, torch.device("cpu")).upscale(some, [1, 2, 3, 4])
    assert all(isinstance(each, Upscaled) for each in made)
    for each in made:
        assert each.image.shape == (3, 96, 128)
        assert each.image.isfinite().all()
        assert each.image.max() - each.image.min() > 0.05
        assert each.notes["windows"] == 6
    assert len({tuple(each.image.flatten().tolist()) for each in made}) == 4
    tags = {each.notes["tags"] for each in made}
    assert len(tags) > 1
    assert all(set(each.split(", ")) - {""} <= set(CONFIGS["ram/tags.json"]["tags"]) for each in tags)
