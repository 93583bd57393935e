"""torchvision's folders and any map-style data set, without their transforms: the same pixels and labels."""

import io
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_sets import ImageItems, as_pillow, as_tensor, fail, tens
from PIL import Image
from torchvision import datasets as tv
from torchvision import transforms as T  # noqa: N812

from srcache.catalog.scanning import from_dataset
from srcache.catalog.sources import open_source
from srcache.errors import CatalogError, ImageError
from srcache.images import Pixels


def test_a_folder(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos), transform=fail)
    source = open_source(folder)
    assert len(source) == 12
    assert source.transform is fail
    assert folder.transform is fail
    assert source.root == photos
    assert source.classes() == ("bark", "gravel", "moss")
    assert [source.label(index) for index in range(12)] == folder.targets
    assert source.path(3) == photos / "bark/bark3.jpg"
    assert source.data(3) == (photos / "bark/bark3.jpg").read_bytes()
    plain = tv.ImageFolder(str(photos))
    for index in range(12):
        np.testing.assert_array_equal(source.load(index).plain, np.asarray(plain[index][0]))


def test_a_target_transform_is_applied_and_makes_class_names_unknown(photos: Path) -> None:
    source = open_source(tv.ImageFolder(str(photos), target_transform=tens))
    assert source.label(11) == 20
    assert source.classes() is None
    catalog = from_dataset(tv.ImageFolder(str(photos), target_transform=tens))
    assert catalog.classes == ("0", "10", "20")
    assert catalog.rows[11].label == "20"


def test_a_dataset_folder_of_ones_own_loader(photos: Path) -> None:
    folder = tv.DatasetFolder(str(photos), loader=fail, extensions=(".png",))
    assert len(open_source(folder)) == 9
    assert open_source(folder).load(0).rgb.shape == (24, 32, 3)


@pytest.mark.parametrize("form", [as_pillow, np.asarray, as_tensor])
def test_items_of_every_form(pixels: list[Pixels], form: Callable[[Pixels], Any]) -> None:
    dataset = ImageItems([form(p) for p in pixels], transform=fail)
    source = open_source(dataset)
    assert source.transform is fail
    assert dataset.transform is fail, "the caller's object is not changed"
    assert (source.path(0), source.data(0), source.root, source.classes()) == (None, None, None, None)
    assert [source.label(index) for index in range(4)] == [0, 1, 0, 1]
    for index, rgb in enumerate(pixels):
        np.testing.assert_array_equal(source.load(index).rgb, rgb)
        np.testing.assert_array_equal(source.load(index).plain, rgb)


def test_an_item_that_changes_is_reported_if_asked(pixels: list[Pixels]) -> None:
    images = [as_pillow(p) for p in pixels]
    catalog = from_dataset(ImageItems(images))
    images[1] = images[0]
    with pytest.raises(ImageError) as caught:
        catalog.load(1, check=True)
    assert caught.value.reason == "changed"


def test_a_transparent_image_in_memory(pixels: list[Pixels]) -> None:
    clear = Image.fromarray(np.dstack([pixels[0], np.zeros((12, 16), np.uint8)]))
    both = open_source(ImageItems([clear])).load(0)
    assert (both.rgb == 255).all()
    np.testing.assert_array_equal(both.plain, pixels[0])


@pytest.mark.parametrize("transform", [T.ToTensor(), T.PILToTensor(), T.Resize(3), fail])
def test_whatever_the_transform_it_is_taken_off(pixels: list[Pixels], transform: Any) -> None:
    source = open_source(ImageItems([as_pillow(p) for p in pixels], transform=transform))
    assert source.transform is transform
    np.testing.assert_array_equal(source.load(3).rgb, pixels[3])


class Stubborn(ImageItems):
    """Applies something that cannot be taken off."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return torch.from_numpy(self.images[index]).permute(2, 0, 1) / 255, 0


class Calls(ImageItems):
    """Calls its transform without asking whether there is one."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), 0


class Plural(ImageItems):
    """Calls its image transform `transforms`."""

    def __init__(self, images: list[Any], transforms: Any) -> None:
        self.images, self.transforms = images, transforms

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transforms(self.images[index]) if self.transforms else self.images[index], 0


class ReadOnly(ImageItems):
    transform = property(lambda self: fail)

    def __init__(self, images: list[Any]) -> None:
        self.images = images


def test_a_transform_that_cannot_be_taken_off(pixels: list[Pixels]) -> None:
    with pytest.raises(
        CatalogError, match="Tensor of float32; if the data set applies a transform itself, pass it wit"
    ):
        open_source(Stubborn(list(pixels)))
    with pytest.raises(CatalogError, match="cannot be taken off"):
        open_source(ReadOnly(list(pixels)))


def test_a_data_set_that_calls_its_transform_without_asking(pixels: list[Pixels]) -> None:
    source = open_source(Calls([as_pillow(p) for p in pixels], transform=fail))
    np.testing.assert_array_equal(source.load(1).rgb, pixels[1])


def test_a_data_set_that_says_transforms(pixels: list[Pixels]) -> None:
    dataset = Plural([as_pillow(p) for p in pixels], fail)
    source = open_source(dataset)
    assert source.transform is fail
    assert dataset.transforms is fail
    np.testing.assert_array_equal(source.load(1).rgb, pixels[1])


class Vision(tv.VisionDataset):
    """A torchvision data set that keeps both transforms in one pair, as its detection sets do."""

    def __init__(self, images: list[Any], **transforms: Any) -> None:
        super().__init__("/nowhere", **transforms)
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, target = self.images[index], index
        return self.transforms(image, target) if self.transforms is not None else (image, target)


def test_a_pair_of_transforms_loses_only_the_images_half(pixels: list[Pixels]) -> None:
    dataset = Vision([as_pillow(p) for p in pixels], transform=fail, target_transform=tens)
    source = open_source(dataset)
    assert source.transform is fail
    assert source.label(3) == 30
    np.testing.assert_array_equal(source.load(3).rgb, pixels[3])
    assert dataset.transforms.transform is fail


def test_a_joint_transform_is_refused(pixels: list[Pixels]) -> None:
    with pytest.raises(CatalogError, match="image and target together"):
        open_source(Vision([as_pillow(p) for p in pixels], transforms=lambda image, target: (image, target)))


@pytest.mark.parametrize(
    "item", [np.zeros((4, 4, 3)), np.zeros((4, 4, 3), np.float32), torch.rand(3, 4, 4), "a.png", 7]
)
def test_items_that_are_no_images(item: Any) -> None:
    with pytest.raises(CatalogError, match="expected items that start with a Pillow image"):
        open_source(ImageItems([item]))


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (4, 4, 1), (4, 4, 4), (0, 4, 3)])
def test_arrays_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="expected an array") as caught:
        open_source(ImageItems([np.zeros(shape, np.uint8)])).load(0)
    assert caught.value.reason == "unsupported"


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR10's own files, with noise in them."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        batch = {"data": rng.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": rng.integers(0, 10, 2).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    names = {"label_names": [f"class{n}" for n in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    return folder.parent


@pytest.fixture
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tv.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)


@pytest.mark.usefixtures("_unchecked")
def test_cifar10(cifar: Path) -> None:
    dataset = tv.CIFAR10(str(cifar), transform=T.ToTensor())
    plain = tv.CIFAR10(str(cifar))
    source = open_source(dataset)
    assert isinstance(dataset.transform, T.ToTensor)
    assert isinstance(dataset[0][0], torch.Tensor)
    assert source.transform is dataset.transform
    assert [source.label(index) for index in range(10)] == dataset.targets
    for index in range(10):
        np.testing.assert_array_equal(source.load(index).rgb, np.asarray(plain[index][0]))
    catalog = from_dataset(dataset)
    assert catalog.rows[4].label == f"class{dataset.targets[4]}"
    assert catalog.classes == tuple(f"class{n}" for n in range(10))


@pytest.mark.usefixtures("_unchecked")
def test_cifar10s_labels_need_no_images(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tv.CIFAR10(str(cifar), target_transform=tens)
    source = open_source(dataset)
    monkeypatch.setattr(tv.CIFAR10, "__getitem__", fail)
    assert [source.label(index) for index in range(10)] == [10 * target for target in dataset.targets]


def test_a_broken_image_in_a_folder_has_a_reason(photos: Path) -> None:
    (photos / "moss/moss0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    folder = tv.ImageFolder(str(photos))
    with pytest.raises(ImageError) as caught:
        from_dataset(folder).load(8)
    assert caught.value.reason in {"unreadable", "truncated"}
    out = io.BytesIO()
    Image.fromarray(np.zeros((2, 2), np.float32)).save(out, "TIFF")
    (photos / "moss/moss0.png").write_bytes(out.getvalue())
    with pytest.raises(ImageError) as caught:
        open_source(folder).load(8)
    assert caught.value.reason == "unsupported"


def test_a_data_set_in_memory_is_asked_by_one_thread_at_a_time():
    class Fragile:
        inside = 0

        def __len__(self):
            return 40

        def __getitem__(self, index):
            Fragile.inside += 1
            assert Fragile.inside == 1, "two threads at once"
            time.sleep(0.001)
            Fragile.inside -= 1
            return np.full((4, 4, 3), index, np.uint8), index

    source = open_source(Fragile())
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda index: int(source.load(index).rgb[0, 0, 0]), range(40)))
    assert loaded == list(range(40))
