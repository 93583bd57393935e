"""results.json: every number is that of the files, every test image has its row; folders of others are left alone."""

import csv
import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml
from tiny_experiment import ARMS, CLASSES, COUNTS, DOMAINS, SEEDS, accuracy, answers, home, tiny

from srcache.errors import ConfigError
from srcache.images import decode
from srcache.study.experiment.load import load_experiment
from srcache.study.experiment.results import RESULTS, earlier_results, start_results, write_results
from srcache.study.experiment.run import ExperimentResult, run_experiment
from srcache.study.report.data.question import answer
from srcache.study.report.data.study import Study


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
        assert arm["runs"] == [f"runs/{home(out, arm['name'])}/{seed}" for seed in SEEDS]
        for seed, history, best in zip(SEEDS, arm["history"], arm["best_epoch"], strict=True):
            run = json.loads((out / f"runs/{home(out, arm['name'])}/{seed}/run.json").read_text())
            assert (run["history"], run["best_epoch"], run["settings"]["seed"]) == (history, best, seed)
    grid = results["grid"]
    assert (grid["arms"], grid["domains"]) == (list(ARMS), list(DOMAINS))
    for row, arm in zip(grid["accuracy"], ARMS, strict=True):
        assert row == [fmean(accuracy(out, arm, seed, domain) for seed in SEEDS) for domain in DOMAINS]
    assert results["answer"] == answer(Study(results=results, root=first.out))
    assert re.search(r"^SR .* over 10 images and 2 seeds[.:]", results["answer"])
    assert results["verdict"] == results["seeds"]["verdict"] == first.verdict
    assert "seeds" not in results["compare"]
    assert results["compare"]["pairs"][0]["first"] == "lr"


def test_each_test_image_has_a_row(first: ExperimentResult) -> None:
    images = {row["name"]: row for row in first.results["images"]}
    assert sorted(images) == sorted(f"{label}/{label}-{number}" for label in CLASSES for number in range(5))
    row = images["down/down-3"]
    sizes = {kind: decode((first.out / row[kind]).read_bytes()).shape[0] for kind in DOMAINS}
    assert sizes == {"lr": 8, "bicubic": 16, "sr": 16, "hr": 16}
    with (first.out / "quality/sr.csv").open(newline="") as file:
        psnr = {line["name"]: float(line["psnr"]) for line in csv.DictReader(file)}
    assert row["quality"]["sr"]["psnr"] == psnr["down/down-3"]
    predicted = {line["name"]: line["prediction"] for line in answers(first.out, "hr", 0, "hr")}
    assert row["predictions"]["hr"] == {"label": predicted["down/down-3"], "right": predicted["down/down-3"] == "down"}
    assert row["label"] == "down"
    assert 0 <= row["safe"] <= 1
    (bar,) = first.results["safety"]["filters"]
    assert bar["kept"] + bar["removed"] == first.results["safety"]["rows"] == 34
    gone = {name for name, row in images.items() if row["safe"] <= 0.5}
    assert {name for name in bar["removed_names"] if name in images} == gone


def test_the_written_configuration_reads_back_the_same(first: ExperimentResult, images: Path) -> None:
    assert load_experiment(first.out / "experiment.yaml") == tiny(images)
    assert yaml.safe_load((first.out / "experiment.yaml").read_text()) == first.results["config"]


@pytest.mark.parametrize("name", ["thesis.txt", "results.json", "lock"])
def test_a_folder_of_others_is_refused_and_left_alone(tmp_path: Path, images: Path, name: str) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text('{"mine": 1}')
    (out / "more").touch()
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        run_experiment(tiny(images), out)
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        run_experiment(tiny(images), out / name)
    assert sorted(path.name for path in out.iterdir()) == sorted([name, "more"])
    assert (out / name).read_text() == '{"mine": 1}'


def test_what_an_earlier_run_left_is_read(tmp_path: Path, images: Path) -> None:
    assert earlier_results(tmp_path / "new") == {}
    (tmp_path / "lock").touch()
    (tmp_path / ".results.json.x7f3k2").touch()
    assert earlier_results(tmp_path) == {}, "what a crash in the first moment leaves"
    start_results(tmp_path, tiny(images))
    assert earlier_results(tmp_path) == {**earlier_results(tmp_path), "complete": False, "name": "tiny"}
    write_results(tmp_path, {"schema": "srcache.experiment/1", "seconds": 3.5})
    assert earlier_results(tmp_path)["seconds"] == 3.5
    for text in ("{", "[]", "{}", '{"schema": "srcache.experiment/2"}'):
        (tmp_path / RESULTS).write_text(text)
        with pytest.raises(ConfigError, match="expected a new or empty folder, or that of an experiment"):
            earlier_results(tmp_path)


def test_results_without_finite_numbers_are_not_written(tmp_path: Path) -> None:
    write_results(tmp_path, {"mean": 0.5})
    with pytest.raises(ValueError, match="Out of range float"):
        write_results(tmp_path, {"mean": float("nan")})
    assert json.loads((tmp_path / RESULTS).read_text()) == {"mean": 0.5}
