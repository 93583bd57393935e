"""The bundle `osediff-tiny`: the same bytes everywhere, and networks that run the complete engine."""

import hashlib
import json

import pytest
import torch
from osediff_fixtures import tiny_files
from srcache_plugins.osediff import OSEDiff
from srcache_plugins.osediff.loading import NEEDED
from srcache_plugins.osediff.pipeline import Pipeline, Settings
from srcache_plugins.osediff.tiny import CONFIGS

from srcache.engine.interface import Tiling


def digests(folder):
    found = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(folder).as_posix(): digest for path, digest in found.items()}


def test_the_files_are_those_of_the_manifest_and_no_others(osediff_tiny_folder):
    assert digests(osediff_tiny_folder) == {file["path"]: file["sha256"] for file in tiny_files().values()}
    assert set(NEEDED) <= set(tiny_files())


@pytest.mark.slow
def test_the_files_are_the_same_whatever_was_drawn_before(osediff_tiny_folder, tmp_path):
    torch.manual_seed(5)
    OSEDiff.make_weights("any", tmp_path)
    assert digests(tmp_path) == digests(osediff_tiny_folder)


def test_the_configurations_are_json_that_is_read_back(osediff_tiny_folder):
    for name, config in CONFIGS.items():
        assert json.loads((osediff_tiny_folder / name).read_text(encoding="utf-8")) == config


@pytest.mark.slow
def test_images_come_out_and_tags_depend_on_them(osediff_tiny_networks):
    chosen = Settings(
        scale=4,
        process_size=128,
        prompt="",
        parity=False,
        precision="fp32",
        tiling=Tiling(size=12, overlap=4),
        color_fix=None,
    )
    coarse = torch.rand(4, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    some = torch.nn.functional.interpolate(coarse, size=(24, 32), mode="nearest")
    with torch.inference_mode():
        made = Pipeline(osediff_tiny_networks, chosen, torch.device("cpu")).upscale(some, [1, 2, 3, 4])
    for each in made:
        assert each.image.shape == (3, 96, 128)
        assert each.image.isfinite().all()
        assert each.image.max() - each.image.min() > 0.02
        assert each.notes["windows"] == 6
    assert len({tuple(each.image.flatten().tolist()) for each in made}) == 4
    assert len({each.notes["tags"] for each in made}) > 1
