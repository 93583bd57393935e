"""The bundle `osediff-tiny`: the same bytes everywhere, and networks that run the complete engine."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from osediff_fixtures import tiny_files
from srcache_plugins.osediff import OSEDiff
from srcache_plugins.osediff.loading import NEEDED
from srcache_plugins.osediff.pipeline import Pipeline, Settings
from srcache_plugins.osediff.tiny import CONFIGS

from srcache.engine.interface import Tiling

SETTINGS = Settings(
    scale=4,
    process_size=32,
    prompt="",
    parity=False,
    precision="fp32",
    tiling=Tiling(size=12, overlap=4),
    color_fix=None,
)


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


def test_no_number_on_the_way_is_beyond_half_precision(osediff_tiny_networks):
    """As the recipes for real weights have it; not one of these networks was trained to stay below that."""
    networks, largest = osediff_tiny_networks, []
    watched = [networks.unet, networks.vae._encoder, networks.vae._decoder, networks.text.model]
    hooks = [
        each.register_forward_hook(lambda _, given, made: largest.extend(t.abs().max() for t in (*given, made)))
        for network in watched
        for each in network.modules()
        if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)
    ]
    image = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        Pipeline(networks, SETTINGS, torch.device("cpu")).upscale(image, [1])
    for hook in hooks:
        hook.remove()
    assert len(largest) > 100
    assert max(largest) < 2**10, "half precision ends at 2**16"


@pytest.mark.slow
def test_images_come_out_and_tags_depend_on_them(osediff_tiny_networks):
    coarse = torch.rand(4, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    some = torch.nn.functional.interpolate(coarse, size=(24, 32), mode="nearest")
    with torch.inference_mode():
        pipeline = Pipeline(osediff_tiny_networks, replace(SETTINGS, process_size=128), torch.device("cpu"))
        made = pipeline.upscale(some, [1, 2, 3, 4])
    for each in made:
        assert each.image.shape == (3, 96, 128)
        assert each.image.isfinite().all()
        assert each.image.max() - each.image.min() > 0.02
        assert each.notes["windows"] == 6
    assert len({tuple(each.image.flatten().tolist()) for each in made}) == 4
    assert len({each.notes["tags"] for each in made}) > 1
