"""Columns of Hugging Face data sets: their order and types, names of files, labels of one type, the missing package."""

import sys

import numpy as np
import pytest

from srcache.catalog.huggingface_columns import features_of, image_value, import_datasets, label_feature
from srcache.errors import CatalogError, MissingExtraError

pytestmark = pytest.mark.medium


@pytest.fixture
def hf():
    return pytest.importorskip("datasets")


def test_texts_come_first_then_images_then_the_label(hf):
    found = features_of(["name", "key"], ["lr", "sr000"], hf.ClassLabel(names=["a", "b"]))
    assert list(found) == ["name", "key", "lr", "sr000", "label"]
    assert [type(feature).__name__ for feature in found.values()] == ["Value", "Value", "Image", "Image", "ClassLabel"]
    assert list(features_of([], ["image"])) == ["image"]


def test_an_image_is_its_bytes_and_a_name_without_folders():
    assert image_value("a/b/c.v2.JPG", ".png", b"x") == {"bytes": b"x", "path": "a_b_c.v2.png"}


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([0, np.int64(1)], ["a", "b"], "ClassLabel"),
        ([0, 3], None, "int64"),
        ([0, 0.5], None, "float64"),
        (["x", "y"], None, "string"),
        (["x", "y"], ["x", "y"], "string"),
    ],
)
def test_labels_have_the_narrowest_type_that_holds_them(hf, labels, classes, expected):
    found = label_feature(labels, classes)
    assert expected in (type(found).__name__, getattr(found, "dtype", None))


def test_labels_of_several_types_are_refused(hf):
    with pytest.raises(CatalogError, match="all numbers or all texts, but they are int, str"):
        label_feature([0, "x"], None)


def test_the_missing_package_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"this export.*srcache\[datasets\]|datasets"):
        import_datasets("this export")
