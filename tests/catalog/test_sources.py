"""Data sets without their transforms: the same files, labels and keys as in a folder, and nobody's object changed."""

import copy
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, random_split
from torchvision import datasets as tv
from torchvision import transforms as T  # noqa: N812

from srcache.catalog.scanning import from_dataset, open_catalog, scan
from srcache.catalog.sources import label_text, open_source
from srcache.errors import CatalogError, ImageError
from srcache.images import Pixels
from srcache.keys import pixel_key


def fail(*_: Any) -> None:
    raise AssertionError("a transform ran")


def tens(target: int) -> int:
    return 10 * target


class Pictures:
    """A map-style data set as people write them."""

    def __init__(self, images: list[Any], transform: Any = None) -> None:
        self.images = images
        self.transform = transform
        self.calls = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.calls += 1
        image = self.images[index]
        return (self.transform(image) if self.transform is not None else image), index % 2


@pytest.fixture
def pixels(make_image: Callable[..., Pixels]) -> list[Pixels]:
    return [make_image(12, 16, seed) for seed in range(4)]


# --- torchvision folders ---


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


def test_a_folders_catalog_is_the_folders(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos), transform=fail)
    assert from_dataset(folder).to_csv() == scan(photos).to_csv()
    assert from_dataset(folder).rows == scan(photos).rows


def test_a_relative_root(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    catalog = from_dataset(tv.ImageFolder(photos.name))
    monkeypatch.chdir("/")
    assert catalog.rows == scan(photos).rows
    assert catalog.load(0, check=True).rgb.shape == (24, 32, 3)


def test_a_target_transform_is_applied_and_makes_class_names_unknown(photos: Path) -> None:
    source = open_source(tv.ImageFolder(str(photos), target_transform=tens))
    assert source.label(11) == 20
    assert source.classes() is None
    catalog = from_dataset(tv.ImageFolder(str(photos), target_transform=tens))
    assert catalog.classes == ("0", "10", "20")
    assert catalog.rows[11].label == "20"


def test_a_second_look_at_a_folder_reads_no_files(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = 1_700_000_000
    for file in photos.rglob("*.*"):
        os.utime(file, (then, then))
    first = from_dataset(Subset(tv.ImageFolder(str(photos)), [5, 1]))
    scan(photos)
    monkeypatch.setattr("srcache.catalog.hashing.file_key", fail)
    assert from_dataset(Subset(tv.ImageFolder(str(photos)), [5, 1])).rows == first.rows
    assert len(scan(photos)) == 12, "a subset does not make the memo forget the rest"


def test_a_file_that_is_gone_leaves_a_problem_and_the_rest_in_order(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos))
    (photos / "bark/bark1.png").unlink()
    catalog = from_dataset(folder)
    assert [problem.reason for problem in catalog.problems] == ["unreadable"]
    assert len(catalog) == 11
    assert catalog.source is not None
    for index in range(11):
        catalog.load(index, check=True)
        assert catalog.source.path(index) == catalog.rows[index].path
    with pytest.raises(ImageError) as caught:
        open_source(folder).load(1)
    assert caught.value.reason == "unreadable"


def test_a_dataset_folder_of_ones_own_loader(photos: Path) -> None:
    folder = tv.DatasetFolder(str(photos), loader=fail, extensions=(".png",))
    assert len(open_source(folder)) == 9
    assert open_source(folder).load(0).rgb.shape == (24, 32, 3)


# --- subsets ---


def test_subsets_of_subsets(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos), transform=fail)
    inner = Subset(folder, [11, 0, 5, 7])
    source = open_source(Subset(inner, torch.tensor([3, 1, 1])))
    assert source.transform is fail
    assert source.classes() == ("bark", "gravel", "moss")
    assert source.root == photos
    assert [source.path(index) for index in range(len(source))] == [Path(folder.samples[i][0]) for i in (7, 0, 0)]
    assert [source.label(index) for index in range(3)] == [1, 0, 0]
    assert source.data(0) == Path(folder.samples[7][0]).read_bytes()
    np.testing.assert_array_equal(source.load(1).rgb, open_source(folder).load(0).rgb)


def test_random_split(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos))
    parts = random_split(folder, [9, 3], generator=torch.Generator().manual_seed(0))
    keys = [row.key for part in parts for row in from_dataset(part).rows]
    assert sorted(keys) == sorted(row.key for row in scan(photos).rows)


def test_a_subset_of_pictures_in_memory_is_named_by_its_own_numbers(pixels: list[Pixels]) -> None:
    catalog = from_dataset(Subset(Pictures([Image.fromarray(p) for p in pixels]), [2, 0]))
    assert [row.name for row in catalog.rows] == ["00000000", "00000001"]
    assert [row.key for row in catalog.rows] == [pixel_key(pixels[2]), pixel_key(pixels[0])]


# --- pictures in memory ---


def as_pillow(rgb: Pixels) -> Image.Image:
    return Image.fromarray(rgb)


def as_tensor(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)


@pytest.mark.parametrize("form", [as_pillow, np.asarray, as_tensor])
def test_items_of_every_form(pixels: list[Pixels], form: Callable[[Pixels], Any]) -> None:
    dataset = Pictures([form(p) for p in pixels], transform=fail)
    source = open_source(dataset)
    assert source.transform is fail
    assert dataset.transform is fail, "the caller's object is not changed"
    assert (source.path(0), source.data(0), source.root, source.classes()) == (None, None, None, None)
    assert [source.label(index) for index in range(4)] == [0, 1, 0, 1]
    for index, rgb in enumerate(pixels):
        np.testing.assert_array_equal(source.load(index).rgb, rgb)
        np.testing.assert_array_equal(source.load(index).plain, rgb)


def test_a_catalog_of_items(pixels: list[Pixels]) -> None:
    catalog = open_catalog(Pictures([as_pillow(p) for p in pixels], transform=fail))
    assert [row.name for row in catalog.rows] == ["00000000", "00000001", "00000002", "00000003"]
    assert [row.key for row in catalog.rows] == [pixel_key(p) for p in pixels]
    assert [row.label for row in catalog.rows] == ["0", "1", "0", "1"]
    assert catalog.classes == ("0", "1")
    assert catalog.root is None
    np.testing.assert_array_equal(catalog.load(2, check=True).rgb, pixels[2])


def test_items_are_made_once_for_a_catalog(pixels: list[Pixels]) -> None:
    calls: list[int] = []

    class Counted(Pictures):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            calls.append(index)
            return super().__getitem__(index)

    from_dataset(Counted([as_pillow(p) for p in pixels]))
    assert calls == [0, 1, 2, 3]


def test_progress_of_items(pixels: list[Pixels]) -> None:
    told: list[tuple[int, int]] = []
    from_dataset(Pictures([as_pillow(p) for p in pixels]), progress=lambda *step: told.append(step))
    assert told[0] == (1, 4)
    assert told[-1] == (4, 4)


def test_an_item_that_changes_is_told_if_asked(pixels: list[Pixels]) -> None:
    images = [as_pillow(p) for p in pixels]
    catalog = from_dataset(Pictures(images))
    images[1] = images[0]
    with pytest.raises(ImageError) as caught:
        catalog.load(1, check=True)
    assert caught.value.reason == "changed"


def test_a_transparent_picture_in_memory(pixels: list[Pixels]) -> None:
    clear = Image.fromarray(np.dstack([pixels[0], np.zeros((12, 16), np.uint8)]))
    both = open_source(Pictures([clear])).load(0)
    assert (both.rgb == 255).all()
    np.testing.assert_array_equal(both.plain, pixels[0])


@pytest.mark.parametrize("transform", [T.ToTensor(), T.PILToTensor(), T.Resize(3), fail])
def test_whatever_the_transform_it_is_taken_off(pixels: list[Pixels], transform: Any) -> None:
    source = open_source(Pictures([as_pillow(p) for p in pixels], transform=transform))
    assert source.transform is transform
    np.testing.assert_array_equal(source.load(3).rgb, pixels[3])


class Stubborn(Pictures):
    """Applies something that cannot be taken off."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return torch.from_numpy(self.images[index]).permute(2, 0, 1) / 255, 0


class Calls(Pictures):
    """Calls its transform without asking whether there is one."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), 0


class Plural(Pictures):
    """Calls its image transform `transforms`."""

    def __init__(self, images: list[Any], transforms: Any) -> None:
        self.images, self.transforms = images, transforms

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transforms(self.images[index]) if self.transforms else self.images[index], 0


class ReadOnly(Pictures):
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
def test_items_that_are_no_pictures(item: Any) -> None:
    with pytest.raises(CatalogError, match="expected items that start with a Pillow image"):
        open_source(Pictures([item]))


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (4, 4, 1), (4, 4, 4), (0, 4, 3)])
def test_arrays_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="expected an array") as caught:
        open_source(Pictures([np.zeros(shape, np.uint8)])).load(0)
    assert caught.value.reason == "unsupported"


def test_items_that_are_no_pairs() -> None:
    with pytest.raises(CatalogError, match="items of \\(image, label\\), but item 0 is a dict"):
        open_source([{"image": 1}])
    with pytest.raises(CatalogError, match=r"len\(\) and indexing"):
        open_source(iter([1]))


def test_an_empty_data_set_has_no_images() -> None:
    with pytest.raises(CatalogError, match="none that can be read"):
        from_dataset(Pictures([]))


def test_an_item_that_cannot_be_read_is_a_problem(pixels: list[Pixels]) -> None:
    class Holey(Pictures):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            if index == 1:
                raise FileNotFoundError("no such picture")
            return super().__getitem__(index)

    catalog = from_dataset(Holey([as_pillow(p) for p in pixels]))
    assert [(problem.name, problem.reason) for problem in catalog.problems] == [("00000001", "unreadable")]
    assert [row.key for row in catalog.rows] == [pixel_key(pixels[i]) for i in (0, 2, 3)]
    for index in range(3):
        catalog.load(index, check=True)


def test_a_plain_list_of_pairs(pixels: list[Pixels]) -> None:
    catalog = from_dataset([(as_pillow(p), "cat") for p in pixels])
    assert {row.label for row in catalog.rows} == {"cat"}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR10's own files, with noise in them."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-py"
    folder.mkdir()
    dice = np.random.default_rng(0)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        batch = {"data": dice.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": dice.integers(0, 10, 2).tolist()}
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
def test_cifar10s_labels_need_no_pictures(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tv.CIFAR10(str(cifar), target_transform=tens)
    source = open_source(dataset)
    monkeypatch.setattr(tv.CIFAR10, "__getitem__", fail)
    assert [source.label(index) for index in range(10)] == [10 * target for target in dataset.targets]


# --- Hugging Face ---


@pytest.fixture
def hf(photos: Path) -> Any:
    import datasets

    files = [str(row.path) for row in scan(photos).rows]
    features = {"id": datasets.Value("int32"), "image": datasets.Image()}
    features["label"] = datasets.ClassLabel(names=["bark", "gravel", "moss"])
    rows = {"id": list(range(12)), "image": files, "label": [n // 4 for n in range(12)]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def embedded(hf: Any) -> Any:
    """The same data set with the files' bytes inside, as on the Hub."""
    import datasets

    rows = [{"bytes": Path(path).read_bytes(), "path": Path(path).name} for path in raw_paths(hf)]
    features = {"image": datasets.Image(decode=False), "label": hf.features["label"]}
    made = datasets.Dataset.from_dict({"image": rows, "label": hf["label"]}, features=datasets.Features(features))
    return made.cast_column("image", datasets.Image())


def raw_paths(hf: Any) -> list[str]:
    import datasets

    return [item["path"] for item in hf.cast_column("image", datasets.Image(decode=False))["image"]]


def test_hugging_face_with_paths(hf: Any, photos: Path) -> None:
    source = open_source(hf)
    assert source.path(3) == photos / "bark/bark3.jpg"
    assert source.data(3) == (photos / "bark/bark3.jpg").read_bytes()
    assert source.label(11) == 2
    assert source.classes() == ("bark", "gravel", "moss")
    catalog = from_dataset(hf)
    assert [(row.key, row.label) for row in catalog.rows] == [(row.key, row.label) for row in scan(photos).rows]
    assert [row.path for row in catalog.rows] == [row.path for row in scan(photos).rows]
    assert catalog.rows[3].name == "00000003"


def test_hugging_face_with_bytes(hf: Any, photos: Path) -> None:
    inside = embedded(hf)
    source = open_source(inside)
    assert source.path(3) is None
    assert source.data(3) == (photos / "bark/bark3.jpg").read_bytes()
    catalog = from_dataset(inside)
    assert [row.key for row in catalog.rows] == [row.key for row in scan(photos).rows]
    np.testing.assert_array_equal(catalog.load(3, check=True).plain, np.asarray(inside[3]["image"].convert("RGB")))


def test_hugging_face_order_is_the_data_sets(hf: Any) -> None:
    shuffled = hf.shuffle(seed=1).select(range(5))
    source = open_source(shuffled)
    assert [str(source.path(index)) for index in range(5)] == raw_paths(shuffled)
    assert [source.label(index) for index in range(5)] == shuffled["label"][:]


def test_a_transform_that_was_set_does_not_run(hf: Any) -> None:
    hf.set_transform(fail)
    source = open_source(hf)
    assert source.transform is None
    assert source.load(0).rgb.shape == (24, 32, 3)
    assert source.label(0) == 0
    with pytest.raises(AssertionError, match="a transform ran"):
        hf[0]
    formatted = hf.with_format("torch")
    assert open_source(formatted).label(4) == 1
    assert from_dataset(formatted).rows[4].label == "gravel"


def test_hugging_face_columns(hf: Any) -> None:
    import datasets

    with pytest.raises(CatalogError, match=r"0 of its columns are: id \(Value\), label \(ClassLabel\)"):
        open_source(hf.remove_columns("image"))
    with pytest.raises(CatalogError, match="2 of its columns are"):
        open_source(hf.add_column("mask", raw_paths(hf)).cast_column("mask", datasets.Image()))
    assert open_source(hf.remove_columns("label")).label(0) is None
    assert from_dataset(hf.remove_columns("label")).rows[0].label is None
    assert open_source(hf.rename_column("label", "texture")).classes() == ("bark", "gravel", "moss")
    named = hf.remove_columns("label").add_column("labels", ["x"] * 12)
    assert open_source(named).label(0) == "x"
    two = hf.rename_column("label", "fine").add_column("coarse", [0] * 12)
    two = two.cast_column("coarse", datasets.ClassLabel(names=["all"]))
    with pytest.raises(CatalogError, match="fine, coarse could be it"):
        open_source(two)


def test_a_hugging_face_row_without_an_image(hf: Any) -> None:
    import datasets

    holey = datasets.Dataset.from_dict({"image": [raw_paths(hf)[0], None]}).cast_column("image", datasets.Image())
    catalog = from_dataset(holey)
    assert [(problem.name, problem.reason) for problem in catalog.problems] == [("00000001", "unreadable")]
    assert len(catalog) == 1


def test_hugging_face_wholes_and_streams_are_refused(hf: Any) -> None:
    import datasets

    with pytest.raises(CatalogError, match="DatasetDict of train, test; pass one of them"):
        open_source(datasets.DatasetDict(train=hf, test=hf))
    with pytest.raises(CatalogError, match=r"len\(\) and indexing"):
        open_source(hf.to_iterable_dataset())


def test_a_torch_subset_of_a_hugging_face_data_set(hf: Any, photos: Path) -> None:
    source = open_source(Subset(hf, [4]))
    assert source.path(0) == photos / "gravel/gravel0.png"
    assert source.label(0) == 1


# --- all kinds ---


@pytest.fixture(params=["folder", "subset", "items", "hf", "hf-bytes"])
def dataset(request: pytest.FixtureRequest, photos: Path, pixels: list[Pixels]) -> Any:
    folder = tv.ImageFolder(str(photos), transform=T.ToTensor())
    if request.param.startswith("hf"):
        hf = request.getfixturevalue("hf")
        return embedded(hf) if request.param == "hf-bytes" else hf
    made = {"folder": folder, "subset": Subset(folder, [7, 2, 0, 9])}
    return made.get(request.param) or Pictures([as_pillow(p) for p in pixels], T.ToTensor())


def shapes(source: Any, queue: Any) -> None:
    queue.put([(source.load(index).rgb.shape, source.label(index)) for index in range(4)])


def test_sources_are_pickled_and_forked(dataset: Any) -> None:
    source = open_source(dataset)
    expected = [(source.load(index).rgb.shape, source.label(index)) for index in range(4)]
    back = pickle.loads(pickle.dumps(source))
    assert [(back.load(index).rgb.shape, back.label(index)) for index in range(4)] == expected
    queue = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(target=shapes, args=(source, queue))
    child.start()
    found = queue.get()
    child.join()
    assert found == expected


def test_a_data_set_is_not_changed(dataset: Any) -> None:
    before = copy.copy(vars(dataset))
    catalog = from_dataset(dataset)
    catalog.load(0)
    for name, value in before.items():
        assert vars(dataset)[name] is value, name
    assert len(catalog) == len(dataset)


def test_a_catalog_of_a_data_set_is_pickled(dataset: Any) -> None:
    catalog = from_dataset(dataset)
    back = pickle.loads(pickle.dumps(catalog))
    assert back == catalog
    np.testing.assert_array_equal(back.load(1, check=True).rgb, catalog.load(1).rgb)


def test_opening_imports_neither_torch_nor_datasets() -> None:
    code = (
        "import sys\n"
        "from PIL import Image\n"
        "from srcache.catalog.scanning import from_dataset\n"
        "from_dataset([(Image.new('RGB', (2, 2)), 1)])\n"
        "assert not {'torch', 'torchvision', 'datasets'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("label", "text"),
    [(None, None), ("cat", "cat"), (1, "b"), (5, "5"), (-1, "-1"), (np.int64(0), "a"), (torch.tensor(1), "b"),
     (0.5, "0.5"), (torch.zeros(3), None), ([1, 0], None), (True, "b")],
)  # fmt: skip
def test_labels_in_words(label: Any, text: str | None) -> None:
    assert label_text(label, ("a", "b")) == text


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))


def test_a_broken_picture_in_a_folder_has_a_reason(photos: Path) -> None:
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
