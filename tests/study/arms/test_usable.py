"""Images that cannot be used: all of them at once, in every variant that is served, by their paths."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from train_study import arm

from srcache.cache.manifest import open_cache
from srcache.errors import ImagesError
from srcache.study.arms.arms import arm_dataset
from srcache.study.arms.sets import ArmSets
from srcache.study.arms.usable import require_usable, unusable


@pytest.fixture
def spoilt(home: Path, tmp_path: Path) -> Path:
    """LR training images of which one is cut off, one is empty, and one is a link to nothing."""
    shutil.copytree(home / "lr/train", tmp_path / "train")
    (tmp_path / "train/across/across 1.png").write_bytes((home / "lr/train/across/across 1.png").read_bytes()[:70])
    (tmp_path / "train/down/down 2.png").write_bytes(b"")
    (tmp_path / "train/down/gone.png").symlink_to(tmp_path / "nowhere")
    return tmp_path / "train"


def found(failures: object) -> set[tuple[str, str]]:
    return {(one.source, one.reason) for one in failures}  # type: ignore[attr-defined]


def test_all_are_found_in_one_pass(spoilt: Path) -> None:
    seen = list[tuple[int, int]]()
    failures = unusable(arm_dataset("lr", lr=spoilt), progress=lambda done, total: seen.append((done, total)))
    assert found(failures) == {
        ("across/across 1.png", "truncated"),
        ("down/down 2.png", "empty"),
        ("down/gone.png", "unreadable"),
    }
    assert not any(one.detail.startswith(one.source) for one in failures), "names are not said twice"
    assert seen[-1] == (18, 18)


def test_every_variant_of_every_epoch_is_read(home: Path, spoilt: Path, tmp_path: Path) -> None:
    sr = arm_dataset("sr", lr=spoilt, cache=home / "cache", recipe="bicubic")
    assert {reason for _, reason in found(unusable(sr))} == {"missing", "unreadable"}, "LR is not served"
    late = arm_dataset("0: sr; 3: lr", lr=spoilt, cache=home / "cache", recipe="bicubic")
    assert ("down/down 2.png", "missing") in found(unusable(late, range(3)))
    assert ("down/down 2.png", "empty") in found(unusable(late, range(3, 4)))
    shutil.copytree(home / "hr/train", tmp_path / "hr")
    (tmp_path / "hr/across/across 4.png").write_bytes(b"no image")
    pairs = arm_dataset("hr", lr=home / "lr/train", hr=tmp_path / "hr")
    (one,) = unusable(pairs)
    assert (one.source, one.reason) == ("across/across 4.png", "unreadable")
    assert "hr/across/across 4.png: " in one.detail, "which of the two files it is"
    assert unusable(arm(home, "lr=0.5,sr=0.5"), range(5)) == []
    assert len(open_cache(home / "cache").folders()) == 2


def test_a_training_is_refused_with_the_paths_in_all_sets(home: Path, spoilt: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "lr/validation", tmp_path / "validation")
    bad = tmp_path / "validation/down/down 0.png"
    bad.write_bytes(b"<html>")
    sets = ArmSets(train=arm_dataset("lr", lr=spoilt), validation=arm_dataset("lr", lr=tmp_path / "validation"))
    seen = list[tuple[int, int]]()
    with pytest.raises(ImagesError) as caught:
        require_usable(sets, 2, lambda done, total: seen.append((done, total)))
    message = str(caught.value)
    assert message.startswith("4 images cannot be used (unreadable 2, empty 1, truncated 1):\n")
    assert f"\n  unreadable: {bad}: " in message
    assert found(caught.value.failures) >= {(str(spoilt / "down/gone.png"), "unreadable"), (str(bad), "unreadable")}
    assert seen[-1] == (18 + 8, 18 + 8)
    require_usable(ArmSets(train=arm(home, "lr"), validation=arm(home, "lr", "validation")), 2)


def test_an_image_for_which_memory_runs_out_is_one_failure(home: Path) -> None:
    def read(place: int) -> None:
        if place == 3:
            raise MemoryError

    (one,) = unusable(replace(arm(home, "lr"), read=read))
    assert (one.source, one.reason) == ("across/across 3.png", "out_of_memory")
