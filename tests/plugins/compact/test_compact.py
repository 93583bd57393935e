"""The embedded network: what it promises, what it reaches on photographs that it never saw, what it leaves alone."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from srcache_plugins.compact import SCALES, Compact

from srcache.conformance import check_engine
from srcache.engine.interface import Setup
from srcache.engine.registry import open_engine
from srcache.errors import EngineError
from srcache.images import from_tensor, resize, to_batch
from srcache.recipe.degradation import Degradation
from srcache.recipe.reading import load_recipe
from srcache.study.quality.psnr_ssim import Convention, measure_image

LEAST_GAIN = {2: 1.5, 4: 0.5}
"""dB over bicubic on the Y of a scikit-image photo; the card has the figures for complete sets."""


def upscaled(pixels, scale, precision="fp32"):
    engine = open_engine("compact", Setup(scale=scale, precision=precision))
    (outcome,) = engine.upscale(to_batch([pixels]), [0])
    return from_tensor(outcome.image)


@pytest.mark.medium
@pytest.mark.parametrize("scale", SCALES)
def test_it_keeps_the_promises_of_an_engine(scale):
    assert len(check_engine("compact", Setup(scale=scale), batch=3, size=(17, 24))) >= 19


@pytest.mark.medium
@pytest.mark.parametrize("scale", SCALES)
def test_it_beats_bicubic_on_a_photo_that_it_never_saw(scale):
    data = pytest.importorskip("skimage.data")
    hr = data.astronaut()[64:320, 128:384]
    lr = Degradation(factor=scale).apply(hr)
    convention = Convention(channel="y", crop_border=scale)
    bicubic = measure_image(resize(lr, hr.shape[:2], "bicubic"), hr, convention).psnr
    assert measure_image(upscaled(lr, scale), hr, convention).psnr > bicubic + LEAST_GAIN[scale]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("level", [0, 37, 128, 255])
def test_flat_colours_stay_without_grid_or_shift(scale, level):
    flat = np.full((24, 24, 3), (level, 255 - level, level // 2), np.uint8)
    inner = upscaled(flat, scale)[8 * scale : -8 * scale, 8 * scale : -8 * scale].astype(int)
    assert np.abs(inner - flat[0, 0].astype(int)).max() <= 1


@pytest.mark.parametrize("scale", SCALES)
def test_the_weights_are_small_half_precision_and_what_the_recipe_names(scale):
    path = files("srcache_plugins.compact") / f"compact-x{scale}.safetensors"
    tensors = load_file(str(path))
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float16)}
    assert sum(tensor.size for tensor in tensors.values()) <= 1_000_000
    assert len(path.read_bytes()) <= 3_000_000
    assert load_recipe("compact", {"scale": scale}).weights == Compact.info.weights


def test_bf16_is_close_and_other_scales_are_refused():
    pixels = from_tensor(torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(1)))
    close = np.abs(upscaled(pixels, 4).astype(int) - upscaled(pixels, 4, "bf16").astype(int))
    assert close.mean() < 1
    with pytest.raises(EngineError, match="2 or 4"):
        Compact(Setup(scale=3))


def test_on_a_gpu_its_batches_are_as_wide_as_fills_it():
    engine = open_engine("compact", Setup(scale=4))
    sides = (16, 128, 256, 2000)
    assert [engine.batch_width(side, side) for side in sides] == [16] * 4, "on a CPU, one after the other anyway"
    engine._device = torch.device("cuda")
    assert [engine.batch_width(side, side) for side in sides] == [16, 8, 2, 1]
