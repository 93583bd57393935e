"""Experiments from end to end on tiny images: what lies where, what is reused, what is refused, what failures do."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from srcache_plugins.resample import Resample
from tiny_experiment import ARMS, CLASSES, COUNTS, DOMAINS, SEEDS, TWO, answers, home, make_images, numbers, tiny

from srcache.engine.interface import Failure
from srcache.errors import BusyError, ConfigError
from srcache.files import lock
from srcache.images import decode, encode
from srcache.study.experiment.run import ExperimentResult, run_experiment
from srcache.study.report import write_report

pytestmark = pytest.mark.usefixtures("first", "no_drawings")


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


def test_one_folder_holds_everything(first: ExperimentResult) -> None:
    out = first.out
    for kind in ("hr", "lr"):
        for split, count in COUNTS.items():
            assert {path.parent.name for path in (out / "data" / kind / split).rglob("*.png")} == set(CLASSES)
            assert len(list((out / "data" / kind / split).rglob("*.png"))) == 2 * count
    assert decode((out / "data/lr/test/down/down-0.png").read_bytes()).shape == (8, 8, 3)
    for arm in ARMS:
        for seed in SEEDS:
            held = {path.name for path in (out / f"runs/{home(out, arm)}/{seed}").iterdir()}
            assert held == {"run.json", "history.csv", "model.safetensors", "curves.png"}
            for domain in DOMAINS:
                assert len(answers(out, arm, seed, domain)) == 10
    for name in ("quality/sr.csv", "quality/bicubic.json", "compare.json", "grid.json", "results.json", "report.html"):
        assert (out / name).stat().st_size > 0
    assert first.report == out / "report.html"


def test_twice_is_the_same_as_once(out: Path, images: Path, first: ExperimentResult) -> None:
    before = {name: stamps(out / name) for name in ("data", "runs", "predictions", "pictures", "quality")}
    said: list[str] = []
    again = run_experiment(tiny(images), out, said.append)
    assert (again.trained, again.reused) == (0, 8)
    assert numbers(again.results) == numbers(first.results)
    assert {name: stamps(out / name) for name in before} == before
    assert any("nothing to do" in line for line in said)
    assert any("there already" in line for line in said)
    assert again.results["seconds"] == first.results["seconds"], "what the numbers took, not what looking at them took"


@pytest.mark.slow
def test_other_settings_of_an_arm_train_that_arm_anew(out: Path, images: Path, first: ExperimentResult) -> None:
    arms = [{"name": name, "arm": name, **({"epochs": 1} if name == "sr" else {})} for name in ARMS]
    again = run_experiment(tiny(images, arms=arms), out)
    assert (again.trained, again.reused) == (2, 6)
    histories = [[len(history) for history in arm["history"]] for arm in again.results["arms"]]
    assert histories == [[2, 2], [2, 2], [1, 1], [2, 2]]
    assert again.results["grid"]["accuracy"][0] == first.results["grid"]["accuracy"][0]


@pytest.mark.slow
def test_runs_with_other_settings_stay_beside_each_other(out: Path, images: Path, first: ExperimentResult) -> None:
    arms = [{"name": name, "arm": name, **({"epochs": 1} if name == "sr" else {})} for name in ARMS]
    before, kept = home(out, "sr"), stamps(out / "runs")
    other = run_experiment(tiny(images, arms=arms), out)
    assert home(out, "sr") != before
    assert {path: stamp for path, stamp in stamps(out / "runs").items() if path in kept} == kept
    again = run_experiment(tiny(images), out)
    assert (other.trained, again.trained, home(out, "sr")) == (2, 0, before)
    assert numbers(again.results) == numbers(first.results)


@pytest.mark.slow
def test_an_interrupted_run_with_other_settings_leaves_the_complete_results(
    out: Path, images: Path, first: ExperimentResult
) -> None:
    def stop(text: str) -> None:
        if text.startswith("training sr, seed 1"):
            raise KeyboardInterrupt

    arms = [{"name": name, "arm": name, **({"epochs": 1} if name == "sr" else {})} for name in ARMS]
    config = (out / "experiment.yaml").read_text()
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny(images, arms=arms), out, stop)
    assert json.loads((out / "results.json").read_text()) == first.results
    assert (out / "experiment.yaml").read_text() == config
    assert json.loads((out / "started.json").read_text())["config"]["arms"][2]["epochs"] == 1
    assert "This is the latest complete set." in write_report(out).read_text()
    done = run_experiment(tiny(images, arms=arms), out)
    assert (done.trained, done.results["complete"]) == (1, True)
    assert not (out / "started.json").exists()
    assert "latest complete set" not in done.report.read_text()
    assert (out / "experiment.yaml").read_text() != config


@pytest.mark.slow
def test_runs_of_a_version_without_fingerprints_are_taken_over(
    out: Path, images: Path, first: ExperimentResult
) -> None:
    for arm in ARMS:
        os.rename(out / f"runs/{home(out, arm)}", out / f"runs/{arm}")
    again = run_experiment(tiny(images), out)
    assert (again.trained, again.reused) == (0, 8)
    assert numbers(again.results) == numbers(first.results)


@pytest.mark.slow
def test_other_images_are_noticed(out: Path, tmp_path: Path) -> None:
    other = make_images(tmp_path / "others")
    dark = other / "train/down/down-0.png"
    dark.write_bytes(encode(decode(dark.read_bytes()) // 2, "png"))
    again = run_experiment(tiny(other), out)
    assert (again.trained, again.reused) == (8, 0)
    assert decode((out / "data/hr/train/down/down-0.png").read_bytes()).max() < 128
    fresh = run_experiment(tiny(other), tmp_path / "fresh")
    assert numbers(again.results) == numbers(fresh.results)


@pytest.mark.slow
def test_what_was_lost_or_changed_is_made_again(out: Path, images: Path, first: ExperimentResult) -> None:
    lost = ["cache", f"runs/{home(out, 'hr')}/0/model.safetensors", f"predictions/{home(out, 'sr')}/1/lr.csv"]
    lost += ["quality/sr.csv", "pictures/sr", "data/lr/test"]
    for path in (out / name for name in lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    changed = out / f"predictions/{home(out, 'hr')}/1/hr.csv"
    changed.write_text(changed.read_text().replace("across", "down"))
    again = run_experiment(tiny(images), out)
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
    tmp_path: Path, images: Path, first: ExperimentResult, line: str
) -> None:
    def stop(text: str) -> None:
        if text.startswith(line):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny(images), tmp_path / "out", stop)
    assert json.loads((tmp_path / "out/results.json").read_text())["complete"] is False
    assert numbers(run_experiment(tiny(images), tmp_path / "out").results) == numbers(first.results)


def test_every_test_image_is_measured_whatever_its_sides_and_n_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    folder = make_images(tmp_path / "images", 17)
    results = run_experiment(tiny(folder, seeds=[0], arms=TWO), tmp_path / "out", said.append).results
    for domain in ("bicubic", "sr"):
        psnr = results["quality"][domain]["metrics"]["psnr"]
        assert (psnr["n"], results["quality"][domain]["pairs"], psnr["convention"]["mod_crop"]) == (10, 10, 2)
    line = next(line for line in said if line.startswith("image quality of sr:"))
    assert line.count("(n 10)") == 2
    assert "mod crop: 2" in (tmp_path / "out/report.html").read_text()
    plain = tiny(folder, seeds=[0], arms=TWO, degradation={"factor": 2, "mod_crop": False})
    with pytest.raises(ConfigError, match=r"--set quality\.resize=picture:bicubic"):
        run_experiment(plain, tmp_path / "rounded")


def test_a_folder_in_which_an_experiment_runs_is_refused(tmp_path: Path, images: Path) -> None:
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"), pytest.raises(BusyError):
        run_experiment(tiny(images), tmp_path / "out")


def test_an_image_without_sr_is_left_out_of_every_arm_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_images(tmp_path / "images")
    (folder / "test/down/down-1.png").write_bytes(encode(np.full((16, 16, 3), 250, np.uint8), "png"))
    done = Resample.upscale

    def upscale(engine: Resample, images: Any, seeds: Any) -> list[Any]:
        found = zip(done(engine, images, seeds), images, strict=True)
        return [Failure("too_bright", "it is white") if image.mean() > 0.9 else one for one, image in found]

    monkeypatch.setattr(Resample, "upscale", upscale)
    result = run_experiment(tiny(folder, seeds=[0], arms=TWO), tmp_path / "out")
    assert result.results["cache"] == {**result.results["cache"], "stored": 33, "failed": {"too_bright": 1}}
    (one,) = result.failures
    known = {"source": "test/down/down-1.png", "reason": "too_bright", "detail": "it is white"}
    assert one == {"step": "build lanczos", **known}
    for arm in ("lr", "hr"):
        assert len(answers(result.out, arm, 0, arm)) == 9
    assert result.results["quality"]["sr"]["images"] == 9
    assert "down/down-1" not in {row["name"] for row in result.results["images"]}


def test_a_control_by_another_recipe_and_a_filtered_mixture(images: Path, tmp_path: Path) -> None:
    experiment = tiny(
        images,
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
