"""Hugging Face data sets: the same keys and labels as in a folder, with paths or with bytes inside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import embedded, fail, raw_paths

from srcache.catalog.scanning import from_dataset, scan
from srcache.catalog.sources import open_source
from srcache.errors import CatalogError, ImageError


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


def test_hugging_face_dicts_and_streams_are_refused(hf: Any) -> None:
    import datasets

    with pytest.raises(CatalogError, match="DatasetDict of train, test; pass one of them"):
        open_source(datasets.DatasetDict(train=hf, test=hf))
    with pytest.raises(CatalogError, match=r"len\(\) and indexing"):
        open_source(hf.to_iterable_dataset())


def test_a_row_that_cannot_be_read_is_one_images_failure(hf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(embedded(hf))

    class Broken:
        def __getitem__(self, index: int) -> Any:
            raise OSError("the file of the data set is cut off")

    monkeypatch.setattr(source, "_images", Broken())
    with pytest.raises(ImageError, match=r"its row 2 \(OSError: the file of the data set is cut off\)") as caught:
        source.data(2)
    assert caught.value.reason == "unreadable"
