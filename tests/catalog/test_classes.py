"""Classes have the numbers of their folders, or the numbers that a CSV file names, whatever images were found."""

import os
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from srcache.catalog.classes import classes_of_labels, in_order
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError

ACCEPTED = [
    ([], ()),
    (["dog", "cat"], ("cat", "dog")),
    (["1", "0"], ("0", "1")),
    (["2", "4"], ("0", "1", "2", "3", "4")),
    ([f"{n}.0" for n in range(12)], tuple(f"{n}.0" for n in range(12))),
    (["007", "1"], ("0", "1", "2", "3", "4", "5", "6", "007")),
    (["10", "9", "owl"], ("10", "9", "owl")),
    (["nan", "pita"], ("nan", "pita")),
    (["-", "+"], ("+", "-")),
]
REFUSED = [
    (["-1", "0"], "among them -1"),
    (["0.5", "17", "3.25"], "among them 0.5, 3.25;"),
    (["0", "1", "nan"], "among them nan"),
    (["1", "1.0"], "one of them is spelled 1 and 1.0"),
    (["20240131"], "up to 20240131"),
    (["1e400"], "among them 1e400"),
]


@pytest.mark.parametrize(("labels", "classes"), ACCEPTED)
def test_labels_that_are_classes(labels: list[str], classes: tuple[str, ...]) -> None:
    assert classes_of_labels(labels) == (classes, "")


@pytest.mark.parametrize(("labels", "words"), REFUSED)
def test_labels_that_are_none(labels: list[str], words: str) -> None:
    classes, refusal = classes_of_labels(labels)
    assert classes == ()
    assert words in refusal
    assert in_order(labels) == tuple(sorted(labels)), "what was accepted once is still shown"


@pytest.mark.parametrize("left", ["nothing", "notes", "svg", "deep"])
def test_a_class_without_images_keeps_its_number(photos: Path, left: str) -> None:
    for file in (photos / "gravel").iterdir():
        file.unlink()
    if left == "deep":
        (photos / "gravel/below/lower").mkdir(parents=True)
    elif left != "nothing":
        (photos / f"gravel/x.{left}").write_text("no image")
    catalog = scan(photos)
    assert catalog.classes == tuple(ImageFolder(photos, allow_empty=True).classes) == ("bark", "gravel", "moss")
    assert {row.label for row in catalog.rows} == {"bark", "moss"}


def test_a_cache_beside_the_class_folders_is_no_class(photos: Path) -> None:
    (photos / "cache").mkdir()
    (photos / "cache/srcache.json").write_text("{}")
    (photos / ".hidden").mkdir()
    assert scan(photos).classes == ("bark", "gravel", "moss")
    os.rename(photos / "moss", photos / "cache/images")
    assert scan(photos).classes == ("bark", "cache", "gravel")


def test_a_catalog_takes_the_classes_of_another(photos: Path) -> None:
    classes = scan(photos).classes
    for file in (photos / "gravel").iterdir():
        file.unlink()
    (photos / "gravel").rmdir()
    part = scan(photos)
    assert part.classes == ("bark", "moss")
    assert part.with_classes(classes).classes == classes
    assert part.with_classes(classes).digest == part.digest
    for wrong, words in [
        (("bark",), "which lack moss"),
        (("bark", "moss", "bark"), "different"),
        ("bark", "different"),
    ]:
        with pytest.raises(CatalogError, match=words):
            part.with_classes(wrong)


def csv_of(photos: Path, text: str) -> Catalog:
    (photos / "list.csv").write_text(text)
    return scan(photos / "list.csv")


def test_labels_in_a_csv_lose_outer_spaces(photos: Path) -> None:
    catalog = csv_of(photos, "path,label\nbark/bark0.png, cat\nbark/bark1.png,cat \nbark/bark2.png,cat\n")
    assert catalog.classes == ("cat",)
    with pytest.raises(CatalogError, match=r"line 3: bark/bark1.png has no label, but others have"):
        csv_of(photos, "path,label\nbark/bark0.png,cat\nbark/bark1.png,  \n")


def test_a_csv_without_labels_says_which_columns_it_has(photos: Path) -> None:
    catalog = csv_of(photos, "path,species\nbark/bark0.png,cat\n")
    assert catalog.classes == ()
    assert catalog.unclassed.endswith("list.csv: it has no column `label`, so its images have no labels; "
                                      "its columns are path, species")  # fmt: skip
    assert csv_of(photos, "path\nbark/bark0.png\n").unclassed == ""
    assert csv_of(photos, catalog.to_csv()).unclassed == ""
