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
from torch.utils.data import Subset
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
    assert catalog.classes == tuple(map(str, range(21))), "each number is its own place"
    assert catalog.rows[11].label == "20"


def upside_down(path: str) -> Image.Image:
    return Image.open(path).convert("RGB").transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def test_a_dataset_folder_of_ones_own_loader_is_asked(photos: Path) -> None:
    folder = tv.DatasetFolder(str(photos), loader=upside_down, extensions=(".png",))
    source = open_source(folder)
    assert len(source) == 9
    np.testing.assert_array_equal(source.load(0).rgb, np.asarray(folder[0][0]))
    assert source.path(0) is None, "its files are not what it serves"


class Ages:
    """Has `samples` like torchvision's folders, but makes its labels itself."""

    def __init__(self, photos: Path) -> None:
        self.samples = [(str(path), 40 + number) for number, path in enumerate(sorted(photos.glob("*/*.png")))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, age = self.samples[index]
        return Image.open(path).convert("RGB"), int(age > 45)


class Cropping(tv.ImageFolder):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = super().__getitem__(index)
        return image.crop((0, 0, 8, 8)), label


class Short(tv.ImageFolder):
    def __len__(self) -> int:
        return 5


class Normalising(Subset):
    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        image, label = super().__getitem__(index)
        return T.ToTensor()(image), label

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class Shifted(Subset):
    """Takes other items than its indices say, and has a transform of its own."""

    def __init__(self, dataset: Any, indices: list[int], transform: Any) -> None:
        super().__init__(dataset, indices)
        self.transform = transform

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        image, label = self.dataset[self.indices[index] + 1]
        return self.transform(image), label + 10

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


def test_labels_are_those_of_the_items_not_those_in_samples(photos: Path) -> None:
    source = open_source(Ages(photos))
    assert [source.label(index) for index in range(len(source))] == [0] * 6 + [1] * 3


def test_a_subclass_with_items_of_its_own_is_asked(photos: Path) -> None:
    source = open_source(Cropping(str(photos), transform=fail))
    assert source.load(0).rgb.shape == (8, 8, 3)
    assert source.transform is fail
    assert len(open_source(Short(str(photos)))) == 5


def test_a_subclass_without_items_of_its_own_is_read_by_its_files(photos: Path) -> None:
    class Named(tv.ImageFolder):
        def __init__(self, root: Path) -> None:
            super().__init__(str(root))

    assert open_source(Named(photos)).path(0) is not None


def test_a_subset_with_items_of_its_own_is_asked(photos: Path) -> None:
    source = open_source(Shifted(tv.ImageFolder(str(photos)), [2, 3], fail))
    assert source.transform is fail
    assert [source.label(index) for index in range(2)] == [10, 11]
    np.testing.assert_array_equal(source.load(0).rgb, np.asarray(Image.open(photos / "bark/bark3.jpg")))
    with pytest.raises(CatalogError, match="item 0 has a Tensor of float32; if the data set applies a transform"):
        open_source(Normalising(tv.ImageFolder(str(photos)), [0]))


def test_the_labels_of_qmnist_are_not_its_targets() -> None:
    dataset = tv.QMNIST.__new__(tv.QMNIST)
    dataset.data = torch.zeros(2, 28, 28, dtype=torch.uint8)
    dataset.targets = torch.arange(16).reshape(2, 8)
    dataset.transform, dataset.target_transform, dataset.compat = None, None, True
    assert [open_source(dataset).label(index) for index in range(2)] == [0, 8]


@pytest.mark.parametrize("form", [as_pillow, np.asarray, as_tensor])
def test_items_of_every_form(pixels: list[Pixels], form: Callable[[Pixels], Any]) -> None:
    dataset = ImageItems([form(p) for p in pixels], transform=fail)
    source = open_source(dataset)
    assert getattr(source.transform, "inner", source.transform) is fail
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


class Moody(ImageItems):
    """Fails for some of its items, as somebody's own code may."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if index == 0:
            raise ValueError("no such channel")
        if index == 2:
            return None  # type: ignore[return-value]
        return super().__getitem__(index)


def test_an_item_that_fails_is_named_and_the_others_are_served(pixels: list[Pixels]) -> None:
    source = open_source(Moody([as_pillow(p) for p in pixels]))
    np.testing.assert_array_equal(source.load(1).rgb, pixels[1])
    for index, words in [(0, r"item 0 \(ValueError: no such channel\)"), (2, "item 2 is a NoneType")]:
        with pytest.raises(ImageError, match=words):
            source.load(index)
    catalog = from_dataset(Moody([as_pillow(p) for p in pixels]))
    assert [problem.reason for problem in catalog.problems] == ["unreadable", "unsupported"]
    assert len(catalog) == 2


def test_a_data_set_of_which_no_item_works_says_why() -> None:
    with pytest.raises(CatalogError, match=r"cannot give its item 0 \(KeyError: 0\)"):
        open_source({"a": 1})


class Grudging:
    """A foreign image whose pixels, or a foreign label whose number, cannot be had."""

    dtype, shape = "uint8", (3, 4, 3)

    def numpy(self) -> Any:
        raise AttributeError("the tensor is on another device")


def test_whatever_somebody_elses_code_raises_is_one_items_failure(pixels: list[Pixels]) -> None:
    images = [as_pillow(pixels[0]), Grudging(), as_pillow(pixels[2])]
    catalog = from_dataset(ImageItems(images))
    assert [row.name for row in catalog.rows] == ["00000000", "00000002"]
    assert [(one.name, one.reason) for one in catalog.problems] == [("00000001", "unreadable")]
    assert "item 1 (AttributeError: the tensor is on another device)" in catalog.problems[0].detail


def test_a_label_that_cannot_be_had_is_one_items_failure(tmp_path: Path, pixels: list[Pixels]) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        as_pillow(pixels[0]).save(tmp_path / name)
    folder = tv.ImageFolder(str(tmp_path), target_transform=lambda target: 1 // target)
    catalog = from_dataset(folder)
    assert [row.name for row in catalog.rows] == ["b/2.png"]
    assert "item 0 (ZeroDivisionError" in catalog.problems[0].detail
