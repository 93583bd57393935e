"""The engine `spandrel`: checkpoints through recipes and caches to images, and the promises of an engine."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from spandrel_nets import NETS, photo, recipe_of, tensors
from srcache_cli.main import run

from srcache.catalog.scanning import scan
from srcache.conformance import check_engine
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.engine.interface import Setup, Tiling
from srcache.errors import RecipeError, WeightsError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.maintain.export import export
from srcache.recipe.reading import load_recipe
from srcache.weights.checkpoint import adopt, weights_folder


def test_a_recipe_without_a_checkpoint_is_refused(nets, tmp_path):
    (tmp_path / "mine.yaml").write_text("engine: spandrel\nscale: 2\n")
    with pytest.raises(RecipeError, match="runs a checkpoint; name it"):
        load_recipe(tmp_path / "mine.yaml")


@pytest.mark.medium
@pytest.mark.parametrize("name", ["compact", "esrgan", "swinir", "rcan"])
def test_the_conformance_suite_passes(name, nets):
    digest = adopt(nets / f"{name}.safetensors")
    assert len(check_engine("spandrel", Setup(scale=NETS[name].scale, weights=digest))) > 15


@pytest.mark.medium
def test_the_conformance_suite_passes_with_tiles(nets):
    setup = Setup(scale=2, weights=adopt(nets / "compact.pth"), tiling=Tiling(size=16, overlap=8))
    assert len(check_engine("spandrel", setup)) > 15


def test_a_checkpoint_that_was_moved_and_renamed_is_the_same_recipe_and_another_one_is_not(nets, tmp_path):
    first = recipe_of(nets / "compact.pth", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(nets / "compact.pth", tmp_path / "elsewhere/net.ckpt")
    moved = recipe_of("net.ckpt", tmp_path / "elsewhere")
    assert moved.fingerprint == first.fingerprint
    assert recipe_of(first.weights, tmp_path).fingerprint == first.fingerprint
    other = tensors(NETS["compact"].home, NETS["compact"].arguments, seed=1)
    torch.save(other, tmp_path / "other.pth")
    assert recipe_of("other.pth", tmp_path).fingerprint != first.fingerprint


@pytest.mark.medium
def test_weights_that_are_gone_stop_a_build_in_words_but_no_reader(nets, tmp_path, capfd):
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    for number in range(2):
        image = (photo(9, 12, seed=number)[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
        Image.fromarray(image).save(photos / "a" / f"{number}.png")
    recipe = recipe_of(nets / "compact.pth", tmp_path)
    report = fill(scan(photos), recipe, tmp_path / "cache", FillSettings(device="cpu"))
    assert report.added == 2
    shutil.rmtree(weights_folder())
    (tmp_path / "gone.yaml").write_text(f"engine: spandrel\nscale: 2\nname: mine\nweights: {recipe.weights}\n")
    with pytest.raises(WeightsError, match=f"no weights {recipe.weights} on this machine"):
        load_recipe(tmp_path / "gone.yaml")
    build = ["build", str(photos), "--cache", str(tmp_path / "cache"), "--recipe", str(tmp_path / "gone.yaml")]
    assert run(build) == 4
    assert "srcache models convert FILE" in capfd.readouterr().err
    assert export(tmp_path / "cache", tmp_path / "out", "mine").files == 2
    data = SRAugmentedDataset(scan(photos), cache=tmp_path / "cache", recipe="mine", policy="sr")
    assert [data[index][0].size for index in range(len(data))] == [(24, 18), (24, 18)]
