"""SeeSR's colour fixes, against the reference program's pixels."""

import pytest
import torch
from seesr_fixtures import case, cases
from srcache_plugins.stable_diffusion.colorfix import FIXES, adain, wavelet
from srcache_plugins.stable_diffusion.geometry import final_image


def planes(pixels):
    return pixels.permute(2, 0, 1)[None]


def noise(count=1, height=40, width=33, seed=0):
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(seed)).byte()


@pytest.mark.parametrize("fix", FIXES)
@pytest.mark.parametrize("name", cases("b_colorfix_"))
def test_pixels_are_the_references(name, fix):
    meta, tensors = case(name)
    fixed = FIXES[fix](planes(tensors["target"]), planes(tensors["source"]))
    difference = (fixed.int() - planes(tensors[fix]).int()).abs()
    assert fixed.dtype == torch.uint8
    assert difference.max() <= meta["tolerance"]["uint8_max"]
    assert (difference == 0).float().mean() >= 0.999


@pytest.mark.parametrize("name", [name for name in cases("c_pixels_") if case(name)[0]["align_method"] in FIXES])
def test_after_the_last_resize_too(name):
    meta, tensors = case(name)
    fixed = FIXES[meta["align_method"]](planes(255 - tensors["control"]), planes(tensors["control"]))
    height, width, _ = tensors["out"].shape
    final = torch.from_numpy(final_image(fixed[0].permute(1, 2, 0).numpy(), (height, width)).copy())
    assert (final.int() - tensors["out"].int()).abs().max() <= meta["tolerance"]["uint8_max"]


@pytest.mark.parametrize("fix", FIXES.values())
def test_an_image_does_not_depend_on_its_batch(fix):
    targets, sources = noise(5), noise(5, seed=1)
    together = fix(targets, sources)
    alone = torch.cat([fix(targets[i : i + 1], sources[i : i + 1]) for i in range(5)])
    assert torch.equal(together, alone)
    assert torch.equal(fix(targets.flip(0), sources.flip(0)), together.flip(0))


@pytest.mark.parametrize("fix", FIXES.values())
@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_one_colour_takes_on_the_sources(fix, level):
    flat = torch.full((1, 3, 24, 16), level, dtype=torch.uint8)
    fixed = fix(torch.full_like(flat, 77), flat)
    assert (fixed.int() - level).abs().max() <= 1  # truncated, not rounded


def test_adain_gives_mean_and_spread():
    target, source = noise() // 2 + 20, noise(seed=1) // 3 + 90
    fixed = adain(target, source).float()
    torch.testing.assert_close(fixed.mean((2, 3)), source.float().mean((2, 3)) - 0.5, atol=0.2, rtol=0)
    torch.testing.assert_close(fixed.std((2, 3)), source.float().std((2, 3)), atol=0.5, rtol=0)


def test_wavelet_gives_back_an_image_for_itself():
    image = noise()
    assert (wavelet(image, image).int() - image.int()).abs().max() <= 1


def test_values_outside_are_clamped():
    dark, bright = noise() // 8, noise(seed=1) // 8 + 224
    fixed = wavelet(torch.where(noise(seed=2) > 128, 255, 0).byte(), bright)
    assert fixed.max() == 255
    assert wavelet(torch.where(noise(seed=2) > 128, 255, 0).byte(), dark).min() == 0


@pytest.mark.gpu
@pytest.mark.parametrize("fix", FIXES)
def test_a_gpu_fixes_as_a_cpu_does(fix):
    target, source = noise(2, 96, 80), noise(2, 96, 80, seed=1)
    difference = (FIXES[fix](target.cuda(), source.cuda()).cpu().int() - FIXES[fix](target, source).int()).abs()
    assert difference.max() <= (0 if fix == "wavelet" else 1)
