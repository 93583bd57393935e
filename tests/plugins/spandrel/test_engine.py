"""Checkpoints by spandrel: small random networks of many architectures, as files, through recipes, to pixels.

What spandrel itself makes of the same file is the oracle.
"""

import shutil
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from srcache_cli.main import run
from srcache_plugins.spandrel import network

from srcache.catalog.scanning import scan
from srcache.conformance import check_engine
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.engine.interface import Setup, Tiling
from srcache.engine.registry import open_engine
from srcache.errors import EngineError, MissingExtraError, RecipeError, WeightsError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.maintain.export import export
from srcache.recipe.reading import load_recipe
from srcache.weights.checkpoint import adopt, weights_folder

spandrel = pytest.importorskip("spandrel")


@dataclass(frozen=True)
class Net:
    """How a small network is made, and what spandrel should find out about its checkpoint."""

    home: str
    arguments: dict
    scale: int = 2
    step: int = 1
    tiles: bool = True
    half: bool = False


WINDOWS = {"embed_dim": 12, "num_heads": [2], "window_size": 8, "img_size": 16, "upscale": 2}
NETS = {
    "compact": Net("Compact.Compact", {"num_feat": 8, "num_conv": 2, "upscale": 2}, half=True),
    "esrgan": Net("ESRGAN.ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}, scale=4, half=True),
    "esrgan-shuffled": Net(
        "ESRGAN.ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 2, "shuffle_factor": 2}, step=4, half=True
    ),
    "swinir": Net("SwinIR.SwinIR", {**WINDOWS, "depths": [2], "upsampler": "pixelshuffledirect"}, tiles=False),
    "swin2sr": Net("Swin2SR.Swin2SR", {**WINDOWS, "depths": [2], "upsampler": "pixelshuffledirect"}),
    "hat": Net("HAT.HAT", {**WINDOWS, "depths": (2,), "squeeze_factor": 6, "mlp_ratio": 2.0}),
    "dat": Net(
        "DAT.DAT",
        {"embed_dim": 32, "split_size": [2, 4], "depth": [2], "num_heads": [2], "upscale": 2, "img_size": 16},
    ),
    "span": Net("SPAN.SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}, half=True),
    "cugan": Net("RealCUGAN.UpCunet2x", {}, half=True),
    "omnisr": Net("OmniSR.OmniSR", {"num_feat": 16, "up_scale": 2}, half=True),
    "plksr": Net("PLKSR.RealPLKSR", {"dim": 8, "n_blocks": 2, "upscaling_factor": 2, "kernel_size": 5}),
    "safmn": Net("SAFMN.SAFMN", {"dim": 8, "n_blocks": 1, "upscaling_factor": 2}, step=8),
    "ditn": Net("DITN.DITN", {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}, step=8, half=True),
    "rcan": Net("RCAN.RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}),
    "mosr": Net("MoSR.MoSR", {"upscale": 2, "n_block": 1, "dim": 16}, half=True),
    "swift": Net("SwiftSRGAN.SwiftSRGAN", {"num_channels": 8, "num_blocks": 1, "upscale_factor": 2}, half=True),
}


def tensors(home, arguments, seed=0):
    """The tensors of a random network of one of spandrel's classes."""
    family, name = home.split(".")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        made = getattr(getattr(spandrel.architectures, family), name)(**arguments)
    return {key: value.detach().clone() for key, value in made.state_dict().items()}


@pytest.fixture(scope="module")
def _files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    for name, net in NETS.items():
        found = tensors(net.home, net.arguments)
        save_file({key: value.contiguous() for key, value in found.items()}, folder / f"{name}.safetensors")
        torch.save({"params_ema": found, "iteration": 7}, folder / f"{name}.pth")
    return folder


@pytest.fixture
def nets(_files, tmp_path, monkeypatch):
    """A folder with every network as `.safetensors` and `.pth`; and a home of one's own."""
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)
    return _files


def recipe_of(weights, folder, **fields):
    lines = [f"{name}: {value}\n" for name, value in {"engine": "spandrel", "scale": 2, **fields}.items()]
    (folder / "mine.yaml").write_text("".join([*lines, f"weights: {weights}\n"]))
    return load_recipe(folder / "mine.yaml")


def opened(weights, folder, **fields):
    recipe = recipe_of(weights, folder, **fields)
    return open_engine(recipe.engine, recipe.setup("cpu"))


def photo(height, width, count=1, seed=0):
    """Pictures in [0, 1], smooth with some grain."""
    dice = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=dice)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return ((smooth + 0.05 * torch.rand(count, 3, height, width, generator=dice)).clamp(0, 1) * 255).round() / 255


def pixels(engine, images):
    return torch.stack([outcome.image for outcome in engine.upscale(images, range(len(images)))])


def oracle(file, images):
    """What spandrel makes of the file, picture by picture; networks may write into their input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = spandrel.ModelLoader(device="cpu").load_from_file(file).eval()
    return torch.cat([model(image[None].clone()) for image in images])


# Detection


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
        made = pixels(engine, given)
        assert made.shape == (2, 3, scale * height, scale * width)
        assert made.isfinite().all()
        assert 0 <= float(made.min()) <= float(made.max()) <= 1
        assert torch.equal(given, images), "the input was written to"
        other = pixels(engine, torch.stack([images[0], 1 - images[1]]))
        assert torch.equal(made[0], other[0]), "a batch mate changed an image"


def test_a_picture_too_small_for_a_network_is_continued_by_its_border(nets, tmp_path):
    small = photo(5, 7)
    large = torch.nn.functional.pad(small, (0, 9, 0, 11), mode="replicate")
    expected = oracle(nets / "hat.safetensors", large)[..., :10, :14]
    torch.testing.assert_close(pixels(opened(nets / "hat.pth", tmp_path), small), expected, atol=2e-5, rtol=0)


# What a checkpoint cannot do


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
def test_half_precision_gives_nearly_the_same_picture_in_fp32(precision, most, nets, tmp_path):
    images = photo(24, 24)
    full = pixels(opened(nets / "compact.pth", tmp_path), images)
    half = pixels(opened(nets / "compact.pth", tmp_path, precision=precision), images)
    assert half.dtype == torch.float32
    assert 0 < float((half - full).abs().max()) <= most


def test_without_spandrel_the_command_that_installs_it_is_named(nets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(
        MissingExtraError, match=r"running a checkpoint needs spandrel.*pip install 'srcache\[spandrel\]'"
    ):
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


def test_a_recipe_without_a_checkpoint_is_refused(nets, tmp_path):
    (tmp_path / "mine.yaml").write_text("engine: spandrel\nscale: 2\n")
    with pytest.raises(RecipeError, match="runs a checkpoint; name it"):
        load_recipe(tmp_path / "mine.yaml")


# The seam


@pytest.mark.parametrize("name", ["compact", "esrgan", "swinir", "rcan"])
def test_the_conformance_suite_passes(name, nets):
    digest = adopt(nets / f"{name}.safetensors")
    assert len(check_engine("spandrel", Setup(scale=NETS[name].scale, weights=digest))) > 15


def test_the_conformance_suite_passes_with_tiles(nets):
    setup = Setup(scale=2, weights=adopt(nets / "compact.pth"), tiling=Tiling(size=16, overlap=8))
    assert len(check_engine("spandrel", setup)) > 15


# Tiles


def test_tiles_of_a_small_convolutional_net_come_out_as_the_whole_picture(nets, tmp_path):
    """Four 3×3 convolutions see four pixels far: a quarter of the overlap."""
    images = photo(70, 93, count=2)
    whole = pixels(opened(nets / "compact.pth", tmp_path), images)
    tiled = pixels(opened(nets / "compact.pth", tmp_path, tiling="48/16"), images)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_a_ramp_shows_no_seam_although_a_network_sees_beyond_the_overlap(nets, tmp_path):
    """RRDBNet's 18 convolutions see further than the 4 pixels that are thrown away, but hardly."""
    ramp = torch.linspace(0, 1, 120).expand(1, 3, 64, 120).contiguous()
    whole = pixels(opened(nets / "esrgan.pth", tmp_path, scale=4), ramp)
    tiled = pixels(opened(nets / "esrgan.pth", tmp_path, scale=4, tiling="48/16"), ramp)
    assert float(whole.std()) > 0.02
    assert float((tiled - whole).abs().max()) < 1 / 255


def test_a_picture_no_larger_than_a_tile_is_not_tiled(nets, tmp_path):
    images = photo(30, 32)
    whole = pixels(opened(nets / "compact.pth", tmp_path), images)
    assert torch.equal(pixels(opened(nets / "compact.pth", tmp_path, tiling="32/8"), images), whole)


# Weights in recipes and caches


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
