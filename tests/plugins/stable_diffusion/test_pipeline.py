"""The way from image to image that engines share, around latents that are the control image's own."""

from types import SimpleNamespace

import pytest
import torch
from srcache_plugins.stable_diffusion.colorfix import FIXES
from srcache_plugins.stable_diffusion.pipeline import Latents, Pipeline, Settings, finished

from srcache.engine.interface import Failure, Tiling, Unfinished

CPU = torch.device("cpu")


class Plain:
    """A VAE that encodes each cell as its mean colour and decodes it as a square of that."""

    scaling_factor = 0.5

    def encode(self, images):
        mean = torch.nn.functional.avg_pool2d(images, 8)
        return torch.cat([mean, mean[:, :1], torch.zeros_like(mean), mean[:, :1] * 0], 1)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents[:, :3], scale_factor=8.0)

    decode32 = decode


class Own(Pipeline):
    def open_inner(self):
        return SimpleNamespace(predict=abs, run=abs)

    def latents(self, prepared, control, seeds, windows):
        noise = self.noise(seeds, (control.shape[-2] // 8, control.shape[-1] // 8)).draw_posterior()
        values = self.encode(control.float() / 255, None if self.settings.prompt else noise)
        return Latents(values / self.networks.vae.scaling_factor, [{"seed": seed} for seed in seeds])


def pipeline(vae=None, **changes):
    given = {"scale": 2, "process_size": 16, "prompt": "mean", "parity": False, "precision": "fp16", "tiling": None}
    settings = Settings(**{**given, "color_fix": None, **changes})
    return Own(SimpleNamespace(vae=vae or Plain()), settings, CPU)


def some(count=2, height=8, width=12):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=rng).mul(255).round() / 255


def test_a_batch_is_prepared_computed_and_finished():
    own, images = pipeline(), some()
    prepared = own.prepare(images)
    assert prepared.control.shape == (2, 3, 16, 24)
    computed = own.compute(prepared, [5, 6])
    assert all(isinstance(each, Unfinished) for each in computed)
    for number, (each, whole) in enumerate(zip(computed, own.upscale(images, [5, 6]), strict=True)):
        made = each.finish()
        assert torch.equal(made.image, whole.image)
        assert made.image.shape == (3, 16, 24)
        assert made.notes == {
            "seed": 5 + number,
            "network": [16, 24],
            "windows": 1,
            "mode": "eager",
            "batch": 2,
            "decoded_in": "fp16",
        }
    wanted = torch.nn.functional.avg_pool2d(prepared.control[:1].float() / 255, 8)
    found = computed[0].finish().image[None, :, ::8, ::8]
    assert (found - wanted).abs().max() <= 0.5 / 255 + 1e-6


def test_a_sample_is_drawn_from_each_image_s_seed():
    own, images = pipeline(prompt=""), some(1)
    first, again, other = (own.upscale(images, [seed])[0].image for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "not_finite"), (0.25, "blank")])
def test_what_half_precision_spoils_is_decoded_again_and_may_fail_alone(value, reason):
    class Spoilt(Plain):
        healthy = True

        def decode(self, latents):
            return super().decode(latents).index_fill(0, torch.tensor([1]), value)

        def decode32(self, latents):
            return Plain.decode(self, latents) if self.healthy else torch.full((1, 3, 16, 24), value)

    vae = Spoilt()
    whole, made = pipeline().upscale(some(), [1, 2]), pipeline(vae).upscale(some(), [1, 2])
    assert [each.notes["decoded_in"] for each in made] == ["fp16", "fp32"]
    assert all(torch.equal(one.image, other.image) for one, other in zip(whole, made, strict=True))
    vae.healthy = False
    first, failure = pipeline(vae).upscale(some(), [1, 2])
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert torch.equal(first.image, whole[0].image)


@pytest.mark.parametrize("fix", [None, *FIXES])
def test_an_image_is_finished_at_the_size_that_was_asked_for(fix):
    control, image = ((some(1, 16, 24)[0] * 255).byte() for _ in range(2))
    made = finished(image // 2, control, (15, 22), fix)
    assert made.shape == (3, 15, 22)
    assert torch.equal(made, (made * 255).round() / 255)
    near = (made.mean() - control.float().mean() / 255).abs() < 0.02
    assert near == (fix is not None)


@pytest.mark.parametrize(
    ("size", "tiling", "width"),
    [
        ((128, 128), None, 64),
        ((512, 512), None, 4),
        ((128, 128), Tiling(size=24, overlap=8), 1),
        ((2048, 2048), None, 1),
    ],
)
def test_a_batch_is_as_wide_as_its_shape_needs_to_fill_a_gpu(size, tiling, width):
    assert pipeline(tiling=tiling).width(*size) == width


def test_what_cannot_be_tiled_fails_in_words_and_is_a_batch_of_its_own():
    own = pipeline(tiling=Tiling(size=4, overlap=2))
    outcomes = own.upscale(some(2, 8, 40), [1, 2])
    assert {each.reason for each in outcomes} == {"too_narrow"}
    assert own.width(8, 40) == 1
