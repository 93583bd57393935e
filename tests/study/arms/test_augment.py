"""Augmentation: Keras' layers as oracle; changes as a function of (seed, epoch, index); images brought to a size."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from srcache.errors import ConfigError
from srcache.study.arms.augment import Change, apply, brighten, contrast, draw_change, fit_to_size, saturate, translate

HEIGHT, WIDTH = 20, 30


@pytest.fixture(scope="module")
def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def image():
    """Noise, with rows of black, white and grey, where a saturation or a hue is no number."""
    made = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    made[:, 0], made[:, 1], made[:, 2], made[1:, 3] = 0, 1, 0.5, 0
    return made


def by(layer, image, **transformation):
    """What one of Keras' layers makes of a image, with what it should draw."""
    images = image.permute(1, 2, 0)[None].clone()
    return layer.transform_images(images, transformation, training=True)[0].permute(2, 0, 1)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("delta", [-0.1, -0.03, 0.07, 0.1])
def test_brightness_is_that_of_keras(keras, image, delta):
    layer = keras.layers.RandomBrightness(0.1, value_range=(0, 1))
    close(brighten(image, delta), by(layer, image, rgb_delta=torch.tensor(delta)))


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.2])
def test_contrast_is_that_of_keras(keras, image, factor):
    layer = keras.layers.RandomContrast(0.2, value_range=(0, 1))
    close(contrast(image, factor), by(layer, image, contrast_factor=torch.tensor(factor)))


@pytest.mark.parametrize("factor", [0.0, 0.4, 0.5, 0.6, 0.9])
def test_saturation_is_that_of_keras(keras, image, factor):
    layer = keras.layers.RandomSaturation((0.4, 0.6), value_range=(0, 1))
    close(saturate(image, factor), by(layer, image, factor=torch.tensor([factor / (1 - factor)])))


@pytest.mark.parametrize(("down", "right"), [(0.1, 0), (0, -0.1), (0.05, 0.1), (-0.083, 0.017), (0.5, -0.9)])
def test_translation_is_that_of_keras(keras, image, down, right):
    layer = keras.layers.RandomTranslation(0.1, 0.1)
    shifts = torch.tensor([[right * WIDTH, down * HEIGHT]])
    close(
        translate(image, down, right),
        by(layer, image, translations=shifts, input_shape=(1, HEIGHT, WIDTH, 3)),
    )


def test_the_ranges_are_those_that_keras_draws_from(keras, image):
    """The least and the greatest of what Keras' layers draw lie within ours, and near to the ends."""
    images = image.permute(1, 2, 0)[None].repeat(400, 1, 1, 1)
    layers = keras.layers
    value = {"value_range": (0, 1), "seed": 1}
    drawn = {
        "brightness": layers.RandomBrightness(0.1, **value).get_random_transformation(images),
        "contrast": layers.RandomContrast((0.2, 0.2), **value).get_random_transformation(images),
        "saturation": layers.RandomSaturation((0.4, 0.6), **value).get_random_transformation(images),
        "right": layers.RandomTranslation(0.1, 0.1, seed=1).get_random_transformation(images),
    }
    theirs = {
        "brightness": drawn["brightness"]["rgb_delta"],
        "contrast": drawn["contrast"]["contrast_factor"],
        "saturation": drawn["saturation"]["factor"] / (1 + drawn["saturation"]["factor"]),
        "right": drawn["right"]["translations"][:, 0] / WIDTH,
    }
    for name, values in theirs.items():
        ours = [getattr(draw_change("thesis", 0, 0, index), name) for index in range(400)]
        width = max(ours) - min(ours)
        assert min(ours) == pytest.approx(values.min().item(), abs=0.03 * width), name
        assert max(ours) == pytest.approx(values.max().item(), abs=0.03 * width), name


def test_a_saturation_of_one_half_and_the_empty_change_leave_a_image_alone(image):
    close(saturate(image, 0.5), image)
    assert torch.equal(apply(image, Change()), image)


def test_a_flip_is_a_flip_and_a_shift_by_full_pixels_moves_pixels(image):
    assert torch.equal(apply(image, Change(flip=True)), image.flip(-1))
    moved = translate(image, 2 / HEIGHT, -3 / WIDTH)
    close(moved[:, 2:, :-3], image[:, :-2, 3:])
    close(moved[:, :2, :-3], image[:, :2, 3:].flip(-2))
    close(moved[:, 2:, -3:], image[:, :-2, -3:].flip(-1))


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), st.integers(0, 10**6))
def test_chance_depends_on_seed_epoch_and_index_alone(seed, epoch, index):
    change = draw_change("thesis", seed, epoch, index)
    draw_change("thesis", seed, epoch, index + 1)
    assert draw_change("thesis", seed, epoch, index) == change
    others = [draw_change("thesis", *there) for there in ((seed + 1, epoch, index), (seed, epoch + 1, index))]
    assert change not in others
    assert draw_change("flip", seed, epoch, index) == Change(flip=change.flip), (
        "one thing less drawn, the rest the same"
    )
    assert draw_change("none", seed, epoch, index) == Change()
    changed = apply(torch.full((3, 4, 5), 0.25), replace(change, brightness=1.0))
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


GOLDEN = Change(
    flip=False,
    brightness=-0.031164773446166513,
    contrast=0.9214258503454507,
    saturation=0.46255073533010027,
    down=-0.08145239309646811,
    right=-0.0755768347739802,
)


def test_what_is_drawn_is_frozen():
    change = draw_change("thesis", 7, 3, 11)
    assert change.flip is GOLDEN.flip, "other random numbers: trainings cannot be repeated"
    for name in ("brightness", "contrast", "saturation", "down", "right"):
        assert getattr(change, name) == pytest.approx(getattr(GOLDEN, name), abs=1e-12)


def test_half_of_the_images_are_flipped():
    flips = sum(draw_change("flip", 0, 0, index).flip for index in range(1000))
    assert 450 < flips < 550


@pytest.mark.parametrize(("shape", "size"), [((10, 20), (20, 20)), ((21, 10), (21, 21)), ((10, 11), (20, 22))])
def test_padding_lies_where_keras_puts_it(keras, shape, size):
    """Where nothing need be resized, the two are equal; black on both sides, alike."""
    rgb = np.random.default_rng(0).integers(1, 256, (*shape, 3), np.uint8)
    ours = fit_to_size(rgb, size, "pad")
    theirs = keras.ops.image.resize(rgb.astype("float32"), size, pad_to_aspect_ratio=True, interpolation="nearest")
    if size[0] == shape[1]:
        assert np.array_equal(ours, theirs.numpy())
    assert np.array_equal(ours.max(-1) > 0, theirs.numpy().max(-1) > 0)


def test_padding_and_resizing_together_come_close_to_keras(keras):
    """Both are bicubic and antialiased; Pillow rounds to 8 bits between its two passes."""
    rows, columns = np.mgrid[0:60, 0:90]
    waves = np.stack([128 + 90 * np.sin(rows / 7 + columns / k) for k in (5, 9, 13)], -1)
    rgb = waves.round().astype(np.uint8)
    theirs = keras.ops.image.resize(
        rgb.astype("float32"), (40, 40), interpolation="bicubic", antialias=True, pad_to_aspect_ratio=True
    ).numpy()
    assert np.abs(fit_to_size(rgb, (40, 40), "pad").astype(float) - theirs.clip(0, 255)).max() < 4


def test_stretching_ignores_the_aspect_and_a_image_of_the_size_is_not_touched():
    rgb = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    assert fit_to_size(rgb, (10, 20), "stretch") is rgb
    assert fit_to_size(rgb, (10, 20), "pad") is rgb
    assert fit_to_size(rgb, (16, 16), "stretch").shape == (16, 16, 3)
    assert fit_to_size(np.full((10, 20, 3), 255, np.uint8), (16, 16), "stretch").min() == 255
    assert fit_to_size(np.full((10, 20, 3), 255, np.uint8), (16, 16), "pad")[:3].max() == 0


def test_other_words_are_refused():
    with pytest.raises(ConfigError, match="fit must be one of pad, stretch, but is 'crop'"):
        fit_to_size(np.zeros((2, 2, 3), np.uint8), (2, 2), "crop")
    with pytest.raises(ConfigError, match="augmentation must be one of none, flip, thesis, trivial, but is 'mixup'"):
        draw_change("mixup", 0, 0, 0)


def test_trivial_is_what_torchvision_draws_and_leaves_the_global_generator_alone(image):
    levels = (image * 255).round().to(torch.uint8)
    before, draws = torch.get_rng_state(), set()
    for index in range(40):
        change = draw_change("trivial", 3, 1, index)
        ours = apply(levels.float() / 255, change)
        assert (torch.get_rng_state() == before).all()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(change.trivial)
            theirs = v2.TrivialAugmentWide()(levels)
        assert torch.equal(ours, theirs.float() / 255)
        draws.add(change.trivial)
    assert len(draws) == 40
    assert draw_change("trivial", 3, 2, 0) != draw_change("trivial", 3, 1, 0) == draw_change("trivial", 3, 1, 0)
