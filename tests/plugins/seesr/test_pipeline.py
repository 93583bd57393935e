"""SeeSR from image to image: the reference program's results, and what becomes of an image that goes wrong."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from seesr_fixtures import SETTINGS, PredictionLog, RecordedNoise, case, cases, settings_of
from srcache_plugins.seesr.pipeline import Pipeline
from srcache_plugins.seesr.sampling.noise import Noise
from srcache_plugins.seesr.sampling.windows import lay_windows

from srcache.engine.interface import Failure, Tiling, Upscaled

CPU = torch.device("cpu")
CASES = cases("g_e2e")
BASE = replace(SETTINGS, process_size=32, steps=2, color_fix=None)
QUICK = replace(BASE, steps=1, guidance=1.0)


@pytest.fixture
def ready(golden_networks):
    """Networks with a quick tagger."""
    return replace(golden_networks(), tagger=tag_by_lightness)


def tag_by_lightness(images):
    """Tags and embeddings by how light an image is."""
    light = images.mean((1, 2, 3))
    return [f"light {int(100 * each)}" for each in light], light[:, None, None].expand(-1, 5, 512)


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def images(count=3, height=8, width=10, seed=0):
    """Smooth images with some texture, as they are decoded: integer steps of 1/255."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 5, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return ((smooth + 0.05 * torch.rand(smooth.shape, generator=rng)).clamp(0, 1) * 255).round() / 255


def networks_of(meta, load):
    given = meta["args"]
    tiles = given["vae_encoder_tile_px"], given["vae_decoder_tile_latent"]
    return load("fp32", given["conditioning_scale"], *tiles, given["ram_resize_antialias"])


def away(image, wanted):
    """The largest difference, in steps of 8 bits."""
    return (image.permute(1, 2, 0) * 255 - wanted.float()).abs().max().round().item()


@pytest.mark.parametrize("name", CASES)
def test_an_image_becomes_the_references(name, golden_networks, monkeypatch):
    meta, tensors = case(name)
    noise = RecordedNoise([tensors["rand.initial"], *tensors["rand.steps"]], tensors["rand.posterior"])
    pipeline = Pipeline(networks_of(meta, golden_networks), settings_of(meta), CPU, noise=lambda *_: noise)
    image = tensors["in.image_uint8"].permute(2, 0, 1)[None].float() / 255
    control = pipeline.control_images(image)[0].permute(1, 2, 0)
    assert torch.equal(control, tensors["expect.control_uint8"])
    watched, raw = PredictionLog(pipeline.sampler), []
    decode = pipeline.decode
    monkeypatch.setattr(pipeline, "decode", lambda latents: raw.extend(decode(latents)) or raw)
    (made,) = pipeline.upscale(image, [meta["args"]["seed"]])
    size = tensors["rand.initial"].shape[-2:]
    windows, wanted = lay_windows(*size, pipeline.settings.tiling), tensors["expect.latents_per_step"]
    if windows is None or len(windows.places) <= 8:
        before, _ = watched.steps(windows, size)
        for step, latent in enumerate(before[1:]):
            limit = meta["tolerance"]["latents_rel_to_max"] * wanted.abs().max()
            assert (latent - wanted[step]).abs().max() <= limit, step
    assert made.notes["prompt"] == meta["prompt"]
    assert made.notes["network"] == list(control.shape[:2])
    assert made.notes["windows"] == (len(windows.places) if windows else 1)
    assert made.notes["reference_seed"] == meta["args"]["seed"]
    assert away(raw[0][0] / 255, tensors["expect.raw_uint8"]) <= meta["tolerance"]["raw_uint8_max"]
    assert away(made.image, tensors["expect.out_uint8"]) <= meta["tolerance"]["out_uint8_max"]


def test_notes_are_json_and_say_how_it_was_made(ready):
    made = Pipeline(ready, BASE, CPU, mode="as written").upscale(images(2), [1, 2])
    for each in made:
        assert json.loads(json.dumps(each.notes)) == each.notes
        assert set(each.notes) == {"tags", "prompt", "network", "windows", "mode", "batch", "decoded_in"}
        assert each.notes["prompt"] == f"{each.notes['tags']}, ,clean"
        assert (each.notes["network"], each.notes["windows"]) == ([32, 40], 1)
        assert (each.notes["mode"], each.notes["batch"], each.notes["decoded_in"]) == ("as written", 2, "fp32")
        assert each.image.shape == (3, 32, 40)
        assert each.image.dtype == torch.float32
        assert torch.equal(each.image, (each.image * 255).round() / 255)
    assert not torch.equal(made[0].image, made[1].image)


def test_with_parity_the_references_seed_is_noted(ready):
    (made,) = Pipeline(ready, replace(QUICK, parity=True), CPU).upscale(images(1), [2**40 + 5])
    assert made.notes["reference_seed"] == 5


@pytest.mark.parametrize("start", ["lr", "noise"])
def test_the_seed_and_the_image_decide(start, ready):
    pipeline, some = Pipeline(ready, replace(QUICK, start=start), CPU), images(1)
    (first,), (again,) = pipeline.upscale(some, [7]), pipeline.upscale(some, [7])
    (seeded,), (other,) = pipeline.upscale(some, [8]), pipeline.upscale(images(1, seed=4), [7])
    assert torch.equal(first.image, again.image)
    assert first.notes == again.notes
    assert not torch.equal(first.image, seeded.image)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("fix", ["adain", "wavelet"])
def test_colours_and_sizes_are_the_same_bits_in_another_thread(fix, ready):
    pipeline, some = Pipeline(ready, replace(QUICK, color_fix=fix), CPU), images(2, 9, 13)
    wanted = pipeline.upscale(some, [1, 2])
    assert wanted[0].image.shape == (3, 36, 52), "of 32x48, which the networks see"
    with ThreadPoolExecutor(1) as other:
        computed = pipeline.compute(other.submit(pipeline.prepare, some).result(), [1, 2])
        found = [other.submit(each.finish).result() for each in computed]
    for one, two in zip(found, wanted, strict=True):
        assert torch.equal(one.image, two.image)
        assert one.notes == two.notes


def test_noise_may_be_given(ready):
    asked, some = [], images(2)
    own = Pipeline(ready, BASE, CPU).upscale(some, [1, 2])

    def given(seeds, size):
        asked.append((list(seeds), size))
        return Noise(seeds, size, CPU, parity=False, guided=True)

    found = Pipeline(ready, BASE, CPU, noise=given).upscale(some, [1, 2])
    assert asked == [([1, 2], (4, 5))]
    assert all(torch.equal(one.image, other.image) for one, other in zip(own, found, strict=True))


@pytest.mark.parametrize("fix", [None, "adain", "wavelet"])
def test_an_image_is_the_same_at_all_places_of_a_batch(fix, ready):
    pipeline, some = Pipeline(ready, replace(QUICK, color_fix=fix), CPU), images(3)
    together = pipeline.upscale(some, [1, 2, 3])
    turned = pipeline.upscale(some[[2, 0, 1]], [3, 1, 2])
    for wanted, found in zip((together[2], together[0], together[1]), turned, strict=True):
        assert torch.equal(found.image, wanted.image)
        assert found.notes == wanted.notes


def test_a_batch_moves_pixels_by_rounding_alone(ready):
    pipeline, some = Pipeline(ready, BASE, CPU), images(3)
    together = torch.stack([each.image for each in pipeline.upscale(some, [1, 2, 3])])
    alone = torch.stack([pipeline.upscale(some[[n]], [n + 1])[0].image for n in range(3)])
    steps = ((together - alone) * 255).abs().round()
    assert steps.max() <= 1
    assert (steps > 0).float().mean() < 0.001


def test_each_different_prompt_is_encoded_once(ready):
    networks = ready
    before = networks.text.encoded
    pipeline = Pipeline(networks, replace(BASE, negative_prompt="never said before"), CPU)
    assert networks.text.encoded == before + 1
    pipeline.settings = replace(BASE, added_prompt="nor this")
    pipeline.upscale(images(1).repeat(3, 1, 1, 1), [1, 2, 3])
    assert networks.text.encoded == before + 2
    Pipeline(networks, replace(BASE, negative_prompt="never said before"), CPU)
    assert networks.text.encoded == before + 2


def test_colours_are_mended_as_the_recipe_says(ready):
    some, made = images(1, 16, 20), {}
    for fix in (None, "adain", "wavelet"):
        (each,) = Pipeline(ready, replace(QUICK, color_fix=fix), CPU).upscale(some, [1])
        made[fix] = (each.image.mean((1, 2)) - some[0].mean((1, 2))).abs().max()
    assert max(made["adain"], made["wavelet"]) < 0.02 < made[None]


def test_a_latent_too_narrow_for_its_tiles_fails_in_words(ready):
    pipeline = Pipeline(ready, replace(BASE, tiling=Tiling(size=8, overlap=6)), CPU)
    outcomes = pipeline.upscale(images(2, 8, 40), [1, 2])
    assert len(outcomes) == 2
    assert all(isinstance(each, Failure) and each.reason == "too_narrow" for each in outcomes)
    assert "4×20 cells" in outcomes[0].detail


class Overflowing:
    """A VAE whose decoder spoils some images of a batch, as half precision may, and perhaps again in float32."""

    def __init__(self, vae, spoilt, again=None):
        self._vae, self._spoilt, self._again = vae, spoilt, again or {}
        self.scaling_factor, self.encode, self.decoded32 = vae.scaling_factor, vae.encode, 0

    def decode(self, latents):
        return spoil(self._vae.decode(latents), self._spoilt)

    def decode32(self, latents):
        self.decoded32 += 1
        return spoil(self._vae.decode32(latents), self._again)


def spoil(made, faults):
    made = made.clone()
    for number, value in faults.items():
        if value == "flat":
            made[number] = 0.3
        else:
            made[number, 1, 2, 3] = value
    return made


BAD = [float("inf"), float("-inf"), float("nan"), "flat"]


@pytest.mark.parametrize("value", BAD)
def test_what_overflows_in_half_precision_is_decoded_again(value, ready):
    healthy, chosen = ready, replace(QUICK, precision="bf16", color_fix="adain")
    wanted = Pipeline(healthy, chosen, CPU).upscale(images(3), [1, 2, 3])
    vae = Overflowing(healthy.vae, {1: value})
    made = Pipeline(replace(healthy, vae=vae), chosen, CPU).upscale(images(3), [1, 2, 3])
    assert [each.notes["decoded_in"] for each in made] == ["bf16", "fp32", "bf16"]
    assert vae.decoded32 == 1
    assert torch.equal(made[0].image, wanted[0].image)
    assert torch.equal(made[2].image, wanted[2].image)
    assert (made[1].image - wanted[1].image).abs().max() < 1.5 / 255
    assert made[1].image.isfinite().all()


@pytest.mark.parametrize("value", BAD[-2:])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_what_cannot_be_decoded_fails_alone(value, precision, ready):
    healthy, chosen = ready, replace(QUICK, precision=precision)
    wanted = Pipeline(healthy, chosen, CPU).upscale(images(3), [1, 2, 3])
    vae = Overflowing(healthy.vae, {1: value}, again={0: value})
    first, failure, last = Pipeline(replace(healthy, vae=vae), chosen, CPU).upscale(images(3), [1, 2, 3])
    assert isinstance(failure, Failure)
    assert failure.reason == ("blank" if value == "flat" else "not_finite")
    assert ("flat colour" if value == "flat" else "not numbers") in failure.detail
    assert vae.decoded32 == (precision != "fp32")
    assert torch.equal(first.image, wanted[0].image)
    assert torch.equal(last.image, wanted[2].image)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.9), ("fp16", 0.99)])
def test_half_precision_stays_near(precision, least, ready, golden_networks):
    chosen = replace(BASE, guidance=1.0)
    (exact,) = Pipeline(ready, chosen, CPU).upscale(images(1), [1])
    half = replace(golden_networks(precision), tagger=tag_by_lightness)
    (made,) = Pipeline(half, replace(chosen, precision=precision), CPU).upscale(images(1), [1])
    assert isinstance(made, Upscaled)
    assert made.notes == {**exact.notes, "decoded_in": precision}
    far = (made.image - exact.image).abs() * 255
    assert far.max() > 0
    assert (far < 1.5).float().mean() > least


@pytest.mark.parametrize(
    ("guidance", "size", "width"),
    [
        (5.5, (128, 128), 8),
        (5.5, (20, 25), 6),  # enlarged to 512x640 first
        (5.5, (190, 190), 3),
        (5.5, (200, 200), 1),  # in windows
        (5.5, (128, 1500), 1),
        (1.0, (128, 128), 16),
        (1.0, (190, 190), 7),
    ],
)
def test_a_batch_is_as_wide_as_its_shape_needs_to_fill_a_gpu(guidance, size, width, ready):
    chosen = replace(BASE, process_size=512, guidance=guidance, tiling=Tiling(size=96, overlap=4))
    assert Pipeline(ready, chosen, CPU).width(*size) == width


@pytest.mark.parametrize(("share", "guided"), [(1.0, 50), (0.8, 40), (0.81, 41), (0.0, 0), (0.001, 1)])
def test_a_share_of_the_steps_is_so_many(share, guided):
    assert replace(BASE, steps=50, guided_share=share).guided_steps == guided


def test_what_cannot_be_tiled_is_a_batch_of_its_own(ready):
    assert Pipeline(ready, replace(BASE, tiling=Tiling(size=8, overlap=6)), CPU).width(8, 40) == 1
