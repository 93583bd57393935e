"""The sets of a training: leaks are refused and listed, classes are matched, nothing may be empty."""

import shutil

import pytest
from PIL import Image
from train_study import arm

from srcache.errors import CatalogError
from srcache.study.arms.arms import arm_dataset
from srcache.study.arms.sets import ArmSets, require_no_leaks


def test_images_in_two_sets_are_refused_and_listed(home, tmp_path):
    train = arm(home, "sr")
    with pytest.raises(CatalogError) as caught:
        ArmSets(train=train, validation=train.subset([3, 4]))
    assert str(caught.value).startswith(
        "2 images are in more than one of train and validation (equal keys), which would leak: "
    )
    assert "train/across/across 3.png = validation/across/across 3.png" in str(caught.value)
    shutil.copytree(home / "lr/test", tmp_path / "test")
    (tmp_path / "test/down/renamed.png").write_bytes((home / "lr/train/across/across 1.png").read_bytes())
    with pytest.raises(CatalogError, match=r"train/across/across 1\.png = test/down/renamed\.png"):
        ArmSets(
            train=arm(home, "lr"),
            validation=arm(home, "lr", "validation"),
            test=arm_dataset("lr", lr=tmp_path / "test"),
        )


def test_sets_that_do_not_fit_are_refused(home, tmp_path):
    train, validation = arm(home, "lr"), arm(home, "lr", "validation")
    with pytest.raises(CatalogError, match="expected a validation set with a class for every image"):
        ArmSets(train=train, validation=validation.subset([]))
    (tmp_path / "more/sideways").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "more/sideways/a.png")
    strange = arm_dataset("lr", lr=tmp_path / "more")
    with pytest.raises(CatalogError, match="classes that the training set has not: sideways; that has across, down"):
        ArmSets(train=train, validation=strange)
    flat = arm_dataset("lr", lr=tmp_path / "more/sideways")
    with pytest.raises(CatalogError, match="expected a train set with a class for every image"):
        ArmSets(train=flat, validation=validation)


def test_leaks_are_found_whatever_the_order_and_double_images_in_one_set_are_none():
    require_no_leaks({"a": [("k1", "x"), ("k1", "y")], "b": [("k2", "x")], "c": []})
    with pytest.raises(CatalogError) as caught:
        require_no_leaks({"a": [("k1", "x"), ("k2", "y")], "b": [("k3", "z"), ("k2", "y")], "c": [("k1", "w")]})
    assert "2 images are in more than one of a, b and c" in str(caught.value)
    assert "a/y = b/y, a/x = c/w; leave each in one of them" in str(caught.value)
    with pytest.raises(CatalogError, match=r"60 images .*a/49 = b/49 … and 10 more; leave"):
        require_no_leaks({name: [(str(n), str(n)) for n in range(60)] for name in "ab"})


def test_a_class_folder_without_images_is_no_class_of_an_arm(home, tmp_path):
    shutil.copytree(home / "lr/validation", tmp_path / "validation")
    (tmp_path / "validation/empty").mkdir()
    train, validation = arm(home, "lr"), arm_dataset("lr", lr=tmp_path / "validation")
    assert validation.classes == train.classes
    ArmSets(train=train, validation=validation)


def test_why_a_csv_has_no_classes_is_said(home, tmp_path):
    shutil.copytree(home / "lr/validation", tmp_path / "set")
    names = sorted(path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*.png"))
    (tmp_path / "set/list.csv").write_text("\n".join(["path,kind", *(f"{name},a" for name in names)]))
    unlabelled = arm_dataset("lr", lr=tmp_path / "set/list.csv")
    with pytest.raises(CatalogError, match=r"no column `label`.* its columns are path, kind"):
        ArmSets(train=arm(home, "lr"), validation=unlabelled)
    (tmp_path / "set/list.csv").write_text("\n".join(["path,label", *(f"{name},0.5" for name in names)]))
    with pytest.raises(CatalogError, match=r"its labels are numbers, among them 0\.5"):
        arm_dataset("lr", lr=tmp_path / "set/list.csv")
