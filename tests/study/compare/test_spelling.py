"""Prediction files that spell classes differently are refused with both spellings; equal classifiers stay equal."""

from pathlib import Path

import pytest

from srcache.errors import CatalogError
from srcache.study.compare.pairwise import CompareSettings, compare
from srcache.study.compare.predictions import join, read_predictions
from srcache.study.compare.spelling import Vocabulary, spelling_mistakes


def words(*predicted: str, declared: tuple[str, ...] = ()) -> Vocabulary:
    return Vocabulary(predicted=frozenset(predicted), declared=frozenset(declared))


def written(path: Path, labels: str, predictions: str, classes: str = "") -> Path:
    """A file of as many rows as there are words."""
    names = classes.split()
    rows = ["name,label,prediction" + "".join(f",p_{name}" for name in names)]
    for place, (label, said) in enumerate(zip(labels.split(), predictions.split(), strict=True)):
        numbers = "".join(f",{int(name == said)}" for name in names)
        rows.append(f"n{place},{label},{said}{numbers}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("labels", "said", "message"),
    [
        ("1 2 1", "1.0 2.0 1.0", r"B writes '1\.0' where the labels say '1', '2\.0' where the labels say '2'"),
        ("1 2 1", "01 2 1", "B writes '01' where the labels say '1'"),
        ("cat dog cat", "Cat dog cat", "B writes 'Cat' where the labels say 'cat'"),
        ("polar_bear dog dog", "polar-bear dog dog", "B writes 'polar-bear' where the labels say 'polar_bear'"),
        ("cat dog cat", "0 1 0", "no prediction of B is the label of any image: it predicts '0', '1', but labels are"),
        ("cat dog cat", "chat chien chat", "but labels are 'cat', 'dog'"),
    ],
)
def test_classes_in_two_spellings_are_an_error(tmp_path: Path, labels: str, said: str, message: str) -> None:
    good = read_predictions(written(tmp_path / "a.csv", labels, labels))
    other = read_predictions(written(tmp_path / "b.csv", labels, said))
    with pytest.raises(CatalogError, match=message):
        join({"A": good, "B": other})
    with pytest.raises(CatalogError, match=message):
        join({"B": other})


def test_equal_classifiers_are_equal(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "1 2 1 2", "1 2 2 2")
    found = compare(join({"A": read_predictions(path), "B": read_predictions(path)}), CompareSettings())
    assert "there is nothing to test" in found.verdict


def test_classes_that_only_look_alike_are_two_where_a_file_has_both(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a b a", "A b a", "a A b")
    assert join({"A": read_predictions(path)}).classes == ("a", "A", "b")


def test_a_classifier_that_is_always_wrong_is_one_where_its_file_names_the_labels(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a a a", "b b b", "a b")
    assert join({"A": read_predictions(path)}).right("A") == (False, False, False)


def test_files_are_compared_with_each_other_too() -> None:
    many = {"A": words("cat", "Owl"), "B": words("cat", "owl")}
    assert list(spelling_mistakes(["cat"], many)) == ["B writes 'owl' where A writes 'Owl'"]
    assert not list(spelling_mistakes(["cat"], many | {"C": words("cat", declared=("cat", "owl", "Owl"))}))


def test_a_class_that_no_image_has_may_be_predicted() -> None:
    assert not list(spelling_mistakes(["cat", "dog"], {"A": words("cat", "bird"), "B": words("dog")}))
    assert not list(spelling_mistakes([], {"A": words("1"), "B": words("1.0")}))
