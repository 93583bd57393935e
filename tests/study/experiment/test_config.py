"""An experiment's values: what is derived from them, and that they read back the same from YAML."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_experiment import tiny

from srcache.study.experiment.config import MAIN
from srcache.study.experiment.load import load_experiment
from srcache.study.experiment.parse import read_experiment

SHIPPED = ("faces", "few-shot", "mixture", "own-photos", "quickstart", "thesis-as-published", "thesis-corrected")


FACES = {"data.kind": "faces"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_reads_back_the_same_once_it_is_written_out(name: str) -> None:
    experiment = load_experiment(name, FACES)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert read_experiment(yaml.safe_load(yaml.safe_dump(experiment.plain()))) == experiment


def test_what_arms_have_in_common_is_written_once() -> None:
    plain = tiny(Path("images"), arms=[{"arm": "lr"}, {"arm": "hr", "epochs": 9}]).plain()
    assert plain["arms"] == [
        {"name": "lr", "arm": "lr", "domain": "lr", "recipe": "main", "epochs": 2},
        {"name": "hr", "arm": "hr", "domain": "hr", "recipe": "main", "epochs": 9},
    ]
    assert "epochs" not in plain["train"]
    assert plain["train"]["network"] == "small:2"
    assert all("seed" not in part for part in (plain["train"], *plain["arms"]))


def test_a_further_recipe_is_a_domain_of_its_own() -> None:
    further: dict[str, Any] = {"gan": {"name": "bicubic", "set": {"scale": 2}}}
    experiment = tiny(Path("images"), further=further, arms=[{"name": "gan", "arm": "sr", "recipe": "gan"}])
    assert list(experiment.recipes) == [MAIN, "gan"]
    assert experiment.domains == {
        **{name: (name, MAIN) for name in ("lr", "bicubic", "sr", "hr")},
        "gan": ("sr", "gan"),
    }
    assert experiment.arms[0].domain == "gan"
    assert experiment.reference is None


@pytest.mark.parametrize(
    ("arm", "filtered"),
    [
        ("lr", False),
        ("lr=0.5,sr=0.5", False),
        ("lr=0.5,sr[safe>0.5]=0.5", True),
        ("patch(lr,sr,grid=8)=0.5,sr=0.5", False),
        ("lr=0.5,blend(lr,sr[safe>0.5])=0.5", True),
    ],
)
def test_an_arm_is_filtered_by_its_policy(arm: str, filtered: bool) -> None:
    arms = [
        {"name": "one", "arm": arm, "domain": "sr"},
        {"name": "a", "arm": "hr"},
        {"name": "b", "arm": "hr", "epochs": 9},
    ]
    experiment = tiny(Path("images"), arms=arms)
    assert experiment.arms[0].filtered == filtered
    assert experiment.reference == experiment.arms[1], "the first arm that is trained on HR"
