"""Measurements of an experiment: the grid, image quality by image, and what is left out of all of them."""

import json
import math
from pathlib import Path
from statistics import fmean, stdev

import pytest
from report_folder import texture
from tiny_experiment import ARMS, DOMAINS, SEEDS, accuracy, home, tiny

from srcache.catalog.listing import Problem
from srcache.errors import CatalogError
from srcache.images import decode, encode, resize
from srcache.recipe.reading import load_recipe
from srcache.study.experiment.data import DataSets
from srcache.study.experiment.measure import (
    compare_arms,
    comparison,
    describe_failure,
    make_grid,
    measure_labels,
    measure_quality,
    near_duplicates,
    quality_rows,
    write_test_images,
)
from srcache.study.experiment.run import ExperimentResult
from srcache.study.experiment.trials import Trial, TrialRunner
from srcache.study.train.runs import open_run

pytestmark = pytest.mark.usefixtures("no_drawings")


def runner_of(out: Path, images: Path, lost: frozenset[str] = frozenset()) -> TrialRunner:
    recipes = {"main": load_recipe("lanczos", {"scale": 2})}
    return TrialRunner(out=out, recipes=recipes, domains=tiny(images).domains, lost=lost)


def trials_of(out: Path, images: Path) -> dict[tuple[str, int], Trial]:
    runner = runner_of(out, images)
    return {(arm.name, seed): Trial(runner=runner, arm=arm, seed=seed) for arm in tiny(images).arms for seed in SEEDS}


@pytest.mark.slow
def test_the_grid_is_the_accuracy_of_every_arm_on_every_domain(first: ExperimentResult, images: Path) -> None:
    grid = make_grid(tiny(images), trials_of(first.out, images))
    assert grid == json.loads((first.out / "grid.json").read_text())
    for at, arm in enumerate(ARMS):
        for place, domain in enumerate(DOMAINS):
            shares = [accuracy(first.out, arm, seed, domain) for seed in SEEDS]
            assert grid["seeds"][at][place] == shares
            assert (grid["accuracy"][at][place], grid["spread"][at][place]) == (fmean(shares), stdev(shares))


def test_a_domain_of_which_nothing_was_predicted_is_an_error(out: Path, images: Path) -> None:
    path = out / f"predictions/{home(out, 'sr')}/1/hr.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(CatalogError, match=r"sr-[0-9a-f]{16}/1/hr\.csv holds no predictions"):
        make_grid(tiny(images), trials_of(out, images))


@pytest.mark.slow
def test_the_comparison_is_written_beside_its_files(out: Path, images: Path, first: ExperimentResult) -> None:
    (out / "compare.json").unlink()
    found = compare_arms(tiny(images), trials_of(out, images))
    assert not (out / "compare/compare.json").exists()
    written = json.loads((out / "compare.json").read_text())
    assert written == json.loads((first.out / "compare.json").read_text())
    one, seeds = comparison(found)
    assert "seeds" not in one
    assert seeds["verdict"] == first.verdict


def test_near_duplicates_are_found_once(tmp_path: Path) -> None:
    digests = {"hr": {"train": "a", "test": "b"}}
    data = DataSets(
        root=tmp_path, classes=(), counts={}, digests=digests, note="", failures=(), treated={}, reused=False
    )
    for split, size in (("train", 48), ("test", 36)):
        path = data.folder("hr", split) / "a/one.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(resize(texture(1, 48), (size, size), "bicubic"), "png"))
    found = near_duplicates(tmp_path, data)
    assert (found["count"], [(one["test"], one["train"]) for one in found["pairs"]]) == (1, [("a/one", "a/one.png")])
    path.unlink()
    assert near_duplicates(tmp_path, data) == found, "it is known already"


def test_quality_by_image_has_no_infinity(tmp_path: Path) -> None:
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality/sr.csv").write_text("name,psnr,lpips\na/1,inf,0.25\na/2,30.5,\n")
    assert quality_rows(tmp_path, "sr") == {"a/1": {"psnr": None, "lpips": 0.25}, "a/2": {"psnr": 30.5}}


def test_quality_is_measured_once_and_again_without_lost_images(out: Path, images: Path) -> None:
    runner, experiment = runner_of(out, images), tiny(images)
    assert not write_test_images(runner, "bicubic")
    before, known = measure_quality(runner, experiment, "bicubic")
    assert known
    lost = runner.images("lr", "main", "test").keys[0]
    less = runner_of(out, images, frozenset([lost]))
    assert write_test_images(less, "bicubic")
    after, known = measure_quality(less, experiment, "bicubic")
    assert not known
    assert (before["images"], after["images"]) == (10, 9)
    rows = [row["psnr"] or math.inf for row in quality_rows(out, "bicubic").values()]
    assert after["metrics"]["psnr"]["mean"] == pytest.approx(fmean(rows))
    assert len(list((out / "pictures/hr").rglob("*.png"))) == 9


def test_test_images_are_those_that_the_arm_sees(first: ExperimentResult, images: Path) -> None:
    data = runner_of(first.out, images).images("sr", "main", "test")
    for index in (0, 7):
        path = (first.out / "pictures/sr" / data.names[index]).with_suffix(".png")
        assert (decode(path.read_bytes()) == data[index]).all()


def test_label_safety_covers_every_split_and_needs_no_classifier(out: Path, images: Path) -> None:
    runner, experiment = runner_of(out, images), tiny(images)
    known = measure_labels(runner, experiment, open_run(out / f"runs/{home(out, 'hr')}/0"))
    assert (known.measured, known.failures) == (0, ())
    assert {split: len(rows) for split, rows in known.rows.items()} == {"train": 16, "validation": 8, "test": 10}
    (effect,) = known.filters
    assert effect["policy"] == "safe>0.5"
    assert effect["kept"] + effect["removed"] == 34 == sum(sum(one.values()) for one in effect["splits"].values())
    known.table.unlink()
    (known.table.parent / "safety.json").unlink(missing_ok=True)
    alone = measure_labels(runner, experiment, None)
    assert alone.measured == 34
    assert all(row.sr_label is None for row in alone.rows["test"].values())


@pytest.mark.parametrize(
    "one",
    [
        Problem("a/1.png", "truncated", "it ends early"),
        {"name": "a/1.png", "reason": "truncated", "detail": "it ends early"},
        {"source": "a/1.png", "name": "key-000", "reason": "truncated", "detail": "it ends early"},
    ],
)
def test_a_failure_names_its_source_and_step(one: object) -> None:
    wanted = {"step": "data", "source": "a/1.png", "reason": "truncated", "detail": "it ends early"}
    assert describe_failure(one, "data") == wanted
