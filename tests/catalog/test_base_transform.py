"""A transform of anybody's data set is taken off and applied later as that data set applies it."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from image_sets import ImageItems, as_pillow, as_tensor
from PIL import Image
from torchvision import transforms as T  # noqa: N812

from srcache.catalog.base_transform import InForm
from srcache.catalog.sources import open_source
from srcache.errors import CatalogError
from srcache.images import Pixels


class Named(ImageItems):
    """Calls its transform as albumentations wants it."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(image=self.images[index])["image"], 0


class WithMask(ImageItems):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        both = self.transform(image=self.images[index], mask=1)
        return both["image"], both["mask"]


class Pair(ImageItems):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transform(self.images[index], 1)


class Keeps(ImageItems):
    """Has a transform that it never calls."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.images[index], 0


def halved(image: Any) -> dict[str, Any]:
    assert isinstance(image, np.ndarray)
    return {"image": image // 2}


def as_it_came(image: Any) -> Any:
    return image


def test_a_transform_that_is_called_by_name(pixels: list[Pixels]) -> None:
    source = open_source(Named(list(pixels), halved))
    np.testing.assert_array_equal(source.load(2).rgb, pixels[2])
    transform = pickle.loads(pickle.dumps(source.transform))
    np.testing.assert_array_equal(transform(as_pillow(pixels[2])), pixels[2] // 2)


@pytest.mark.parametrize("form", [np.asarray, as_tensor])
def test_a_transform_gets_images_in_the_form_in_which_its_data_set_gives_them(pixels: list[Pixels], form: Any) -> None:
    source = open_source(ImageItems([form(p) for p in pixels], as_it_came))
    assert isinstance(source.transform, InForm)
    given = source.transform(as_pillow(pixels[1]))
    assert type(given) is type(form(pixels[1]))
    np.testing.assert_array_equal(given, form(pixels[1]))


def test_to_pil_image_works_for_a_data_set_of_arrays(pixels: list[Pixels]) -> None:
    source = open_source(ImageItems(list(pixels), T.Compose([T.ToPILImage(), T.Resize(4)])))
    assert source.transform is not None
    assert source.transform(as_pillow(pixels[0])).size == (5, 4)


def test_a_transform_of_tensors_gets_no_memory_of_others(pixels: list[Pixels]) -> None:
    transform = InForm(lambda image: image.zero_(), "tensor", None)
    image = as_pillow(pixels[0])
    assert torch.equal(transform(image), torch.zeros(3, 12, 16, dtype=torch.uint8))
    np.testing.assert_array_equal(np.asarray(image), pixels[0])


@pytest.mark.parametrize("kind", [WithMask, Pair])
def test_a_transform_of_image_and_target_is_refused(pixels: list[Pixels], kind: Any) -> None:
    with pytest.raises(CatalogError, match="image and target together"):
        open_source(kind([as_pillow(p) for p in pixels], lambda *given, **named: given or named))


def test_a_transform_that_the_data_set_never_calls_is_not_applied(pixels: list[Pixels]) -> None:
    dataset = Keeps([as_pillow(p) for p in pixels], Image.Image.rotate)
    source = open_source(dataset)
    assert source.transform is None
    np.testing.assert_array_equal(source.load(0).rgb, pixels[0])
    assert dataset.transform is Image.Image.rotate
