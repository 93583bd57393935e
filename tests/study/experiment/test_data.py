"""The images of an experiment: leaks and missing classes are errors, what cannot be read is left out everywhere."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_experiment import COUNTS, TWO, answers, make_images, tiny

from srcache.errors import CatalogError
from srcache.images import decode, encode
from srcache.recipe.degradation import Degradation
from srcache.study.experiment.data import prepare_data
from srcache.study.experiment.run import run_experiment

pytestmark = pytest.mark.usefixtures("no_drawings")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    folder = make_images(tmp_path / "broken")
    (folder / "test/down/down-1.png").write_bytes(b"no image")
    return folder


def test_images_in_two_splits_are_an_error_that_lists_them(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images")
    for number in (0, 3):
        shutil.copy(folder / f"test/down/down-{number}.png", folder / f"train/down/copy-{number}.png")
    with pytest.raises(CatalogError, match="2 images are in more than one of train, validation and test") as caught:
        run_experiment(tiny(folder), tmp_path / "out")
    for number in (0, 3):
        assert f"train/down/copy-{number}.png = test/down/down-{number}.png" in str(caught.value)


def test_equal_images_stay_on_one_side_of_a_division(tmp_path: Path) -> None:
    doubled, folder = tmp_path / "doubled", make_images(tmp_path / "images")
    for path in sorted(folder.rglob("*.png")):
        split, label, name = path.relative_to(folder).parts
        for copy in ("a", "b"):
            (doubled / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, doubled / label / f"{split}-{copy}-{name}")
    data = {"kind": "folders", "hr": str(doubled), "ratios": [0.5, 0.25, 0.25], "link": "hard"}
    result = run_experiment(tiny(folder, data=data, seeds=[0], arms=TWO), tmp_path / "out")
    assert sum(sum(counts.values()) for counts in result.results["data"]["counts"].values()) == 68
    sides: dict[str, set[str]] = {}
    for path in (tmp_path / "out/data/hr").rglob("*.png"):
        sides.setdefault(path.name.replace("-a-", "-b-"), set()).add(path.parts[-3])
    assert all(len(found) == 1 for found in sides.values())
    assert "One seed alone" in result.results["seeds"]["verdict"]
    assert result.results["arms"][0]["spread"] is None


def test_a_class_that_a_split_lacks_is_an_error(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images")
    shutil.rmtree(folder / "validation/down")
    with pytest.raises(CatalogError, match=r"without images: validation/down"):
        run_experiment(tiny(folder), tmp_path / "out")


def test_an_image_that_cannot_be_read_is_left_out_of_every_arm_and_listed(broken: Path, tmp_path: Path) -> None:
    result = run_experiment(tiny(broken, seeds=[0], arms=TWO), tmp_path / "out")
    (one,) = result.failures
    assert (one["step"], one["source"]) == ("data", "test/down/down-1.png")
    assert result.results["failures"] == [one]
    assert result.results["data"]["counts"]["test"] == {"across": 5, "down": 4}
    for arm in ("lr", "hr"):
        assert "down/down-1" not in {row["name"] for row in answers(result.out, arm, 0, arm)}
    again = run_experiment(tiny(broken, seeds=[0], arms=TWO), tmp_path / "out")
    assert (again.trained, again.failures) == (0, result.failures)


def silent(line: str) -> None:
    pass


@pytest.mark.parametrize("link", ["copy", "hard"])
def test_data_are_made_once_and_again_when_they_were_changed(images: Path, tmp_path: Path, link: str) -> None:
    data = {"kind": "folders", "link": link, **{split: str(images / split) for split in COUNTS}}
    experiment = tiny(images, data=data)
    first = prepare_data(tmp_path, experiment, silent)
    assert not first.reused
    assert first.counts == {split: dict.fromkeys(("across", "down"), count) for split, count in COUNTS.items()}
    hr, lr = first.folder("hr", "test") / "down/down-1.png", first.folder("lr", "test") / "down/down-1.png"
    assert hr.samefile(images / "test/down/down-1.png") == (link == "hard")
    assert np.array_equal(decode(hr.read_bytes()), decode((images / "test/down/down-1.png").read_bytes()))
    assert decode(lr.read_bytes()).shape == (8, 8, 3)
    assert prepare_data(tmp_path, experiment, silent).reused
    lr.unlink()
    again = prepare_data(tmp_path, experiment, silent)
    assert (again.reused, again.digests) == (False, first.digests)


def test_lr_of_sides_that_the_factor_does_not_divide_is_made_after_mod_crop(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images", 17)
    found = prepare_data(tmp_path / "out", tiny(folder), silent)
    hr, lr = (decode((found.folder(kind, "test") / "down/down-1.png").read_bytes()) for kind in ("hr", "lr"))
    assert (hr.shape, lr.shape) == ((17, 17, 3), (8, 8, 3))
    assert np.array_equal(lr, Degradation(factor=2).apply(hr[:16, :16]))
    rounded = prepare_data(tmp_path / "out", tiny(folder, degradation={"factor": 2, "mod_crop": False}), silent)
    assert not rounded.reused
    lr = decode((rounded.folder("lr", "test") / "down/down-1.png").read_bytes())
    assert np.array_equal(lr, Degradation(factor=2).apply(hr))


def test_images_whose_lr_copies_alone_are_equal_are_left_out_of_the_earlier_split_and_named(tmp_path: Path) -> None:
    folder, said = make_images(tmp_path / "images"), list[str]()
    for level, place in ((3, "train/down/a.png"), (4, "validation/across/b.png"), (5, "test/down/c.png")):
        rgb = np.full((16, 16, 3), 100, np.uint8)
        rgb[0, 0, 0] += np.uint8(level)  # in HR alone: LR is flat
        (folder / place).write_bytes(encode(rgb, "png"))
    data = {"kind": "folders", **{split: str(folder / split) for split in COUNTS}}
    experiment = tiny(folder, data=data, degradation={"factor": 8, "filter": "nearest"})
    found = prepare_data(tmp_path / "out", experiment, said.append)
    assert [(one.name, one.reason) for one in found.failures] == [
        ("validation/across/b.png", "equal_lr"),
        ("train/down/a.png", "equal_lr"),
    ]
    assert (
        f"{folder / 'train/down/a.png'} is the same image as {folder / 'test/down/c.png'}" in found.failures[1].detail
    )
    assert any("2 images are left out" in line for line in said)
    assert {split: counts["down"] for split, counts in found.counts.items()} == {"train": 8, "validation": 4, "test": 6}
    for kind in ("hr", "lr"):
        assert not list(found.folder(kind, "train").rglob("a.*"))
        assert list(found.folder(kind, "test").rglob("c.*"))
    again = prepare_data(tmp_path / "out", experiment, said.append)
    assert (again.reused, again.failures) == (True, found.failures)


def test_a_limit_takes_so_many_of_each_class_by_seed_alone(images: Path, tmp_path: Path) -> None:
    data = {"kind": "folders", "limit": 3, **{split: str(images / split) for split in COUNTS}}
    found = prepare_data(tmp_path / "a", tiny(images, data=data), silent)
    assert found.counts == {split: {"across": 3, "down": 3} for split in COUNTS}
    other = prepare_data(tmp_path / "b", tiny(images, data={**data, "seed": 1}), silent)
    assert other.digests["hr"] != found.digests["hr"]


def test_samples_keep_their_test_images_and_share_their_training_images(tmp_path: Path, images: Path) -> None:
    found = prepare_data(tmp_path, tiny(images, data={"kind": "faces", "validation_share": 0.2}), silent)
    assert found.counts == {
        "train": {"face": 56, "nonface": 56},
        "validation": {"face": 14, "nonface": 14},
        "test": {"face": 30, "nonface": 30},
    }
    assert "smoke test" in found.note


def test_folders_without_classes_are_refused(images: Path, tmp_path: Path) -> None:
    data = {"kind": "folders", "hr": str(images / "test/down")}
    with pytest.raises(CatalogError, match=r"an experiment needs a folder for each class, but .* \(hr\) has none"):
        prepare_data(tmp_path, tiny(images, data=data), silent)
