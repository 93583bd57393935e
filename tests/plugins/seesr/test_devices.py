"""The engine on a device: what holds on a CPU holds on a GPU. `pytest -m gpu` runs it there, `-m slow` on a CPU.

So whoever has no GPU can try these tests, and whoever has one runs what has been tried.
"""

import gc
from functools import partial

import caches
import numpy as np
import pytest
import torch
from PIL import Image
from seesr_fixtures import RecordedNoise, case, cases, parts, settings_of
from srcache_plugins.seesr.loading import Loading, load_networks
from srcache_plugins.seesr.pipeline import Pipeline
from srcache_plugins.stable_diffusion.cuda_graphs import GraphedCallable
from srcache_plugins.stable_diffusion.memory import MemoryPredictor

from srcache.catalog.scanning import scan
from srcache.conformance import check_engine
from srcache.engine.interface import Upscaled
from srcache.engine.registry import open_engine
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.fill.upscale import upscale
from srcache.images import decode, to_batch
from srcache.recipe.reading import load_recipe

QUICK = {"options.steps": 2, "options.process_size": 32, "options.decoder_tile": 8, "options.encoder_tile": 64}

on_devices = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)


def recipe_of(**changes):
    return load_recipe("seesr-tiny", {**QUICK, **changes})


def opened(device, compiled=False, **changes):
    return open_engine("seesr", recipe_of(**changes).setup(device, compiled))


def images(count=4, height=16, width=20, seed=0):
    """Smooth images, as they are decoded: integer steps of 1/255."""
    coarse = torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear") * 255).round() / 255


def levels(outcomes):
    assert all(isinstance(each, Upscaled) for each in outcomes), outcomes
    return torch.stack([each.image for each in outcomes]) * 255


@on_devices
@pytest.mark.parametrize("tiling", [None, "8/2"])
def test_it_keeps_the_promises_of_an_engine(device, tiling):
    assert len(check_engine("seesr", recipe_of(tiling=tiling).setup(device), batch=2, size=(17, 22))) >= 19


@on_devices
@pytest.mark.parametrize("name", ["compact", "bicubic"])
def test_so_do_the_small_engines(device, name):
    recipe = load_recipe(name)
    assert len(check_engine(recipe.engine, recipe.setup(device), batch=3, size=(17, 22))) >= 19


@on_devices
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_image_is_the_same_bits_at_every_place_of_a_batch(device, precision):
    engine, some, seeds = opened(device, precision=precision), images(), [1, 2, 3, 4]
    first = levels(engine.upscale(some, seeds))
    turned = levels(engine.upscale(some.roll(1, 0), seeds[-1:] + seeds[:-1]))
    other = some.clone()
    other[1:] = images(3, seed=9)
    company = levels(engine.upscale(other, [1, 7, 8, 9]))
    assert torch.equal(turned.roll(-1, 0), first)
    assert torch.equal(company[0], first[0])


@on_devices
@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.97), ("bf16", 0.85)])
def test_half_precision_stays_near(device, precision, least):
    some, seeds = images(2), [1, 2]
    exact = levels(opened(device).upscale(some, seeds))
    half = levels(opened(device, precision=precision).upscale(some, seeds))
    away = (half - exact).abs()
    assert away.max() > 0
    assert (away < 1.5).float().mean() > least


@on_devices
def test_compiled_code_moves_pixels_by_rounding_alone(device, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    if device == "cpu":  # inductor would take minutes there
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, compiled = opened(device), opened(device, compiled=True)
    for some in (images(2), images(2, 16, 24)):
        away = (levels(compiled.upscale(some, [1, 2])) - levels(plain.upscale(some, [1, 2]))).abs()
        assert (away < 1.5).float().mean() > 0.99


@on_devices
@pytest.mark.parametrize("name", cases("g_e2e"))
def test_the_references_images(device, name, tmp_path):
    meta, tensors = case(name)
    given, place = meta["args"], torch.device(device)
    how = Loading(
        device=place,
        dtype=torch.float32,
        conditioning_scale=given["conditioning_scale"],
        encoder_tile=given["vae_encoder_tile_px"],
        decoder_tile=given["vae_decoder_tile_latent"],
        antialias=given["ram_resize_antialias"],
    )
    settings = settings_of(meta)
    drawn = [tensors["rand.initial"], *tensors["rand.steps"]]
    noise = RecordedNoise([each.to(place) for each in drawn], tensors["rand.posterior"].to(place))
    wrap = GraphedCallable if device == "cuda" else None
    with torch.inference_mode():
        networks = load_networks(parts(tmp_path, meta["scheduler"]), how)
        pipeline = Pipeline(networks, settings, place, wrap=wrap, noise=lambda *_: noise)
        (made,) = pipeline.upscale(tensors["in.image_uint8"].permute(2, 0, 1)[None].float() / 255, [0])
    assert made.notes["prompt"] == meta["prompt"]
    away = (made.image.permute(1, 2, 0) * 255 - tensors["expect.out_uint8"].float()).abs().round()
    assert away.max() <= meta["tolerance"]["out_uint8_max"] + (device != "cpu")


@on_devices
def test_a_build_stores_what_one_image_alone_becomes(device, tmp_path, make_image):
    """In the service's threads, with images of several shapes in batches that are filled up."""
    for number in range(7):
        image = Image.fromarray(make_image(16, 16 + 4 * (number % 3), number))
        (tmp_path / "photos").mkdir(exist_ok=True)
        image.save(tmp_path / "photos" / f"{number}.png")
    recipe, settings = recipe_of(), FillSettings(device=device)
    report = fill(scan(tmp_path / "photos"), recipe, tmp_path / "cache", settings)
    assert (report.added, report.failed) == (7, {})
    with caches.opened(tmp_path / "cache", "seesr-tiny") as store:
        stored = [decode(store.get(name)).tobytes() for name in store.names()]
        batches = {store.record(name)["notes"]["batch"] for name in store.names()}
    assert batches == ({1} if device == "cpu" else {16})
    alone = upscale([tmp_path / "photos/4.png"], recipe, tmp_path / "one", settings)
    assert decode(alone.files[0].read_bytes()).tobytes() in stored


@on_devices
def test_its_memory_is_free_when_it_is_dropped(device):
    held = torch.cuda.memory_allocated() if device == "cuda" else 0
    engine = opened(device)
    engine.upscale(images(2), [1, 2])
    engine.upscale(images(2, 16, 24), [1, 2])
    gc.disable()
    try:
        del engine
        assert device == "cpu" or torch.cuda.memory_allocated() - held < 64 << 20, "cuBLAS' workspaces may stay"
    finally:
        gc.enable()


@pytest.mark.gpu
@pytest.mark.parametrize(("size", "batch"), [((32, 32), 1), ((64, 64), 4)])
def test_a_batch_takes_the_memory_that_was_predicted(size, batch):
    engine = opened("cuda", precision="fp16", **{"options.process_size": 128, "options.decoder_tile": 224})
    pipeline = engine._pipeline
    found = MemoryPredictor(type(pipeline), pipeline.networks, pipeline.settings, in_graphs=True).predicted(
        *size, batch
    )
    some, seeds = images(batch, *size), list(range(batch))
    torch.cuda.empty_cache()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    engine.upscale(some, seeds)
    taken = torch.cuda.max_memory_allocated() - before
    assert torch.cuda.max_memory_reserved() - reserved <= engine.predicted_memory(*size, batch)
    assert 0.5 * taken <= found.tensors - found.weights <= 2 * taken + (64 << 20)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_second_gpu_gives_the_bits_of_the_first():
    some, seeds = images(2), [1, 2]
    first, second = (levels(opened(f"cuda:{number}").upscale(some, seeds)) for number in (0, 1))
    assert torch.equal(first, second)
    assert float(np.std(first.numpy())) > 1


def test_images_of_these_tests_are_as_decoded():
    some = images()
    assert torch.equal(to_batch([(each.permute(1, 2, 0) * 255).byte().numpy() for each in some]), some)
