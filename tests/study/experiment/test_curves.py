"""Sweeps: points that are trained and reused as arms are, and numbers that follow from what was answered."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_experiment import numbers, tiny

from srcache.errors import ConfigError
from srcache.study.experiment.config import Experiment
from srcache.study.experiment.run import ExperimentResult, run_experiment
from srcache.study.train.runs import open_run

pytestmark = [pytest.mark.medium, pytest.mark.usefixtures("no_drawings")]


def swept(images: Path, **changes: Any) -> Experiment:
    """Both kinds of sweep, on the arms of the finished experiment and a mixture."""
    return tiny(
        images,
        **{
            "arms": [{"arm": "bicubic"}, {"arm": "sr"}, {"name": "mix", "arm": "lr=0.5,sr=0.5", "domain": "sr"}],
            "seeds": [0, 1],
            "safety": {"measure": False},
            "sweep": {
                "share": {"over": "share", "values": [0, 50, 100], "arms": ["mix"], "domains": ["bicubic", "sr"]},
                "few": {"over": "per_class", "values": [2, "all"], "arms": ["sr", "bicubic"], "epochs": [3, 2]},
            },
            **changes,
        },
    )


def right(out: Path, point: dict[str, Any], domain: str) -> Any:
    """Who was right at a point, seeds × images, from the prediction files."""
    rows = []
    for run in point["runs"]:
        path = out / run.replace("runs/", "predictions/", 1) / f"{domain}.csv"
        lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
        rows.append([line[2] == line[3] for line in sorted(lines)])
    return np.array(rows)


def test_points_are_arms_and_their_numbers_are_those_of_the_answers(out: Path, images: Path) -> None:
    result = run_experiment(swept(images), out)
    assert (result.trained, result.reused) == (2 * 4, 2 * 2), "bicubic and sr are known; mix, 0 %, and two of 2 images"
    share, few = result.results["sweeps"]
    assert [point["arm"] for point in share["curves"][0]["points"]] == ["mix@share-0", "mix", "sr"]
    assert [(one["name"], one["of"]) for one in share["curves"]] == [("mix on bicubic", "sr"), ("mix on sr", "sr")]
    assert [point["images_per_class"] for point in few["curves"][0]["points"]] == [[2, 2], [8, 8]]
    for sweep in (share, few):
        assert (sweep["images"], sweep["seeds"], sweep["level"]) == (10, [0, 1], 0.95)
        for curve in sweep["curves"]:
            for point in curve["points"]:
                answers = right(out, point, curve["domain"])
                assert point["accuracy"] == pytest.approx(answers.mean(1))
                assert point["mean"] == pytest.approx(answers.mean())
    points = {
        (curve["name"], one["value"]): (one, curve["domain"]) for curve in few["curves"] for one in curve["points"]
    }
    for one in few["differences"]:
        answers = [right(out, *points[name, one["at"]]) for name in (one["first"], one["second"])]
        assert one["difference"] == pytest.approx(answers[0].mean() - answers[1].mean())
    assert [(one["first"], one["second"], one["at"]) for one in few["differences"]] == [
        *(("sr", "bicubic", 2), ("sr", "bicubic", "all"))
    ], "as the answer names them, whichever curve comes first"
    about = [(one["first"], one["second"], one["at"], one["against"]) for one in share["differences"]]
    assert about[:3] == [("mix on sr", "mix on bicubic", at, at) for at in (0, 50, 100)]
    assert about[3:5] == [("mix on bicubic", "mix on bicubic", at, 0) for at in (50, 100)]
    balances = [open_run(out / run).balance for run in few["curves"][0]["points"][0]["runs"]]
    assert balances == 2 * [{"train": {"across": 2, "down": 2}, "validation": {"across": 2, "down": 2}}]
    assert "sweeps" in (out / "report.html").read_text()
    again = run_experiment(swept(images), out)
    assert (again.trained, again.reused) == (0, 12)
    assert numbers(again.results) == numbers(result.results)
    assert json.loads((out / "results.json").read_text())["sweeps"] == result.results["sweeps"]


def test_too_few_images_are_said_before_anything_is_trained(first: ExperimentResult, out: Path, images: Path) -> None:
    sweep = {"few": {"over": "per_class", "values": [4, 9], "arms": ["sr"]}}
    with pytest.raises(ConfigError, match=r"sweep.few: 9 training images of each class, but across has 8, down has 8"):
        run_experiment(swept(images, sweep=sweep), out)
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(
        path.name for path in (first.out / "runs").iterdir()
    )
