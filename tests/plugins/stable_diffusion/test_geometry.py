"""SeeSR's sizes and resizes, against the reference program's own rows and pixels."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from seesr_fixtures import GOLDEN, case, cases
from srcache_plugins.stable_diffusion.geometry import control_image, final_image, resize_steps

ROWS = json.loads((GOLDEN / "c_geometry.json").read_text(encoding="utf-8"))["rows"]


def network_size(height, width, scale, process_size):
    """The last of an image's sizes, at which the networks see it."""
    return resize_steps(height, width, scale, process_size)[-1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "{in_w}x{in_h} x{upscale} {process_size}".format(**row))
def test_sizes_are_the_references(row):
    found = network_size(row["in_h"], row["in_w"], row["upscale"], row["process_size"])
    assert found == (row["network_h"], row["network_w"])


def test_truncation_is_kept():
    sides = [side for side in range(1, 129) if network_size(side, side, 4, 512) != (512, 512)]
    assert sides == [49, 98, 103, 107], "another rounding moves the pixels of every cached image of these sides"


@pytest.mark.parametrize("name", cases("c_pixels_"))
def test_control_images_are_the_references(name):
    meta, tensors = case(name)
    control = control_image(tensors["lr"].numpy(), meta["upscale"], meta["process_size"])
    np.testing.assert_array_equal(control, tensors["control"].numpy())


def test_final_image_is_the_references():
    meta, tensors = case("c_pixels_40x29")
    assert meta["align_method"] == "nofix"
    small = tensors["lr"].shape[0] * meta["upscale"], tensors["lr"].shape[1] * meta["upscale"]
    final = final_image(255 - tensors["control"].numpy(), small)
    np.testing.assert_array_equal(final, tensors["out"].numpy())


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from([64, 256, 512]))
def test_sizes_suit_the_network_and_turn_with_the_image(height, width, scale, process_size):
    tall, wide = network_size(height, width, scale, process_size)
    assert tall % 8 == wide % 8 == 0
    assert min(tall, wide) >= process_size - scale - 7
    assert network_size(width, height, scale, process_size) == (wide, tall)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 20), (70, 64)])
def test_images_have_the_sizes_of_the_steps(height, width):
    lr = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    control = control_image(lr, 4, 128)
    assert control.shape == (*network_size(height, width, 4, 128), 3)
    assert final_image(control, (4 * height, 4 * width)).shape == (4 * height, 4 * width, 3)


def test_resizes_are_not_fused():
    lr = np.random.default_rng(1).integers(0, 256, (29, 40, 3), np.uint8)
    control = control_image(lr, 4, 128)
    fused = np.asarray(Image.fromarray(lr).resize(control.shape[1::-1], Image.Resampling.BICUBIC))
    assert not np.array_equal(control, fused)
