"""SRAugmentedDataset in one process: a drop-in, the right pixels for every variant, and the same as any sequence."""

import copy
import inspect
import multiprocessing
import os
import pickle
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets as hugging_face
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    SequentialSampler,
    Subset,
    default_collate,
    random_split,
)
from torchvision.datasets import ImageFolder
from training_sets import (
    PLAIN,
    SHRUNK,
    TO_TENSOR,
    array,
    built,
    empty,
    files_of,
    same,
    stored,
)

from srcache import keys
from srcache.catalog import hashing as memo
from srcache.catalog import scanning as catalog
from srcache.catalog.scanning import from_dataset, scan
from srcache.dataset import items as items_room
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.engine.registry import open_engine
from srcache.errors import CatalogError, MissError
from srcache.images import Pixels, decode
from srcache.keys import entry_name, file_key

# --- a drop-in: one changed line ---


def test_an_image_folder_keeps_labels_order_length_and_its_transform(photos: Path) -> None:
    base = ImageFolder(photos, transform=TO_TENSOR)
    data = SRAugmentedDataset(base, built(photos, PLAIN), policy="lr")
    assert len(data) == len(base) == 12
    for index in range(len(base)):
        assert torch.equal(data[index][0], base[index][0])
        assert data[index][1] == base[index][1]
    assert (data.classes, data.class_to_idx) == (tuple(base.classes), base.class_to_idx)
    assert data.targets == base.targets
    images, labels = next(iter(DataLoader(data, batch_size=12)))
    assert images.shape == (12, 3, 16, 16)
    assert labels.tolist() == base.targets


def test_the_users_data_set_is_left_as_it_was(photos: Path) -> None:
    base = ImageFolder(photos, transform=TO_TENSOR, target_transform=str)
    before, items = copy.copy(base.__dict__), [base[index] for index in range(3)]
    data = SRAugmentedDataset(base, built(photos, PLAIN), policy="sr")
    labels = [label for _, label in data]
    assert base.__dict__ == before
    assert all(torch.equal(base[index][0], image) for index, (image, _) in enumerate(items))
    assert labels == [label for _, label in base]
    assert data.classes is None
    assert data.class_to_idx == {}


class OwnItems(ImageFolder):
    """Reads its files as they are, and labels them itself."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = super().__getitem__(index)
        return image, 10 * label + index


class Cropped(ImageFolder):
    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = super().__getitem__(index)
        return image.crop((0, 0, 8, 8)), label


def test_a_base_with_items_of_its_own_gives_its_own_images_and_labels(photos: Path) -> None:
    cache, entries = built(photos, PLAIN), stored(built(photos, PLAIN), PLAIN)
    data = SRAugmentedDataset(OwnItems(photos), cache, policy="sr")
    for index, file in enumerate(files_of(photos)):
        assert same(data[index], decode(entries[entry_name(file_key(file), 0)])), "found by its pixels"
        assert data[index][1] == 10 * (index // 4) + index
    cropped = SRAugmentedDataset(Cropped(photos), cache, policy="lr")
    assert array(cropped[0]).shape == (8, 8, 3)
    with pytest.raises(MissError):
        SRAugmentedDataset(Cropped(photos), cache, policy="sr")[0]


def test_parts_of_an_image_folder(photos: Path) -> None:
    base, cache = ImageFolder(photos, transform=TO_TENSOR), built(photos, PLAIN)
    for part in (Subset(base, [7, 0, 7]), *random_split(base, [5, 7], torch.Generator().manual_seed(3))):
        data = SRAugmentedDataset(part, cache, policy="lr")
        assert len(data) == len(part)
        assert all(torch.equal(data[i][0], part[i][0]) and data[i][1] == part[i][1] for i in range(len(part)))
        assert data.targets == [base.targets[index] for index in part.indices]
        assert SRAugmentedDataset(part, cache, policy="sr")[0][0].shape == (3, 16, 16)
    everything = SRAugmentedDataset(base, cache, policy="lr=0.5,sr=0.5")
    taken = Subset(everything, [3, 1])
    assert torch.equal(next(iter(DataLoader(taken, batch_size=2)))[0][1], everything[1][0])


@pytest.mark.parametrize("kind", ["folder", "text", "catalog", "csv", "hugging face", "data set's catalog"])
def test_every_kind_of_base_serves_the_same_images(photos: Path, kind: str) -> None:
    reference = ImageFolder(photos)
    if kind == "csv":
        lines = [f"{path.relative_to(photos).as_posix()},{path.parent.name}" for path in files_of(photos)]
        (photos / "list.csv").write_text("\n".join(["path,label", *lines]))
    bases: dict[str, Callable[[], Any]] = {
        "folder": lambda: photos,
        "text": lambda: str(photos),
        "catalog": lambda: scan(photos),
        "csv": lambda: photos / "list.csv",
        "hugging face": lambda: on_hugging_face(reference),
        "data set's catalog": lambda: from_dataset(reference),
    }
    cache = built(photos, PLAIN)
    data = SRAugmentedDataset(bases[kind](), cache, policy="lr")
    assert data.targets == reference.targets
    assert all(same(data[index], reference[index]) for index in range(12))
    assert [label for _, label in data] == reference.targets
    assert data.classes == ("bark", "gravel", "moss")
    super_resolved = SRAugmentedDataset(bases[kind](), cache, policy="sr")
    files = files_of(photos)
    for index in range(12):
        assert same(super_resolved[index], decode(stored(cache, PLAIN)[entry_name(file_key(files[index]), 0)]))


def on_hugging_face(reference: ImageFolder, embedded: bool = False) -> hugging_face.Dataset:
    names = hugging_face.ClassLabel(names=list(reference.classes))
    features = hugging_face.Features({"image": hugging_face.Image(), "label": names})
    images = [{"path": None, "bytes": Path(path).read_bytes()} if embedded else path for path, _ in reference.samples]
    return hugging_face.Dataset.from_dict({"image": images, "label": reference.targets}, features=features)


def test_hugging_face_images_that_lie_in_the_table_are_found_by_their_files_names(photos: Path) -> None:
    reference = ImageFolder(photos)
    table = on_hugging_face(reference, embedded=True)
    data = SRAugmentedDataset(table, built(photos, PLAIN), policy="sr", transform=np.asarray)
    files = SRAugmentedDataset(photos, photos.parent / "cache", policy="sr", transform=np.asarray)
    assert all(same(data[index], files[index]) for index in range(12))
    mixed = [SRAugmentedDataset(base, photos.parent / "cache", policy="lr=1,sr=1") for base in (table, photos)]
    assert [mixed[0].variant(index) for index in range(12)] == [mixed[1].variant(index) for index in range(12)]


def test_a_flat_folder_has_the_label_minus_one(photos: Path) -> None:
    data = SRAugmentedDataset(photos / "moss", built(photos, PLAIN), policy="sr")
    assert data.targets == [-1, -1, -1, -1]
    assert data[2][1] == -1
    assert data.classes is None


def save_odd(folder: Path, make_image: Callable[..., Pixels]) -> list[Path]:
    """Files where Pillow's plain conversion is not what srcache sees: turned, transparent, 16 bit; and a palette."""
    folder.mkdir()
    turned, exif = Image.fromarray(make_image(24, 32, 1)), Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.png", exif=exif)
    clear = np.dstack([make_image(24, 24, 2), np.arange(576).reshape(24, 24) % 256]).astype(np.uint8)
    Image.fromarray(clear, "RGBA").save(folder / "clear.png")
    Image.fromarray(make_image(24, 24, 3)[..., 0].astype(np.uint16) * 250).save(folder / "deep.png")
    Image.fromarray(make_image(24, 24, 4)).quantize(16).save(folder / "palette.png")
    Image.fromarray(make_image(24, 24, 5)).save(folder / "plain.jpg")
    return sorted(folder.iterdir())


def opened(file: Path) -> Image.Image:
    """As Pillow opens a file: as stored, with what EXIF says beside it."""
    with Image.open(file) as image:
        image.load()
        return image.copy()


WAYS: Mapping[str, Callable[[Path], Image.Image]] = {
    "as srcache decodes": lambda file: Image.fromarray(decode(file.read_bytes())),
    "as Pillow opens": opened,
    "as Pillow converts": lambda file: opened(file).convert("RGB"),
    "as Pillow converts, pixels only": lambda file: Image.fromarray(np.asarray(opened(file).convert("RGB"))),
}


@pytest.mark.parametrize("way", WAYS)
def test_images_in_memory_are_found_in_a_cache_that_was_built_from_files(
    tmp_path: Path, make_image: Callable[..., Pixels], way: str
) -> None:
    files = save_odd(tmp_path / "odd", make_image)
    cache = built(tmp_path / "odd", PLAIN)
    images = [WAYS[way](file) for file in files]
    data = SRAugmentedDataset([(image, index % 2) for index, image in enumerate(images)], cache, policy="sr")
    assert data.targets == [0, 1, 0, 1, 0]
    for index, file in enumerate(files):
        assert same(data[index], decode(stored(cache, PLAIN)[entry_name(file_key(file), 0)]))
    served = SRAugmentedDataset([(image, 0) for image in images], cache, policy="lr")
    odd = [file.stem for index, file in enumerate(files) if not same(served[index], decode(file.read_bytes()))]
    differing = {
        "as Pillow converts": ["clear", "deep"],
        "as Pillow converts, pixels only": ["clear", "deep", "turned"],
    }
    assert odd == differing.get(way, [])


def test_the_variant_of_an_image_in_memory_does_not_depend_on_what_the_cache_holds(photos: Path) -> None:
    base = [(Image.open(file).convert("RGB"), 0) for file in files_of(photos)]
    data = SRAugmentedDataset(base, empty(photos, PLAIN), policy="lr=1,sr=1", on_miss="lr")
    before = [data.variant(index) for index in range(12)]
    assert {variant.kind for variant in before} == {"lr", "sr"}
    built(photos, PLAIN)
    assert [data.variant(index) for index in range(12)] == before
    place = next(index for index, variant in enumerate(before) if variant.kind == "sr")
    assert data[place][0].size == tuple(4 * side for side in base[place][0].size)


def test_nothing_is_hashed_once_it_is_open(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = built(photos, PLAIN)
    bases = [ImageFolder(photos), photos, scan(photos), Subset(ImageFolder(photos), [0, 1])]
    opened = [SRAugmentedDataset(base, cache, policy="lr=0.5,sr=0.5") for base in bases]

    def refuse(*_: Any) -> None:
        raise AssertionError("something was hashed")

    for room in (keys, catalog, memo, items_room):
        for name in ("file_key", "image_key", "pixel_key"):
            if hasattr(room, name):
                monkeypatch.setattr(room, name, refuse)
    for data in opened:
        for epoch in range(2):
            data.set_epoch(epoch)
            assert len([data[index] for index in range(len(data))]) == len(data)
        assert data.counts["lr"] > 0 < data.counts["sr"]


# --- a sequence like any other ---


def test_indices_are_those_of_a_sequence(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="sr")
    assert same(data[-1], data[11])
    assert same(data[np.int64(3)], data[torch.tensor(3)])
    assert len(list(data)) == 12
    for wrong in (12, -13):
        with pytest.raises(IndexError, match=f"below 12, but got {wrong}"):
            data[wrong]
    with pytest.raises(TypeError):
        data[1.5]  # type: ignore[index]
    assert "12 images, bicubic-448c49d273210155" in repr(data)


@pytest.mark.parametrize("on_miss", ["engine", open_engine("resample", PLAIN.setup("cpu"))], ids=["named", "open"])
def test_a_copy_serves_the_same_and_counts_for_itself(photos: Path, on_miss: Any) -> None:
    data = SRAugmentedDataset(ImageFolder(photos), built(photos, PLAIN), policy="lr=0.5,sr=0.5", on_miss=on_miss)
    data.set_epoch(7)
    data[0]
    for twin in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert twin.epoch == 7
        data.set_epoch(7)
        pairs = [(twin[index], data[index]) for index in range(12)]
        assert all(same(left, right) and left[1] == right[1] for left, right in pairs)
        assert sum(twin.counts.values()) == 1 + 12
        twin.set_epoch(8)
        assert data.epoch == 7


def test_a_transform_may_be_any_callable_but_only_one(photos: Path) -> None:
    cache = built(photos, PLAIN)
    nothing = torch.nn.Sequential()
    assert len(nothing) == 0
    assert isinstance(SRAugmentedDataset(photos, cache, policy="lr", transform=nothing)[0][0], Image.Image)
    with pytest.raises(CatalogError, match="has a transform already"):
        SRAugmentedDataset(ImageFolder(photos, transform=TO_TENSOR), cache, transform=TO_TENSOR)


# --- counting, and forgotten epochs ---


def epochs(data: SRAugmentedDataset, number: float) -> list[str]:
    """Serve so many epochs' worth of items; the warnings that came."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for place in range(int(number * len(data))):
            data[place % len(data)]
    return [str(warning.message) for warning in caught]


@pytest.fixture
def many(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    (tmp_path / "many").mkdir()
    for seed in range(64):
        Image.fromarray(make_image(8, 8, seed)).save(tmp_path / "many" / f"{seed:02d}.png")
    return tmp_path / "many"


@pytest.mark.medium
@pytest.mark.parametrize("policy", ["lr=0.5,sr=0.5", "0: lr; 5: sr"])
def test_a_forgotten_epoch_warns_once_after_one_and_a_half(many: Path, policy: str) -> None:
    data = SRAugmentedDataset(many, built(many, PLAIN), policy=policy)
    assert epochs(data, 1.4) == []
    (warning,) = epochs(data, 0.5)
    assert "set_epoch(epoch)" in warning
    assert epochs(data, 5) == []


@pytest.mark.medium
def test_nothing_warns_where_the_epoch_is_set_or_does_not_matter(many: Path) -> None:
    cache = built(many, PLAIN)
    data = SRAugmentedDataset(many, cache, policy="lr=0.5,sr=0.5")
    for epoch in range(4):
        data.set_epoch(epoch)
        assert epochs(data, 1.4) == []
    for constant in ("sr", "lr", "sr#0"):
        assert epochs(SRAugmentedDataset(many, cache, policy=constant), 4) == []


def test_counts_say_what_was_served(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, SHRUNK), policy="hr=1,lr=1,sr=1")
    kinds = Counter(data.variant(index).kind for index in range(12))
    list(data)
    assert data.counts == {
        **{kind: kinds[kind] for kind in ("hr", "lr", "sr")},
        **dict.fromkeys(("missed_to_lr", "missed_to_hr", "computed", "fetched"), 0),
    }


# --- a cache that may only be read ---


def read_as_nobody(folder: Path, cache: Path, sums: Any) -> None:
    os.setgid(65534)
    os.setuid(65534)
    assert not any(os.access(inner, os.W_OK) for inner, _, _ in os.walk(cache))
    data = SRAugmentedDataset(folder, cache, policy="sr")
    sums.put([int(array(item).sum()) for item in data])


@pytest.mark.medium
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_cache_that_may_only_be_read_is_read(photos: Path) -> None:
    expected = [int(array(item).sum()) for item in SRAugmentedDataset(photos, built(photos, PLAIN), policy="sr")]
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(photos, Path(place) / "photos")
        shutil.copytree(photos.parent / "cache", Path(place) / "cache")
        for inner, _, _ in os.walk(place):
            os.chmod(inner, 0o755)
        context = multiprocessing.get_context("fork")
        sums = context.SimpleQueue()
        reader = context.Process(target=read_as_nobody, args=(Path(place) / "photos", Path(place) / "cache", sums))
        reader.start()
        reader.join()
        assert reader.exitcode == 0
        assert sums.get() == expected


def test_its_transform_may_be_replaced_as_other_data_sets_have_it(photos: Path) -> None:
    data = SRAugmentedDataset(ImageFolder(photos, transform=TO_TENSOR), built(photos, PLAIN), policy="lr")
    assert data.transform is TO_TENSOR
    data.transform = np.asarray
    assert isinstance(data[0][0], np.ndarray)
    data.transform = None
    assert isinstance(data[0][0], Image.Image)


def test_items_have_the_names_of_their_files(photos: Path) -> None:
    cache = built(photos, PLAIN)
    assert SRAugmentedDataset(photos, cache, policy="lr").name(-1) == "moss/moss3.jpg"
    assert SRAugmentedDataset([(Image.new("RGB", (8, 8)), 0)], cache, policy="lr").name(0) == "item 0"


def test_it_is_one_of_torchs_data_sets(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="lr", transform=TO_TENSOR)
    assert isinstance(data, Dataset)
    assert isinstance(pickle.loads(pickle.dumps(data)), Dataset)
    assert list(inspect.signature(SRAugmentedDataset).parameters)[:3] == ["base", "cache", "recipe"]
    both = data + Subset(data, [3])
    assert isinstance(both, ConcatDataset)
    assert torch.equal(both[12][0], data[3][0])


def test_slices_and_many_indices_give_lists_of_items(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="lr", transform=TO_TENSOR, size=16)
    everything = [data[index] for index in range(12)]
    for wanted in (
        slice(0, 2),
        slice(None, None, -3),
        [0, 1],
        (11, -1),
        range(3),
        [],
        np.array([4, 2]),
        torch.tensor([5]),
    ):
        expected = everything[wanted] if isinstance(wanted, slice) else [everything[index] for index in wanted]
        found = data[wanted]
        assert [label for _, label in found] == [label for _, label in expected]
        assert all(torch.equal(one, other) for (one, _), (other, _) in zip(found, expected, strict=True))
    assert data[np.int64(4)][1] == data[torch.tensor(4)][1] == 1
    for mask in ([True, False], np.arange(12) > 5, torch.arange(12) > 5):
        with pytest.raises(TypeError, match="not a mask"):
            data[mask]


def test_a_batch_sampler_may_be_the_sampler(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="lr", transform=TO_TENSOR, size=16)
    batches = BatchSampler(SequentialSampler(data), 5, drop_last=False)
    listed = list(DataLoader(data, sampler=batches, batch_size=None))
    assert [len(batch) for batch in listed] == [5, 5, 2]
    collated = DataLoader(data, sampler=batches, batch_size=None, collate_fn=default_collate)
    for (images, labels), (others, same_labels) in zip(collated, DataLoader(data, batch_size=5), strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, same_labels)


def test_another_transform_may_be_set(photos: Path) -> None:
    """As timm's `create_loader` does with any data set."""
    data = SRAugmentedDataset(ImageFolder(photos, transform=TO_TENSOR), built(photos, PLAIN), policy="lr")
    data.transform = array
    assert isinstance(data[0][0], np.ndarray)
