"""What recipes say about weights: a digest, a bundle or a checkpoint, and whether it is here."""

import pytest
import torch
from bundles import MANIFEST
from engines import Noise
from safetensors.torch import save_file

from srcache.errors import ConfigError, WeightsError
from srcache.recipe.reading import dump, load_recipe, require_engine, restore
from srcache.weights.bundle import locate
from srcache.weights.checkpoint import is_digest
from srcache.weights.resolve import resolve_weights


@pytest.mark.usefixtures("loads")
def test_a_recipe_names_a_bundle_by_name_file_or_digest(made, manifest, models, tmp_path):
    (tmp_path / "mine").mkdir()
    recipe = tmp_path / "mine/recipe.yaml"
    recipe.write_text("engine: test-noise\nweights: small\n")
    loaded = load_recipe(recipe)
    assert loaded.weights == made.digest
    recipe.write_text(f"engine: test-noise\nweights: {made.digest}\n")
    assert load_recipe(recipe) == loaded
    manifest.write_text(MANIFEST.replace("test-bundled", "test-noise"))
    digest = locate(manifest, [models])
    recipe.write_text("engine: test-noise\nweights: ../mine.yaml\n")
    assert load_recipe(recipe).weights == digest != loaded.weights


@pytest.mark.usefixtures("loads")
def test_a_recipe_whose_bundle_is_not_here_or_broken_is_not_used_but_its_cache_is_read(manifest, models, tmp_path):
    manifest.write_text(MANIFEST.replace("test-bundled", "test-noise"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("engine: test-noise\nweights: mine.yaml\n")
    with pytest.raises(WeightsError, match="lack 4 of 4 files"):
        load_recipe(recipe)
    locate(manifest, [models])
    loaded = load_recipe(recipe)
    (models / "words.txt").unlink()
    with pytest.raises(WeightsError, match="is not there any more"):
        require_engine(loaded, Noise.info)
    assert restore(dump(loaded), "recipe.yaml") == loaded


@pytest.mark.usefixtures("loads")
def test_a_bundle_for_another_engine_is_refused(manifest, models, tmp_path):
    locate(manifest, [models])
    with pytest.raises(WeightsError, match=r"are for engine test-bundled, but the recipe's is test-noise"):
        load_recipe_of(tmp_path, f"engine: test-noise\nweights: {manifest}\n")


def load_recipe_of(folder, text):
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml")


def test_what_names_nothing_says_what_there_is(tmp_path):
    with pytest.raises(WeightsError, match=r"is none of them .* bundles: .*seesr"):
        resolve_weights("nothing", tmp_path)
    with pytest.raises(ConfigError, match=r"no bundle of weights is named 'nothing'; use one of .*seesr"):
        locate("nothing")
    with pytest.raises(ConfigError, match=r"gone.yaml cannot be read"):
        locate(tmp_path / "gone.yaml")


def test_recipes_name_weights_by_file_or_digest(tensors, tmp_path):
    save_file(tensors, tmp_path / "net.safetensors")
    digest = resolve_weights("net.safetensors", tmp_path)
    assert is_digest(digest)
    assert resolve_weights(digest, tmp_path) == digest
    assert resolve_weights(str(tmp_path / "net.safetensors"), tmp_path / "elsewhere") == digest
    with pytest.raises(WeightsError, match="is none of them"):
        resolve_weights("gone.pth", tmp_path)


def test_what_is_left_out_of_a_checkpoint_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    torch.save({"weight": torch.zeros(2), "epoch": 3}, tmp_path / "mine.pth")
    with pytest.warns(UserWarning, match=r"mine\.pth: left out what is no tensor of the network: epoch"):
        assert is_digest(resolve_weights("mine.pth", tmp_path))
