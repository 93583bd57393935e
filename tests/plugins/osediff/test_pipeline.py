"""OSEDiff from image to image: the reference program's results, group by group, and what an image depends on."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_graphs import FakeGraphs
from osediff_fixtures import case, cases
from seesr_fixtures import RecordedNoise
from srcache_plugins.osediff.pipeline import Pipeline, Settings
from srcache_plugins.stable_diffusion.colorfix import FIXES
from srcache_plugins.stable_diffusion.cuda_graphs import GraphedCallable, GraphMemory
from srcache_plugins.stable_diffusion.geometry import control_image, resize_steps
from srcache_plugins.stable_diffusion.networks.text import prompt_text
from srcache_plugins.stable_diffusion.windows import lay_windows, window_weights

from srcache.engine.interface import Failure, Tiling, upscaled_side

CPU, SLOW = torch.device("cpu"), pytest.mark.slow
BASE = Settings(
    scale=4, process_size=32, prompt="", parity=False, precision="fp32", tiling=None, color_fix=None, posterior="sample"
)


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def tag_by_lightness(images):
    """Tags by how light an image is."""
    return [f"light {int(100 * each)}" for each in images.mean((1, 2, 3))], torch.zeros(len(images), 5, 512)


@pytest.fixture
def ready(osediff_networks):
    """Networks with a quick tagger."""
    return replace(osediff_networks(), tagger=tag_by_lightness)


def some_images(count=3, height=8, width=10, seed=0):
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 5, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return ((smooth + 0.05 * torch.rand(smooth.shape, generator=rng)).clamp(0, 1) * 255).round() / 255


def pixels(image):
    """uint8 (H, W, 3) as an engine is given it."""
    return image.permute(2, 0, 1)[None].float() / 255


LONG = {"c_tiled_all_128x232", "c_tiled_latent_thin_72x256", "b_forward_b1_96x128"}
"""Cases that others come near to: among the slow tests."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=SLOW) if each in LONG else each for each in cases("b_forward") + cases("c_tiled")],
)
def test_every_stage_of_the_forward_is_the_references(name, osediff_networks):
    meta, tensors = case(name)
    given, limits = meta.get("settings", {}), meta["tolerance"]
    networks = osediff_networks(
        "fp32", given.get("vae_encoder_tile_px", 1024), given.get("vae_decoder_tile_latent", 224)
    )
    tiling = Tiling(size=given["latent_tile"], overlap=given["latent_overlap"]) if given else None
    pipeline = Pipeline(networks, BASE, CPU)
    images = tensors.get("in.images_uint8", tensors.get("in.image_uint8"))
    images = (images if images.ndim == 4 else images[None]).permute(0, 3, 1, 2).float() / 255
    moments = networks.vae.encode(images * 2 - 1)
    assert (moments - tensors["expect.moments"]).abs().max() <= limits["moments_max_abs"]
    latent = pipeline.encode(images, tensors["rand.posterior"])
    assert (latent - tensors["expect.lq_latent"]).abs().max() <= limits["moments_max_abs"]
    text = networks.text.encode(meta["prompts"])
    assert (text - tensors["expect.prompt_embeds"]).abs().max() <= limits["prompt_embeds_max_abs"]
    windows = lay_windows(*latent.shape[-2:], tiling)
    calls = [list(latent[:1, :, : windows.side, : windows.side].shape)] * len(windows.places) if windows else None
    assert (calls or [list(latent.shape)]) == meta.get("unet_calls", [list(latent.shape)])
    predicted = pipeline.inner.predicted(latent, text, windows)
    assert (predicted - tensors["expect.model_pred"]).abs().max() <= limits["model_pred_max_abs"]
    clean = pipeline.step.clean_latent(latent, predicted)
    wanted = tensors["expect.x0"]
    assert (clean - wanted).abs().max() <= limits["x0_rel_to_max"] * wanted.abs().max()
    image = networks.vae.decode(clean / networks.vae.scaling_factor).clamp(-1, 1)
    assert (image - tensors["expect.image"].float()).abs().max() <= limits["image_max_abs"]


@pytest.mark.parametrize("name", cases("f_e2e"))
def test_an_image_becomes_the_references(name, osediff_networks, monkeypatch):
    meta, tensors = case(name)
    given, limits = meta["args"], meta["tolerance"]
    tiles = given["vae_encoder_tiled_size"], given["vae_decoder_tiled_size"]
    networks = osediff_networks("fp32", *tiles, False)
    chosen = Settings(
        scale=given["upscale"],
        process_size=given["process_size"],
        prompt=given["prompt"],
        parity=True,
        precision="fp32",
        tiling=Tiling(size=given["latent_tiled_size"], overlap=given["latent_tiled_overlap"]),
        color_fix=None if given["align_method"] == "nofix" else given["align_method"],
    )
    noise = RecordedNoise([], tensors["rand.posterior"])
    pipeline = Pipeline(networks, chosen, CPU, noise=lambda *_: noise)
    image = pixels(tensors["in.image_uint8"])
    control = pipeline.control_images(image)[0]
    assert torch.equal(control.permute(1, 2, 0), tensors["expect.control_uint8"])
    tagger = networks.tagger
    logits = tagger.network.logits(tagger.network.embeds(tagger.prepared(control[None].float() / 255)))
    assert (logits - tensors["expect.tag_logits"]).abs().max() <= limits["tag_logits_max_abs"]
    kept, decode = [], pipeline.decode
    monkeypatch.setattr(pipeline, "decode", lambda latents: kept.append((latents, decode(latents))) or kept[0][1])
    (made,) = pipeline.upscale(image, [7])
    latents, ((raw, _),) = kept[0]
    assert made.notes["prompt"] == meta["prompt"]
    assert made.notes["reference_seed"] == 7
    assert made.notes["windows"] == meta["unet_calls"]
    wanted = tensors["expect.x0"]
    clean = latents * networks.vae.scaling_factor
    assert (clean - wanted).abs().max() <= limits["x0_rel_to_max"] * wanted.abs().max()
    _require_near(raw, tensors["expect.raw_uint8"], limits["raw_uint8_max"], limits["raw_fraction_differing_max"])
    if "expect.out_uint8" in tensors:
        mended = FIXES[chosen.color_fix](raw[None], control[None])[0]
        wanted = tensors["expect.out_uint8"]
        _require_near(mended, wanted, limits["out_uint8_max"], limits["out_fraction_differing_max"])
    height, width, _ = tensors["in.image_uint8"].shape
    assert made.image.shape == (3, chosen.scale * height, chosen.scale * width)


def test_recordings_of_unet_and_vae_give_the_same_bits(osediff_networks, monkeypatch):
    graphs, networks, memory = FakeGraphs(), osediff_networks("fp32"), GraphMemory()
    graphs.put_in(monkeypatch)
    monkeypatch.setattr(networks.vae, "_faster", {})
    image = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(3))
    plain = [Pipeline(networks, BASE, CPU).upscale(image, seeds) for seeds in ([1, 2], [3, 4])]
    recorded = Pipeline(networks, BASE, CPU, "recorded", lambda function: GraphedCallable(function, memory))
    for seeds, wanted in zip(([1, 2], [3, 4]), plain, strict=True):
        for found, expected in zip(recorded.upscale(image, seeds), wanted, strict=True):
            assert torch.equal(found.image, expected.image)
    assert len(memory) == len(graphs.pools) == 3


def _require_near(found, wanted, most, share):
    away = (found.permute(1, 2, 0).int() - wanted.int()).abs()
    assert away.max() <= most
    assert (away > 0).float().mean() <= share


@pytest.mark.parametrize("row", case("d_geometry")[0]["rows"], ids=lambda row: str(row["in_wh"]))
def test_sizes_are_the_references(row):
    width, height = row["in_wh"]
    found = resize_steps(height, width, row["upscale"], row["process_size"])[-1]
    assert found[::-1] == tuple(row["network_wh"])
    assert [upscaled_side(side, row["upscale"]) for side in row["in_wh"]] == row["asked_for_wh"]


@pytest.mark.parametrize("name", cases("d_pixels_"))
def test_control_images_are_the_references(name):
    meta, tensors = case(name)
    given = tensors["in.image_uint8"].numpy(), meta["upscale"], meta["process_size"]
    np.testing.assert_array_equal(control_image(*given, Pipeline.last_resize), tensors["expect.control_uint8"].numpy())


def test_tiles_of_the_latents_are_the_references():
    for row in case("c_tile_layouts")[0]["rows"]:
        found = lay_windows(*row["latent_hw"], Tiling(size=row["tile"], overlap=row["overlap"]))
        assert (found is not None) == row["tiled"]
        if found:
            assert [list(place) for place in found.places] == row["offsets_yx"]
            assert [found.side, found.side] == row["tile_used"]
    meta, tensors = case("c_tile_weights")
    for name, wanted in tensors.items():
        found = window_weights(int(name.rpartition("_")[2]))
        assert ((found - wanted).abs() <= meta["tolerance"]["rel"] * wanted).all()


def test_prompts_are_the_references():
    for row in case("e_prompts")[0]["rows"]:
        assert prompt_text(row["tag_string"], row["user_prompt"]) == row["final_prompt"]


@pytest.mark.parametrize("antialias", [False, pytest.param(True, marks=SLOW)])
def test_tags_of_a_control_image_are_the_references(antialias, osediff_networks):
    meta, tensors = case("e_tagger_96x130")
    kind = "antialias" if antialias else "no_antialias"
    tagger = osediff_networks(antialias=antialias).tagger
    control = torch.from_numpy(control_image(tensors["in.image_uint8"].numpy(), 4, 512, "lanczos").copy())
    assert [control.shape[1], control.shape[0]] == meta["control_size_wh"]
    assert hashlib.sha256(control.numpy().tobytes()).hexdigest() == meta["control_sha256_of_rgb_bytes"]
    seen = control.permute(2, 0, 1)[None].float() / 255
    logits = tagger.network.logits(tagger.network.embeds(tagger.prepared(seen)))
    assert (logits - tensors[f"expect.{kind}.logits"]).abs().max() <= meta["tolerance"]["logits_max_abs"]
    assert tagger(seen)[0] == [meta["results"][kind]["tags"]]


def test_notes_are_json_and_say_how_it_was_made(ready):
    made = Pipeline(ready, BASE, CPU, mode="as written").upscale(some_images(2), [1, 2])
    for each in made:
        assert json.loads(json.dumps(each.notes)) == each.notes
        assert set(each.notes) == {"tags", "prompt", "network", "windows", "mode", "batch", "decoded_in"}
        assert each.notes["prompt"] == f"{each.notes['tags']}, ,"
        assert each.image.shape == (3, 32, 40)
        assert torch.equal(each.image, (each.image * 255).round() / 255)


def test_the_tagger_sees_what_the_networks_see(ready):
    seen = []
    watched = replace(ready, tagger=lambda images: seen.append(images) or tag_by_lightness(images))
    pipeline, given = Pipeline(watched, BASE, CPU), some_images(2)
    pipeline.upscale(given, [1, 2])
    assert torch.equal(seen[0], pipeline.control_images(given).float() / 255)


def test_the_seed_and_the_image_decide_unless_the_mean_is_taken(ready):
    sampled, mean = (Pipeline(ready, replace(BASE, posterior=each), CPU) for each in ("sample", "mean"))
    one, other = some_images(1), some_images(1, seed=4)
    first, again, seeded = (sampled.upscale(one, [seed])[0].image for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, seeded)
    assert not torch.equal(first, sampled.upscale(other, [7])[0].image)
    assert torch.equal(mean.upscale(one, [7])[0].image, mean.upscale(one, [8])[0].image)


def test_with_parity_noise_is_that_of_torchs_generator_after_the_noted_seed(ready):
    (made,) = Pipeline(ready, replace(BASE, parity=True), CPU).upscale(some_images(1), [2**40 + 5])
    assert made.notes["reference_seed"] == 5
    drawn = torch.randn((1, 4, 4, 5), generator=torch.Generator().manual_seed(5))
    noise = RecordedNoise([], drawn)
    (given,) = Pipeline(ready, BASE, CPU, noise=lambda *_: noise).upscale(some_images(1), [1])
    assert torch.equal(made.image, given.image)


@pytest.mark.parametrize("tiling", [None, Tiling(size=4, overlap=1)])
def test_an_image_is_the_same_at_all_places_of_a_batch(tiling, ready):
    pipeline, some = Pipeline(ready, replace(BASE, tiling=tiling, color_fix="adain"), CPU), some_images(3)
    together = pipeline.upscale(some, [1, 2, 3])
    turned = pipeline.upscale(some[[2, 0, 1]], [3, 1, 2])
    for wanted, found in zip((together[2], together[0], together[1]), turned, strict=True):
        assert torch.equal(found.image, wanted.image)
        assert found.notes == wanted.notes


def test_8_bits_are_truncated():
    values = torch.tensor([-1.2, -1, -0.999, 0.0, 0.9961, 0.9999, 1.0, 1.5])
    found = Pipeline.levels(None, values).tolist()
    assert found == [0, 0, 0, 127, 254, 254, 255, 255]
    given = torch.arange(256)
    lost = given - Pipeline.levels(None, given / 255 * 2 - 1)
    assert lost.unique().tolist() == [0, 1], "the order of the operations counts"
    assert 60 <= lost.sum() <= 68, "of a quarter of all levels"


def test_a_latent_too_narrow_for_its_tiles_fails_in_words(ready):
    pipeline = Pipeline(ready, replace(BASE, tiling=Tiling(size=8, overlap=6)), CPU)
    outcomes = pipeline.upscale(some_images(2, 8, 40), [1, 2])
    assert all(isinstance(each, Failure) and each.reason == "too_narrow" for each in outcomes)


@SLOW
def test_half_precision_stays_near(ready, osediff_networks):
    (exact,) = Pipeline(ready, BASE, CPU).upscale(some_images(1), [1])
    half = replace(osediff_networks("bf16"), tagger=tag_by_lightness)
    (made,) = Pipeline(half, replace(BASE, precision="bf16"), CPU).upscale(some_images(1), [1])
    assert made.notes == {**exact.notes, "decoded_in": "bf16"}
    far = (made.image - exact.image).abs() * 255
    assert 0 < far.max() < 60
    assert far.mean() < 4
