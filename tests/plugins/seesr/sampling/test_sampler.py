"""SeeSR's sampling loop: the reference program's latents at every step, and an image's independence of its batch."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seesr_fixtures import GOLDEN, PredictionLog, RecordedNoise, case, cases, drawn, weights
from seesr_vae import autoencoder
from srcache_plugins.seesr.pipeline import Pipeline, Settings
from srcache_plugins.seesr.sampling.sampler import Prompts, Sampler
from srcache_plugins.seesr.sampling.schedule import Schedule, ScheduleStep, make_schedule
from srcache_plugins.stable_diffusion import windows as module
from srcache_plugins.stable_diffusion.networks.text import load_text_encoder
from srcache_plugins.stable_diffusion.windows import Windows, lay_windows

from srcache.engine.interface import Tiling

CONFIG = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]
WORDS = {"prompt": "", "added_prompt": "", "negative_prompt": "no"}


@pytest.fixture(scope="module")
def networks(denoisers):
    return partial(denoisers, "A")


@pytest.fixture(scope="module")
def vae():
    return autoencoder()


@pytest.fixture(scope="module")
def text():
    files = GOLDEN / "tokenizer_A/vocab.json", GOLDEN / "tokenizer_A/merges.txt"
    return load_text_encoder(*weights("text_A"), *files, torch.float32)


def embeddings(meta, tensors, text):
    """Of the negative and the positive prompt, (1, 77, C) each."""
    if meta["prompt"] is not None:
        found = text.encode([meta["negative_prompt"], meta["prompt"]])
        assert (found - tensors["expect.text_embeds_neg_pos"]).abs().max() <= 2e-5
        return found.split(1)
    return tensors["in.negative_prompt_embeds"], tensors["in.prompt_embeds"]


def pipeline(meta, negative, networks, vae, noise=None):
    call = meta["call"]
    unet, controlnet = networks(call["conditioning_scale"])
    encoder = SimpleNamespace(encode=lambda texts: negative)
    parts = SimpleNamespace(unet=unet, controlnet=controlnet, vae=vae, text=encoder, scheduler=meta["scheduler"])
    chosen = Settings(
        steps=call["steps"],
        guidance=call["guidance"],
        start=call["start_point"],
        parity=True,
        precision="fp32",
        tiling=Tiling(size=call["tile"], overlap=call["overlap"]),
        scale=4,
        process_size=128,
        color_fix=None,
        **WORDS,
    )
    return Pipeline(parts, chosen, torch.device("cpu"), noise=lambda *_: noise)


@pytest.mark.parametrize("name", [*cases("d_loop"), *cases("e_tiled")])
def test_a_complete_run_is_the_references_at_every_step(name, networks, vae, text):
    meta, tensors = case(name)
    negative, positive = embeddings(meta, tensors, text)
    noise = RecordedNoise([tensors["rand.initial"], *tensors["rand.steps"]], tensors.get("rand.posterior"))
    image, size = tensors["in.image"].permute(2, 0, 1)[None], tensors["rand.initial"].shape[-2:]
    with torch.inference_mode():
        built = pipeline(meta, negative, networks, vae, noise)
        watched = PredictionLog(built.sampler)
        windows = lay_windows(*size, built.settings.tiling)
        latents = built.sample(image, Prompts(positive, tensors["in.ram_embeds"]), [0], windows)
    before, found = watched.steps(windows, size)
    wanted = tensors["expect.latents_per_step"]
    limit = meta["tolerance"]["latents_rel_to_max"] * wanted.abs().max()
    assert (windows is not None) == name.startswith("e_tiled")
    assert [step.timestep for step in built.sampler.schedule.steps] == meta["timesteps"]
    start = tensors.get("expect.start_latents", tensors["rand.initial"])
    assert (before[0] - start).abs().max() <= 2e-5
    assert len(wanted) == len(before) == meta["call"]["steps"]
    after = [*before[1:], latents * vae.scaling_factor]
    for step, (latent, noise) in enumerate(zip(after, found, strict=True)):
        assert (latent - wanted[step]).abs().max() <= limit, step
        predicted = tensors["expect.noise_pred_after_guidance"][step]
        assert (noise - predicted).abs().max() <= 5e-5 * predicted.abs().max(), step
    if "expect.decoded_float" in tensors:
        decoded = vae.decode(latents)
        assert (decoded - tensors["expect.decoded_float"]).abs().max() <= meta["tolerance"]["decoded_max_abs"]
    if "expect.image_uint8" in tensors:
        ((image, _),) = built.decode(latents)
        away = image.permute(1, 2, 0).int() - tensors["expect.image_uint8"].int()
        assert away.abs().max() <= meta["tolerance"]["image_uint8_max"]


@pytest.mark.parametrize("name", [name for name in [*cases("d_loop"), *cases("e_tiled")] if "_lr" in name])
def test_the_start_is_the_images_latent_with_the_noise_of_the_last_time(name, networks, vae):
    meta, tensors = case(name)
    with torch.inference_mode():
        built = pipeline(meta, torch.zeros(1, 77, 24), networks, vae)
        images = tensors["in.image"].permute(2, 0, 1)[None].float() / 255
        latent = built.encode(images, tensors["rand.posterior"][:1])
        start = built.sampler.schedule.start_latent(latent, tensors["rand.initial"])
    assert (latent - tensors["expect.lr_latents_scaled"]).abs().max() <= 1e-5
    assert (start - tensors["expect.start_latents"]).abs().max() <= 1e-5
    assert built.sampler.schedule.image < 0.1 < 0.9 < built.sampler.schedule.noise


class Batch:
    """Three different images and all that goes with them, in some order, or with some of them blacked out."""

    def __init__(self, size, order=(0, 1, 2), kept=(0, 1, 2)):
        mask = torch.tensor([float(each in kept) for each in order])
        images = torch.sigmoid(drawn(3, 3, 8 * size[0], 8 * size[1]))
        self.control_images = images[list(order)] * mask[:, None, None, None]
        self.prompts = Prompts(
            drawn(3, 77, 24, seed=1)[list(order)] * mask[:, None, None],
            drawn(3, 10, 512, seed=2)[list(order)] * mask[:, None, None],
        )
        noises = drawn(3, 3, 4, *size, seed=3)[:, list(order)] * mask[:, None, None, None]
        self.start, self.noise = noises[0], noises[1:]

    def sampled(self, sampler, windows):
        with torch.inference_mode():
            return sampler.sample(self.control_images, self.prompts, self.start, RecordedNoise(self.noise), windows)


@pytest.mark.parametrize(
    ("size", "tiling", "guidance"),
    [
        ((8, 10), None, 1.0),
        ((8, 10), None, 5.5),
        pytest.param((8, 13), Tiling(size=8, overlap=4), 5.5, marks=pytest.mark.slow),
    ],
)
def test_an_image_has_the_same_bits_at_every_place_and_with_all_company(size, tiling, guidance, networks):
    sampler = Sampler(*networks(), make_schedule(CONFIG, 2), guidance, drawn(1, 77, 24, seed=9))
    windows = lay_windows(*size, tiling)
    together = Batch(size).sampled(sampler, windows)
    assert len({tuple(each.flatten().tolist()) for each in together}) == 3
    for place in range(3):
        order = [(number - place) % 3 for number in range(3)]
        turned = Batch(size, order).sampled(sampler, windows)
        alone = Batch(size, order, kept=[0]).sampled(sampler, windows)
        assert torch.equal(turned, together[order])
        assert torch.equal(alone[place], together[0])


def test_in_how_many_parts_windows_are_predicted_is_rounding(networks, monkeypatch):
    size, schedule = (8, 14), make_schedule(CONFIG, 1)
    windows = lay_windows(*size, Tiling(size=8, overlap=4))
    found = []
    for each in (100, 8, 4, 3, 1):
        monkeypatch.setattr(module, "WINDOWS_AT_ONCE", each)
        sampler = Sampler(*networks(), schedule, 1.0, drawn(1, 77, 24, seed=9))
        watched = PredictionLog(sampler)
        Batch(size).sampled(sampler, windows)
        sizes = {latent.shape[0] for latent, _ in watched._calls}
        assert len(sizes) == 1, "one shape for all calls"
        assert sizes.pop() <= each
        rows = torch.cat([noise for _, noise in watched._calls])[: 3 * len(windows.places)]
        found.append(rows)
    assert len(windows.places) == 3
    for other in found[1:]:
        assert (other - found[0]).abs().max() <= 2e-6


def test_windows_of_many_images_are_those_of_each(networks):
    size, windows = (8, 13), lay_windows(8, 13, Tiling(size=8, overlap=4))
    sampler = Sampler(*networks(), make_schedule(CONFIG, 1), 5.5, drawn(1, 77, 24, seed=9))
    batch, together = Batch(size), Batch(size).sampled(sampler, windows)
    for number in range(3):
        one = slice(number, number + 1)
        prompts = Prompts(batch.prompts.text[one], batch.prompts.images[one])
        with torch.inference_mode():
            alone = sampler.sample(
                batch.control_images[one], prompts, batch.start[one], RecordedNoise([batch.noise[0, one]]), windows
            )
        assert (alone - together[one]).abs().max() <= 1e-4 * together.abs().max()


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(3, 9), st.integers(3, 9), st.integers(2, 4), st.integers(1, 9), st.booleans())
def test_every_window_is_predicted_once_with_its_images_conditions(count, height, width, tile, at_once, guided):
    sampler = stand_in(guided)
    windows = lay_windows(height, width, Tiling(size=tile, overlap=1))
    latent, marks = drawn(count, 4, height, width), torch.arange(1.0, count + 1)
    prompts = Prompts(marks[:, None, None].expand(-1, 1, 1), 10 * marks[:, None, None].expand(-1, 1, 1))
    control_images = (100 * marks[:, None, None, None]).expand(-1, 1, 8 * height, 8 * width)
    seen = []

    def run(pieces, control, _, text, images, *others):
        positive = text[len(pieces) :] if guided else text
        assert torch.equal(images[: len(pieces)], 10 * positive)
        assert torch.equal(control[:, :1, 0, 0], 100 * positive[:, 0])
        assert guided == (len(text) == 2 * len(pieces))
        assert not guided or (text[: len(pieces)] == -7).all()
        assert torch.equal(text, others[1])
        assert len(pieces) <= at_once or windows is None
        seen.append(len(pieces))
        return pieces * positive[:, :, None]

    sampler.run = run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOWS_AT_ONCE", at_once)
        found = sampler.sample(control_images, prompts, latent, RecordedNoise([torch.zeros(1)]), windows)
    torch.testing.assert_close(found, latent * marks[:, None, None, None])
    total = count * (len(windows.places) if windows else 1)
    assert len(set(seen)) == 1
    assert total <= sum(seen) < total + len(seen), "only so many rows more that all calls are alike"


def stand_in(guided):
    """A sampler over networks that pass on what they are given."""
    network = SimpleNamespace(
        conv_in=SimpleNamespace(weight=torch.zeros(1)),
        times=lambda steps: torch.zeros(len(steps), 1),
        text=lambda text: text,
        images=lambda images: images,
        embedding=lambda images: images,
    )
    schedule = Schedule((ScheduleStep(timestep=1, keep=0.0, remove=1.0, add=0.0),), 0.0, 1.0)
    return Sampler(network, network, schedule, 2.0 if guided else 1.0, torch.full((1, 1, 1), -7.0))


def test_a_step_weighs_latent_prediction_and_fresh_noise():
    sampler = stand_in(guided=False)
    steps = (ScheduleStep(9, keep=0.5, remove=3.0, add=0.25), ScheduleStep(1, keep=2.0, remove=-1.0, add=1e-10))
    sampler.schedule = replace(sampler.schedule, steps=steps)
    sampler._times = [torch.zeros(2, 1)] * 2
    sampler.run = lambda latent, *rest: latent + 1
    latent, noise = drawn(1, 4, 2, 2), [drawn(1, 4, 2, 2, seed=seed) for seed in (1, 2)]
    prompts = Prompts(*torch.zeros(2, 1, 1, 1))
    found = sampler.sample(torch.zeros(1, 3, 16, 16), prompts, latent, RecordedNoise(noise), None)
    between = latent * 0.5 + (latent + 1) * 3 + noise[0] * 0.25
    torch.testing.assert_close(found, between * 2 - (between + 1) + noise[1] * 1e-10)


@pytest.mark.parametrize(("guidance", "guided"), [(0.0, False), (1.0, False), (1.01, True), (5.5, True)])
def test_guidance_begins_above_one(guidance, guided, networks):
    sampler = Sampler(*networks(), make_schedule(CONFIG, 1), guidance, torch.zeros(1, 77, 24))
    assert sampler.is_guided is guided
    rows = sampler._parts(torch.zeros(2, 3, 64, 64), None)[0].text.tolist()
    assert rows == ([0, 0, 1, 2] if guided else [0, 1])


def test_a_latent_is_cut_into_parts_of_one_size(networks):
    sampler = Sampler(*networks(), make_schedule(CONFIG, 1), 1.0, torch.zeros(1, 77, 24))
    windows = Windows(2, tuple((0, left) for left in range(11)))
    parts = sampler._parts(torch.zeros(1, 3, 16, 96), windows)
    assert [(part.count, len(part.rows)) for part in parts] == [(4, 4), (4, 4), (3, 4)]
    assert torch.cat([part.rows[: part.count] for part in parts]).tolist() == list(range(11))
