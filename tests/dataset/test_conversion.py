"""Transforms on pixels and on batches give what torchvision gives for Pillow images, one by one."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import default_collate
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

from srcache.catalog.base_transform import InForm
from srcache.dataset.conversion import from_pixels, on_batches

BY_PIXEL = {
    "v1.ToTensor": v1.ToTensor(),
    "v1.PILToTensor": v1.PILToTensor(),
    "v2.ToImage": v2.ToImage(),
    "v2.PILToTensor": v2.PILToTensor(),
    "scaled": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
    "not scaled": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)]),
    "half": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float16, scale=True), v2.ToPureTensor()]),
    "normalised": v1.Compose([v1.ToTensor(), v1.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])]),
    "nested": v2.Compose(
        [v1.Compose([v1.PILToTensor(), v1.ConvertImageDtype(torch.float64)]), v2.Normalize([0.1] * 3, [2.0] * 3)]
    ),
    "sequential": nn.Sequential(v2.ToImage(), v2.ToDtype(torch.float32, scale=True), nn.Identity()),
}


class Mine(v2.ToImage):
    """A subclass may do anything."""

    def transform(self, inpt, params):
        return 255 - super().transform(inpt, params)


IMAGE_BY_IMAGE = {
    "none": None,
    "lambda": lambda image: np.asarray(image).mean(),
    "resized before": v1.Compose([v1.Resize(8), v1.ToTensor()]),
    "flipped": v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip()]),
    "nothing first": v2.Compose([v2.ToDtype(torch.float32)]),
    "subclass": Mine(),
    "types by kind": v2.Compose([v2.ToImage(), v2.ToDtype({tv_tensors.Image: torch.float32}, scale=True)]),
}


@pytest.fixture
def pixels():
    return np.random.default_rng(5).integers(0, 256, (4, 13, 9, 3), dtype=np.uint8)


def _as_pillow(transform, pixels):
    image = Image.fromarray(pixels)
    return image if transform is None else transform(image)


@pytest.mark.parametrize("name", BY_PIXEL)
def test_pixels_give_what_a_pillow_image_gives(name, pixels):
    convert = pickle.loads(pickle.dumps(from_pixels(BY_PIXEL[name])))
    for one in pixels:
        wanted, got = _as_pillow(BY_PIXEL[name], one), convert(one)
        assert type(got) is type(wanted)
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("name", BY_PIXEL)
def test_a_batch_gives_what_its_images_give(name, pixels):
    wanted = default_collate([_as_pillow(BY_PIXEL[name], one) for one in pixels])
    got = on_batches(BY_PIXEL[name])(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2))
    assert (type(got), got.dtype) == (type(wanted), wanted.dtype)
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("name", IMAGE_BY_IMAGE)
def test_any_other_transform_gets_pillow_images(name, pixels):
    transform = IMAGE_BY_IMAGE[name]
    assert on_batches(transform) is None
    torch.manual_seed(0)
    wanted = [_as_pillow(transform, one) for one in pixels]
    torch.manual_seed(0)
    got = [from_pixels(transform)(one) for one in pixels]
    assert all(np.array_equal(np.asarray(left), np.asarray(right)) for left, right in zip(got, wanted, strict=True))


def test_pixels_that_belong_to_somebody_else_are_not_given_away(pixels):
    lent = pixels[0].view()
    lent.flags.writeable = False
    made = from_pixels(v2.PILToTensor())(lent)
    made.zero_()
    assert pixels[0].any()


def test_the_default_type_is_that_of_the_moment(pixels):
    convert = from_pixels(v1.ToTensor())
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(convert(pixels[0]), v1.ToTensor()(Image.fromarray(pixels[0])))
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_transform_of_arrays_that_begins_with_a_tensor_is_as_fast_as_any(pixels):
    for transform in (v1.ToTensor(), BY_PIXEL["normalised"], v2.ToImage()):
        of_arrays = InForm(transform, "array", None)
        assert on_batches(of_arrays) is not None
        assert torch.equal(from_pixels(of_arrays)(pixels[0]), transform(pixels[0]))
    for other in (InForm(v1.ToTensor(), "array", "image"), InForm(v1.ToTensor(), "tensor", None)):
        assert on_batches(other) is None
