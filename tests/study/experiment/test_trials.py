"""Trials: the images that an arm sees, what is trained and predicted, and that neither is done twice."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_experiment import DOMAINS, answers, tiny

from srcache.recipe.reading import load_recipe
from srcache.study.experiment.run import ExperimentResult
from srcache.study.experiment.trials import Trial, TrialRunner, carry_out
from srcache.study.train.runs import EpochLine

pytestmark = pytest.mark.usefixtures("no_drawings")


@pytest.fixture
def runner(out: Path, images: Path) -> TrialRunner:
    """The finished experiment's, in a copy of its folder."""
    recipe = load_recipe("lanczos", {"scale": 2})
    return TrialRunner(out=out, recipes={"main": recipe}, domains=tiny(images).domains, lost=frozenset())


def test_every_arm_sees_the_same_images_in_its_own_size(runner: TrialRunner) -> None:
    seen = {arm: runner.images(arm, "main", "test") for arm in (*DOMAINS, "lr=0.5,sr=0.5")}
    assert len({data.names for data in seen.values()}) == 1
    assert {arm: data[0].shape[0] for arm, data in seen.items() if arm in DOMAINS} == {
        **{"lr": 8, "bicubic": 16, "sr": 16, "hr": 16}
    }


def test_images_that_are_lost_are_seen_by_no_arm(runner: TrialRunner) -> None:
    every = runner.images("lr", "main", "test")
    lost = frozenset(every.keys[2:4])
    less = TrialRunner(out=runner.out, recipes=runner.recipes, domains=runner.domains, lost=lost)
    for arm in DOMAINS:
        assert less.images(arm, "main", "test").names == (*every.names[:2], *every.names[4:])


def test_a_few_images_of_each_class_are_another_training_and_all_of_them_the_same_as_ever(
    runner: TrialRunner, images: Path
) -> None:
    arm = tiny(images).arms[2]
    whole, few, fewer = (
        Trial(runner=runner, arm=replace(arm, per_class=count), seed=0).fingerprint for count in (None, 3, 2)
    )
    assert len({whole, few, fewer}) == 3
    assert (runner.out / f"runs/sr-{whole}/0").is_dir()


def test_a_trial_is_carried_out_once(
    runner: TrialRunner, images: Path, first: ExperimentResult, tmp_path: Path
) -> None:
    trial = Trial(runner=runner, arm=tiny(images).arms[0], seed=1)
    assert str(trial) == "lr, seed 1"
    assert trial.folder == runner.out / f"runs/lr-{trial.fingerprint}/1"
    lines: list[tuple[str, EpochLine]] = []
    known = carry_out(trial, lambda one, line: lines.append((str(one), line)))
    assert (known.run.reused, known.predicted, known.known, lines) == (True, 0, 4, [])
    trial.predictions("sr").unlink()
    assert (carry_out(trial).predicted, carry_out(trial).predicted) == (1, 0)
    shutil.rmtree(trial.folder)
    again = carry_out(trial, lambda one, line: lines.append((str(one), line)))
    assert (again.run.reused, again.predicted) == (False, 0), "the same weights: what they predict is known"
    assert [(name, line.epoch) for name, line in lines] == [("lr, seed 1", 1), ("lr, seed 1", 2)]
    assert again.run.weights == first.results["arms"][0]["weights"][1]
    assert answers(runner.out, "lr", 1, "sr") == answers(first.out, "lr", 1, "sr")
