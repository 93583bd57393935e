"""Images in samples: found in whatever holds them, read from any form, given back in the same."""

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from srcache.dataset.image_forms import as_form_of, decoded_of, swap_image
from srcache.errors import ConfigError
from srcache.images import Pixels, to_pixels

Pair = namedtuple("Pair", "image label")


@pytest.fixture
def rgb() -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def forms(rgb: Pixels) -> list[Any]:
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    return [Image.fromarray(rgb), rgb, tensor, tv_tensors.Image(tensor)]


@pytest.mark.parametrize("place", range(4))
def test_every_form_is_read_and_given_back(rgb: Pixels, place: int) -> None:
    image = forms(rgb)[place]
    np.testing.assert_array_equal(decoded_of(image).rgb, rgb)
    larger = np.repeat(np.repeat(rgb, 2, 0), 2, 1)
    found = as_form_of(image, larger)
    assert type(found) is type(image)
    np.testing.assert_array_equal(decoded_of(found).rgb, larger)
    if hasattr(image, "dtype"):
        assert found.dtype == image.dtype


def test_what_is_given_back_may_be_written_to(rgb: Pixels) -> None:
    fixed = rgb.copy()
    fixed.flags.writeable = False
    for image in forms(rgb)[1:]:
        as_form_of(image, fixed)[:] = 0
    assert fixed.any()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGBA", 4)])
def test_grey_and_transparent_images_are_settled_as_files_are(rgb: Pixels, mode: str, channels: int) -> None:
    image = Image.fromarray(rgb).convert(mode)
    array = np.array(image).reshape(5, 7, channels)
    for form in (image, array, torch.from_numpy(array).permute(2, 0, 1)):
        np.testing.assert_array_equal(decoded_of(form).rgb, to_pixels(image))


def test_the_image_is_found_in_whatever_holds_it(rgb: Pixels) -> None:
    boxes, label = torch.zeros(3, 4), 5
    for image in forms(rgb):
        for sample in (image, (image, label), [label, image], {"boxes": boxes, "image": image}, Pair(image, boxes)):
            found = swap_image(sample, lambda old: "new")
            assert type(found) is (type(sample) if sample is not image else str)
        nested = OrderedDict(target=({"boxes": boxes}, None), inputs=[image, b"x"])
        changed = swap_image(nested, lambda old: "new")
        assert (list(changed), changed["inputs"]) == (["target", "inputs"], ["new", b"x"])
        assert changed["target"][0]["boxes"] is boxes
        assert nested["inputs"][0] is image
    assert swap_image(Pair(forms(rgb)[0], 5), lambda old: "new") == Pair("new", 5)


def test_images_go_before_what_may_be_masks(rgb: Pixels) -> None:
    mask = torch.zeros(1, 5, 7, dtype=torch.uint8)
    for image in (forms(rgb)[0], forms(rgb)[3]):
        assert swap_image((mask, image), lambda old: "new")[0] is mask
    assert swap_image((tv_tensors.Mask(mask), rgb), lambda old: "new")[1] == "new"
    first, second = Image.fromarray(rgb), Image.fromarray(255 - rgb)
    assert swap_image((first, second), lambda old: "new") == ("new", second)


@pytest.mark.parametrize(
    "sample",
    [
        *(torch.zeros(3, 5, 7), np.zeros((5, 7, 3)), torch.zeros(5, 7, dtype=torch.uint8), (), {}, None, "a.png"),
        *(torch.zeros(2, 3, 5, 7, dtype=torch.uint8), np.zeros((3, 5, 7), np.uint8), (1, [2.0])),
    ],
    ids=str,
)
def test_a_sample_without_an_image_is_refused_with_what_it_has(sample: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a Pillow image, .* but got .*SRAugment must be the first"):
        swap_image(sample, lambda old: old)
