"""Data sets of every kind as sources: subsets, labels as text; picklable, and nobody's object is changed."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_sets import ImageItems, as_pillow, embedded, fail
from torch.utils.data import IterableDataset, Subset, random_split
from torchvision import datasets as tv
from torchvision import transforms as T  # noqa: N812

from srcache.catalog.scanning import from_dataset, scan
from srcache.catalog.sources import label_text, open_source
from srcache.errors import CatalogError
from srcache.images import Pixels


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


def test_items_that_are_no_pairs() -> None:
    with pytest.raises(CatalogError, match="items of \\(image, label\\), but item 0 is a dict"):
        open_source([{"image": 1}])
    with pytest.raises(CatalogError, match=r"len\(\) and indexing"):
        open_source(iter([1]))


def test_a_torch_subset_of_a_hugging_face_data_set(hf: Any, photos: Path) -> None:
    source = open_source(Subset(hf, [4]))
    assert source.path(0) == photos / "gravel/gravel0.png"
    assert source.label(0) == 1


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter([])

    def __len__(self) -> int:
        return 3


def test_a_stream_with_a_length_is_refused() -> None:
    with pytest.raises(CatalogError, match="Stream without indexing; a data set that can only be iterated"):
        open_source(Stream())


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        (np.arange(12) > 9, "are a mask"),
        ([True, False], "are a mask"),
        (torch.tensor([True, False]), "are a mask"),
        ([1.0, 2.0], "one is 1.0"),
        ([0, 12], "items has indices that they lack: 12"),
    ],
)
def test_indices_of_a_subset_that_are_none(photos: Path, indices: Any, words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        open_source(Subset(tv.ImageFolder(str(photos)), indices))


def test_negative_indices_of_a_subset_count_from_the_end(photos: Path) -> None:
    folder = tv.ImageFolder(str(photos))
    assert open_source(Subset(folder, [-1])).path(0) == Path(folder.samples[11][0])


@pytest.fixture(params=["folder", "subset", "items", "hf", "hf-bytes"])
def dataset(request: pytest.FixtureRequest, photos: Path, pixels: list[Pixels]) -> Any:
    folder = tv.ImageFolder(str(photos), transform=T.ToTensor())
    if request.param.startswith("hf"):
        hf = request.getfixturevalue("hf")
        return embedded(hf) if request.param == "hf-bytes" else hf
    made = {"folder": folder, "subset": Subset(folder, [7, 2, 0, 9])}
    return made.get(request.param) or ImageItems([as_pillow(p) for p in pixels], T.ToTensor())


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


@pytest.mark.medium
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
