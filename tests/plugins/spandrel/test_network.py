"""Networks of many architectures: detected, run at any size, in half precision and in tiles, or refused in words.

What spandrel itself makes of the same file is the oracle.
"""

import sys

import pytest
import torch
from spandrel_nets import AURA, NETS, WINDOWS, opened, oracle, photo, pixels, recipe_of, tensors
from srcache_plugins.spandrel import network

from srcache.engine.registry import open_engine
from srcache.errors import EngineError, MissingExtraError

pytestmark = pytest.mark.medium


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("name", NETS)
def test_a_checkpoint_is_detected_and_makes_the_pixels_that_spandrel_makes(name, kind, nets, tmp_path):
    engine = opened(nets / f"{name}.{kind}", tmp_path, scale=NETS[name].scale)
    images = photo(32, 40, count=2)
    expected = oracle(nets / f"{name}.safetensors", images)
    assert float(expected.std()) > 1e-3, "a network that gives one colour proves nothing"
    torch.testing.assert_close(pixels(engine, images), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in NETS if NETS[name].step == 1 and name != "cugan"])
def test_odd_sizes_that_a_network_takes_are_left_to_it(name, nets, tmp_path):
    images = photo(17, 23)
    engine = opened(nets / f"{name}.safetensors", tmp_path, scale=NETS[name].scale)
    torch.testing.assert_close(pixels(engine, images), oracle(nets / f"{name}.safetensors", images), atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", NETS)
def test_any_size_comes_out_scaled_finite_and_alone(name, nets, tmp_path):
    scale = NETS[name].scale
    engine = opened(nets / f"{name}.safetensors", tmp_path, scale=scale)
    for height, width in ((17, 23), (1, 13), (13, 1), (1, 1), (2, 3)):
        images = photo(height, width, count=2)
        given = images.clone()
        outputs = pixels(engine, given)
        assert outputs.shape == (2, 3, scale * height, scale * width)
        assert outputs.isfinite().all()
        assert 0 <= float(outputs.min()) <= float(outputs.max()) <= 1
        assert torch.equal(given, images), "the input was written to"
        other = pixels(engine, torch.stack([images[0], 1 - images[1]]))
        assert torch.equal(outputs[0], other[0]), "a batch mate changed an image"


def test_an_image_too_small_for_a_network_is_continued_by_its_border(nets, tmp_path):
    small = photo(5, 7)
    large = torch.nn.functional.pad(small, (0, 9, 0, 11), mode="replicate")
    expected = oracle(nets / "hat.safetensors", large)[..., :10, :14]
    torch.testing.assert_close(pixels(opened(nets / "hat.pth", tmp_path), small), expected, atol=2e-5, rtol=0)


def test_another_scale_than_the_checkpoints_is_refused_with_the_checkpoints(nets, tmp_path):
    with pytest.raises(EngineError, match=r"\(ESRGAN\) enlarges by 4, but the recipe's scale is 2"):
        opened(nets / "esrgan.pth", tmp_path)


@pytest.mark.parametrize("name", NETS)
def test_tiles_and_half_precision_are_refused_exactly_where_spandrel_says_so(name, nets, tmp_path):
    file, net = nets / f"{name}.safetensors", NETS[name]
    for fields, allowed, words in (
        ({"tiling": "32/8"}, net.tiles, "advises against tiles .* leave tiling out"),
        ({"precision": "fp16"}, net.half, "does not run in fp16; use another precision"),
    ):
        if allowed:
            opened(file, tmp_path, scale=net.scale, **fields)
            continue
        with pytest.raises(EngineError, match=words):
            opened(file, tmp_path, scale=net.scale, **fields)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda found: {f"_orig_mod.{name}": each for name, each in found.items()},
        lambda found: {f"module.{name}": each for name, each in found.items()},
        lambda found: {"state_dict": {f"model.{name}": each for name, each in found.items()}},
        lambda found: {
            "pytorch-lightning_version": "2.5.0",
            "epoch": 3,
            "state_dict": {
                **{f"model._orig_mod.{name}": each for name, each in found.items()},
                "loss.vgg.weight": torch.zeros(3),
            },
        },
        lambda found: {"net_g": found},
        lambda found: {"netG": {f"module.{name}": each for name, each in found.items()}, "netD": {"x": torch.ones(1)}},
    ],
)
@pytest.mark.parametrize("name", ["compact", "esrgan"])
def test_what_frameworks_put_around_a_network_is_taken_off(name, wrap, nets, tmp_path):
    found = tensors(NETS[name].home, NETS[name].arguments)
    torch.save(wrap(found), tmp_path / "WRAPPED.PTH")
    images = photo(16, 24)
    engine = opened(tmp_path / "WRAPPED.PTH", tmp_path, scale=NETS[name].scale)
    expected = pixels(opened(nets / f"{name}.pth", tmp_path, scale=NETS[name].scale), images)
    assert torch.equal(pixels(engine, images), expected)


def test_a_pro_flag_beside_the_tensors_makes_the_pixels_that_spandrel_makes(nets, tmp_path):
    found = tensors(NETS["cugan"].home, NETS["cugan"].arguments)
    torch.save({**found, "pro": 1}, tmp_path / "pro.pth")
    images = photo(32, 40)
    made = pixels(opened(tmp_path / "pro.pth", tmp_path), images)
    torch.testing.assert_close(made, oracle(tmp_path / "pro.pth", images), atol=2e-5, rtol=0)
    assert not torch.allclose(made, pixels(opened(nets / "cugan.pth", tmp_path), images), atol=1e-2)


def test_a_network_that_draws_noise_draws_it_from_each_images_seed(nets, tmp_path):
    torch.save(tensors(AURA.home, AURA.arguments), tmp_path / "aura.pth")
    engine, images = opened(tmp_path / "aura.pth", tmp_path, scale=4), photo(16, 16).expand(2, -1, -1, -1)
    first, second = (outcome.image for outcome in engine.upscale(images, [1, 2]))
    before = torch.random.get_rng_state()
    (again,) = (outcome.image for outcome in engine.upscale(images[:1], [2]))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(again, second)
    assert not torch.equal(first, second)
    other = opened(tmp_path / "aura.pth", tmp_path, scale=4)
    assert torch.equal(other.upscale(images[:1], [1])[0].image, first), "from its first call on"
    assert (engine.info.stochastic, type(engine).info.stochastic) == (True, False)


def test_bf16_is_refused_where_spandrel_says_so(nets, tmp_path, monkeypatch):
    detect = network._detect

    def without(found):
        model = detect(found)
        model.supports_bfloat16 = False
        return model

    monkeypatch.setattr(network, "_detect", without)
    with pytest.raises(EngineError, match="does not run in bf16"):
        opened(nets / "compact.pth", tmp_path, precision="bf16")


@pytest.mark.parametrize(("precision", "most"), [("bf16", 4 / 255), ("fp16", 1 / 255)])
def test_half_precision_gives_nearly_the_same_image_in_fp32(precision, most, nets, tmp_path):
    images = photo(24, 24)
    full = pixels(opened(nets / "compact.pth", tmp_path), images)
    half = pixels(opened(nets / "compact.pth", tmp_path, precision=precision), images)
    assert half.dtype == torch.float32
    assert 0 < float((half - full).abs().max()) <= most


def test_without_spandrel_the_command_that_installs_it_is_named(nets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingExtraError, match=r"running a checkpoint needs spandrel.*pip install '\.\[spandrel\]'"):
        opened(nets / "compact.pth", tmp_path)


STRANGE = {
    "grey": ("Compact.Compact", {"num_in_ch": 1, "num_out_ch": 1, "num_feat": 8, "num_conv": 2, "upscale": 2}),
    "denoiser": ("SwinIR.SwinIR", {**WINDOWS, "depths": [2], "upscale": 1}),
    "dncnn": ("DnCNN.DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 8, "nb": 5}),
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("grey", "one RGB image to another, but got a RealESRGAN Compact for SR with 1 channels in and 1 out"),
        ("denoiser", "expected a checkpoint for SR, but got a SwinIR for Restoration"),
        ("dncnn", "expected a checkpoint for SR, but got a DnCNN for Restoration"),
    ],
)
def test_grey_networks_and_what_is_not_sr_are_refused(name, words, nets, tmp_path):
    torch.save(tensors(*STRANGE[name]), tmp_path / "net.pth")
    with pytest.raises(EngineError, match=words):
        opened("net.pth", tmp_path, scale=1 if name != "grey" else 2)


def test_tensors_of_no_network_and_half_a_network_are_refused(nets, tmp_path):
    torch.save({"a": torch.zeros(2), "b": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(EngineError, match=r"knows no architecture with such tensors \(a, b …\)"):
        opened("net.pth", tmp_path)
    found = tensors(NETS["compact"].home, NETS["compact"].arguments)
    torch.save({key: value for key, value in found.items() if key != "body.2.bias"}, tmp_path / "net.pth")
    with pytest.raises(EngineError, match=r"spandrel cannot load these tensors \(body"):
        opened("net.pth", tmp_path)


def test_tiles_of_a_small_convolutional_net_come_out_as_the_entire_image(nets, tmp_path):
    """Four 3×3 convolutions see four pixels far: a quarter of the overlap."""
    images = photo(70, 93, count=2)
    untiled = pixels(opened(nets / "compact.pth", tmp_path), images)
    tiled = pixels(opened(nets / "compact.pth", tmp_path, tiling="48/16"), images)
    torch.testing.assert_close(tiled, untiled, atol=1e-5, rtol=0)


def test_a_ramp_shows_no_seam_although_a_network_sees_beyond_the_overlap(nets, tmp_path):
    """RRDBNet's 18 convolutions see further than the 4 pixels that are thrown away, but hardly."""
    ramp = torch.linspace(0, 1, 120).expand(1, 3, 64, 120).contiguous()
    untiled = pixels(opened(nets / "esrgan.pth", tmp_path, scale=4), ramp)
    tiled = pixels(opened(nets / "esrgan.pth", tmp_path, scale=4, tiling="48/16"), ramp)
    assert float(untiled.std()) > 0.02
    assert float((tiled - untiled).abs().max()) < 1 / 255


def test_an_image_no_larger_than_a_tile_is_not_tiled(nets, tmp_path):
    images = photo(30, 32)
    untiled = pixels(opened(nets / "compact.pth", tmp_path), images)
    assert torch.equal(pixels(opened(nets / "compact.pth", tmp_path, tiling="32/8"), images), untiled)


def test_compilation_is_left_to_torch(nets, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *_, **__: asked.append(type(self).__name__))
    recipe = recipe_of(nets / "compact.pth", tmp_path)
    images = photo(16, 16)
    plain = pixels(open_engine("spandrel", recipe.setup("cpu")), images)
    assert asked == []
    compiled = open_engine("spandrel", recipe.setup("cpu", compiled=True))
    assert asked == ["SRVGGNetCompact"]
    assert torch.equal(pixels(compiled, images), plain)


def test_on_a_gpu_a_batch_is_as_wide_as_fills_it_and_tiled_images_go_alone(nets, tmp_path):
    whole, tiled = opened(nets / "compact.pth", tmp_path), opened(nets / "compact.pth", tmp_path, tiling="16/8")
    assert {engine.batch_width(512, 512) for engine in (whole, tiled)} == {8}, "on a CPU, one after the other anyway"
    for engine in (whole, tiled):
        engine._network._device = torch.device("cuda")
    assert [whole.batch_width(side, side) for side in (16, 64, 128, 256, 999)] == [8, 8, 4, 1, 1]
    assert tiled.batch_width(16, 16) == 1
