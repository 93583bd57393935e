"""The bundle that is made on the spot: the same bytes everywhere, and networks that run the complete engine."""

import hashlib
import json
from dataclasses import replace

import torch
from seesr_fixtures import SETTINGS, TINY_FILES
from srcache_plugins.seesr import SeeSR
from srcache_plugins.seesr.loading import NEEDED
from srcache_plugins.seesr.pipeline import Pipeline
from srcache_plugins.seesr.tiny import CONFIGS

from srcache.engine.interface import Tiling, Upscaled


def digests(folder):
    found = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(folder).as_posix(): digest for path, digest in found.items()}


def test_the_files_are_those_of_the_manifest_and_no_others(tiny_folder):
    assert digests(tiny_folder) == {file["path"]: file["sha256"] for file in TINY_FILES.values()}
    assert set(NEEDED) <= set(TINY_FILES)


def test_the_files_are_the_same_whatever_was_drawn_before(tiny_folder, tmp_path):
    torch.manual_seed(5)
    SeeSR.make_weights("any", tmp_path)
    assert digests(tmp_path) == digests(tiny_folder)


def test_the_configurations_are_json_that_is_read_back(tiny_folder):
    for name, config in CONFIGS.items():
        assert json.loads((tiny_folder / name).read_text(encoding="utf-8")) == config


def test_it_is_small(tiny_folder):
    assert sum(path.stat().st_size for path in tiny_folder.rglob("*") if path.is_file()) < 20 * 2**20


def test_images_come_out_and_tags_depend_on_them(tiny_networks):
    chosen = replace(SETTINGS, steps=2, tiling=Tiling(size=12, overlap=4), color_fix=None)
    coarse = torch.rand(4, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    some = torch.nn.functional.interpolate(coarse, size=(24, 32), mode="nearest")
    with torch.inference_mode():
        made = Pipeline(tiny_networks, chosen, torch.device("cpu")).upscale(some, [1, 2, 3, 4])
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
