"""Experiments from end to end on tiny pictures: what lies where, what is reused, what is refused, what failures do."""

import csv
import json
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import yaml
from srcache_plugins.resample import Resample
from tiny_experiment import CLASSES, COUNTS, make_pictures, numbers, tiny

from srcache.engine.interface import Failure
from srcache.errors import BusyError, CatalogError, ConfigError
from srcache.files import lock
from srcache.images import decode, encode
from srcache.study.compare import output as compared
from srcache.study.experiment.load import load_experiment
from srcache.study.experiment.run import ExperimentResult, run_experiment
from srcache.study.train import runs

TWO = [{"name": "lr", "arm": "lr"}, {"name": "hr", "arm": "hr"}]
ARMS, DOMAINS, SEEDS = ("lr", "bicubic", "sr", "hr"), ("lr", "bicubic", "sr", "hr"), (0, 1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def first(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    return run_experiment(tiny(pictures), tmp_path_factory.mktemp("first") / "out", commands=["srcache experiment x"])


@pytest.fixture(autouse=True)
def _no_drawings(first: ExperimentResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and matrices are drawn once, by `first`; later runs would spend half their time on them."""
    monkeypatch.setattr(runs, "write_curves", lambda *_: False)
    monkeypatch.setattr(compared, "draw_confusion", lambda *_: b"")


@pytest.fixture
def out(first: ExperimentResult, tmp_path: Path) -> Path:
    """A copy of the finished experiment, to be treated badly."""
    return Path(shutil.copytree(first.out, tmp_path / "out"))


def answers(out: Path, arm: str, seed: int, domain: str) -> list[dict[str, str]]:
    with (out / f"predictions/{arm}/{seed}/{domain}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy(out: Path, arm: str, seed: int, domain: str) -> float:
    return fmean(row["label"] == row["prediction"] for row in answers(out, arm, seed, domain))


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


# What lies where


def test_one_folder_holds_everything(first: ExperimentResult) -> None:
    out = first.out
    for kind in ("hr", "lr"):
        for split, count in COUNTS.items():
            assert {path.parent.name for path in (out / "data" / kind / split).rglob("*.png")} == set(CLASSES)
            assert len(list((out / "data" / kind / split).rglob("*.png"))) == 2 * count
    assert decode((out / "data/lr/test/down/down-0.png").read_bytes()).shape == (8, 8, 3)
    for arm in ARMS:
        for seed in SEEDS:
            held = {path.name for path in (out / f"runs/{arm}/{seed}").iterdir()}
            assert held == {"run.json", "history.csv", "model.safetensors", "curves.png"}
            for domain in DOMAINS:
                assert len(answers(out, arm, seed, domain)) == 10
    for name in ("quality/sr.csv", "quality/bicubic.json", "compare.json", "grid.json", "results.json", "report.html"):
        assert (out / name).stat().st_size > 0
    assert first.report == out / "report.html"


def test_results_say_what_the_files_say(first: ExperimentResult) -> None:
    out, results = first.out, json.loads((first.out / "results.json").read_text())
    assert results == first.results
    assert (results["schema"], results["complete"]) == ("srcache.experiment/1", True)
    assert results["data"]["counts"] == {split: dict.fromkeys(CLASSES, count) for split, count in COUNTS.items()}
    assert results["cache"] == {**results["cache"], "wanted": 34, "stored": 34, "failed": {}}
    assert results["commands"] == ["srcache experiment x"]
    for arm in results["arms"]:
        own = [accuracy(out, arm["name"], seed, arm["domain"]) for seed in SEEDS]
        assert (arm["accuracy"], arm["mean"], arm["spread"]) == (own, fmean(own), stdev(own))
        assert arm["runs"] == [f"runs/{arm['name']}/{seed}" for seed in SEEDS]
        for seed, history, best in zip(SEEDS, arm["history"], arm["best_epoch"], strict=True):
            run = json.loads((out / f"runs/{arm['name']}/{seed}/run.json").read_text())
            assert (run["history"], run["best_epoch"], run["settings"]["seed"]) == (history, best, seed)
    grid = results["grid"]
    assert (grid["arms"], grid["domains"]) == (list(ARMS), list(DOMAINS))
    for row, arm in zip(grid["accuracy"], ARMS, strict=True):
        assert row == [fmean(accuracy(out, arm, seed, domain) for seed in SEEDS) for domain in DOMAINS]
    assert results["verdict"] == results["seeds"]["verdict"] == first.verdict
    assert "seeds" not in results["compare"]
    assert results["compare"]["pairs"][0]["first"] == "lr"


def test_each_test_picture_is_told_of(first: ExperimentResult) -> None:
    images = {row["name"]: row for row in first.results["images"]}
    assert sorted(images) == sorted(f"{label}/{label}-{number}" for label in CLASSES for number in range(5))
    row = images["down/down-3"]
    sizes = {kind: decode((first.out / row[kind]).read_bytes()).shape[0] for kind in DOMAINS}
    assert sizes == {"lr": 8, "bicubic": 16, "sr": 16, "hr": 16}
    with (first.out / "quality/sr.csv").open(newline="") as file:
        psnr = {line["name"]: float(line["psnr"]) for line in csv.DictReader(file)}
    assert row["quality"]["sr"]["psnr"] == psnr["down/down-3"]
    said = {line["name"]: line["prediction"] for line in answers(first.out, "hr", 0, "hr")}
    assert row["predictions"]["hr"] == {"label": said["down/down-3"], "right": said["down/down-3"] == "down"}
    assert row["label"] == "down"
    assert 0 <= row["safe"] <= 1
    (bar,) = first.results["safety"]["filters"]
    assert bar["kept"] + bar["removed"] == first.results["safety"]["rows"] == 34
    gone = {name for name, row in images.items() if row["safe"] <= 0.5}
    assert {name for name in bar["removed_names"] if name in images} == gone


def test_the_written_configuration_reads_back_the_same(first: ExperimentResult, pictures: Path) -> None:
    assert load_experiment(first.out / "experiment.yaml") == tiny(pictures)
    assert yaml.safe_load((first.out / "experiment.yaml").read_text()) == first.results["config"]


# What is reused, and what is not


def test_twice_is_the_same_as_once(out: Path, pictures: Path, first: ExperimentResult) -> None:
    before = {name: stamps(out / name) for name in ("data", "runs", "predictions", "pictures", "quality")}
    said: list[str] = []
    again = run_experiment(tiny(pictures), out, said.append)
    assert (again.trained, again.reused) == (0, 8)
    assert numbers(again.results) == numbers(first.results)
    assert {name: stamps(out / name) for name in before} == before
    assert any("nothing to do" in line for line in said)
    assert any("there already" in line for line in said)
    assert again.results["seconds"] == first.results["seconds"], "what the numbers took, not what looking at them took"


def test_other_settings_of_an_arm_train_that_arm_anew(out: Path, pictures: Path, first: ExperimentResult) -> None:
    arms = [{"name": name, "arm": name, **({"epochs": 1} if name == "sr" else {})} for name in ARMS]
    again = run_experiment(tiny(pictures, arms=arms), out)
    assert (again.trained, again.reused) == (2, 6)
    histories = [[len(history) for history in arm["history"]] for arm in again.results["arms"]]
    assert histories == [[2, 2], [2, 2], [1, 1], [2, 2]]
    assert again.results["grid"]["accuracy"][0] == first.results["grid"]["accuracy"][0]


@pytest.mark.slow
def test_other_pictures_are_noticed(out: Path, tmp_path: Path) -> None:
    other = make_pictures(tmp_path / "others")
    dark = other / "train/down/down-0.png"
    dark.write_bytes(encode(decode(dark.read_bytes()) // 2, "png"))
    again = run_experiment(tiny(other), out)
    assert (again.trained, again.reused) == (8, 0)
    assert decode((out / "data/hr/train/down/down-0.png").read_bytes()).max() < 128
    fresh = run_experiment(tiny(other), tmp_path / "fresh")
    assert numbers(again.results) == numbers(fresh.results)


def test_what_was_lost_or_changed_is_made_again(out: Path, pictures: Path, first: ExperimentResult) -> None:
    lost = ["cache", "runs/hr/0/model.safetensors", "predictions/sr/1/lr.csv"]
    lost += ["quality/sr.csv", "pictures/sr", "data/lr/test"]
    for path in (out / name for name in lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    changed = out / "predictions/hr/1/hr.csv"
    changed.write_text(changed.read_text().replace("across", "down"))
    again = run_experiment(tiny(pictures), out)
    assert numbers(again.results) == numbers(first.results)
    assert again.reused == 7
    assert all((out / name).exists() for name in lost)


@pytest.mark.parametrize(
    "line",
    [
        "training bicubic, seed 1: epoch  1",
        *(pytest.param(line, marks=pytest.mark.slow) for line in ("data:", "comparing")),
    ],
)
def test_an_interrupted_experiment_is_completed_with_the_same_numbers(
    tmp_path: Path, pictures: Path, first: ExperimentResult, line: str
) -> None:
    def stop(text: str) -> None:
        if text.startswith(line):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny(pictures), tmp_path / "out", stop)
    assert json.loads((tmp_path / "out/results.json").read_text())["complete"] is False
    assert numbers(run_experiment(tiny(pictures), tmp_path / "out").results) == numbers(first.results)


# What is refused


def test_pictures_in_two_splits_are_an_error_that_lists_them(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    for number in (0, 3):
        shutil.copy(folder / f"test/down/down-{number}.png", folder / f"train/down/copy-{number}.png")
    with pytest.raises(CatalogError, match="2 pictures are in two of train, validation and test") as caught:
        run_experiment(tiny(folder), tmp_path / "out")
    for number in (0, 3):
        assert f"train/down/copy-{number}.png = test/down/down-{number}.png" in str(caught.value)


def test_equal_pictures_stay_on_one_side_of_a_division(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", make_pictures(tmp_path / "pictures")
    for path in sorted(folder.rglob("*.png")):
        split, label, name = path.relative_to(folder).parts
        for copy in ("a", "b"):
            (whole / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, whole / label / f"{split}-{copy}-{name}")
    data = {"kind": "folders", "hr": str(whole), "ratios": [0.5, 0.25, 0.25], "link": "hard"}
    result = run_experiment(tiny(folder, data=data, seeds=[0], arms=TWO), tmp_path / "out")
    assert sum(sum(counts.values()) for counts in result.results["data"]["counts"].values()) == 68
    sides: dict[str, set[str]] = {}
    for path in (tmp_path / "out/data/hr").rglob("*.png"):
        sides.setdefault(path.name.replace("-a-", "-b-"), set()).add(path.parts[-3])
    assert all(len(found) == 1 for found in sides.values())
    assert "One seed alone" in result.results["seeds"]["verdict"]
    assert result.results["arms"][0]["spread"] is None


def test_a_class_that_a_split_lacks_is_an_error(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    shutil.rmtree(folder / "validation/down")
    with pytest.raises(CatalogError, match=r"without pictures: validation/down"):
        run_experiment(tiny(folder), tmp_path / "out")


@pytest.mark.parametrize("name", ["thesis.txt", "results.json", "lock"])
def test_a_folder_of_others_is_refused_and_left_alone(tmp_path: Path, pictures: Path, name: str) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text('{"mine": 1}')
    (out / "more").touch()
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        run_experiment(tiny(pictures), out)
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        run_experiment(tiny(pictures), out / name)
    assert sorted(path.name for path in out.iterdir()) == sorted([name, "more"])
    assert (out / name).read_text() == '{"mine": 1}'


def test_a_folder_in_which_an_experiment_runs_is_refused(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"), pytest.raises(BusyError):
        run_experiment(tiny(pictures), tmp_path / "out")


def test_a_recipe_that_makes_lr_by_itself_is_refused(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ConfigError, match="leave the degradation to the experiment"):
        tiny(pictures, recipe={"name": "lanczos", "set": {"degradation": "bicubic/2"}})


# What failures do


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    folder = make_pictures(tmp_path / "broken")
    (folder / "test/down/down-1.png").write_bytes(b"no picture")
    return folder


def test_a_picture_that_cannot_be_read_is_left_out_of_every_arm_and_told(broken: Path, tmp_path: Path) -> None:
    result = run_experiment(tiny(broken, seeds=[0], arms=TWO), tmp_path / "out")
    (one,) = result.failures
    assert (one["step"], one["source"]) == ("data", "test/down/down-1.png")
    assert result.results["failures"] == [one]
    assert result.results["data"]["counts"]["test"] == {"across": 5, "down": 4}
    for arm in ("lr", "hr"):
        assert "down/down-1" not in {row["name"] for row in answers(result.out, arm, 0, arm)}
    again = run_experiment(tiny(broken, seeds=[0], arms=TWO), tmp_path / "out")
    assert (again.trained, again.failures) == (0, result.failures)


def test_a_picture_without_sr_is_left_out_of_every_arm_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pictures(tmp_path / "pictures")
    (folder / "test/down/down-1.png").write_bytes(encode(np.full((16, 16, 3), 250, np.uint8), "png"))
    done = Resample.upscale

    def upscale(engine: Resample, images: Any, seeds: Any) -> list[Any]:
        found = zip(done(engine, images, seeds), images, strict=True)
        return [Failure("too_bright", "it is white") if image.mean() > 0.9 else one for one, image in found]

    monkeypatch.setattr(Resample, "upscale", upscale)
    result = run_experiment(tiny(folder, seeds=[0], arms=TWO), tmp_path / "out")
    assert result.results["cache"] == {**result.results["cache"], "stored": 33, "failed": {"too_bright": 1}}
    (one,) = result.failures
    told = {"source": "test/down/down-1.png", "reason": "too_bright", "detail": "it is white"}
    assert one == {"step": "build lanczos", **told}
    for arm in ("lr", "hr"):
        assert len(answers(result.out, arm, 0, arm)) == 9
    assert result.results["quality"]["sr"]["images"] == 9
    assert "down/down-1" not in {row["name"] for row in result.results["images"]}


# More recipes, and mixtures


def test_a_control_by_another_recipe_and_a_filtered_mixture(pictures: Path, tmp_path: Path) -> None:
    experiment = tiny(
        pictures,
        further={"plain": {"name": "bicubic", "set": {"scale": 2}}},
        arms=[
            {"name": "hr", "arm": "hr"},
            {"name": "control", "arm": "sr", "recipe": "plain"},
            {"name": "mixed", "arm": "lr=0.5,sr[safe>0.5]=0.5", "domain": "sr"},
        ],
        seeds=[0],
    )
    results = run_experiment(experiment, tmp_path / "out").results
    assert results["grid"]["domains"] == [*DOMAINS, "plain"]
    assert [arm["domain"] for arm in results["arms"]] == ["hr", "plain", "sr"]
    assert results["cache"]["further"]["plain"]["stored"] == 34
    assert set(results["quality"]) == {"bicubic", "sr", "plain"}
    assert results["quality"]["plain"]["metrics"] == results["quality"]["bicubic"]["metrics"], "the same filter"


# What people are told


def test_each_epoch_is_told_with_the_time_that_is_left(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run_experiment(tiny(pictures, seeds=[0], arms=TWO), tmp_path / "out", said.append)
    epochs = [line for line in said if line.startswith("training ")]
    heads = [f"training {arm}, seed 0: epoch  {epoch} of 2, loss " for arm in ("lr", "hr") for epoch in (1, 2)]
    assert all(line.startswith(head) for line, head in zip(epochs, heads, strict=True))
    assert ["left" in line for line in epochs] == [True, True, True, False]
    steps = [line.partition(":")[0] for line in said if line not in epochs]
    assert list(dict.fromkeys(steps)) == [
        *("data", "cache", "lr, seed 0", "hr, seed 0", "label safety"),
        *("image quality of bicubic", "image quality of sr", "comparing the arms", "writing the report"),
    ]
