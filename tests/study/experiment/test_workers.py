"""Trials one by one or in processes: the same numbers, every epoch reported with the time that is left."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_experiment import TWO, numbers, tiny

from srcache.study.experiment.run import run_experiment
from srcache.study.experiment.workers import Expected, ProgressReporter
from srcache.study.train.runs import EpochLine

pytestmark = pytest.mark.usefixtures("no_drawings")


def test_each_epoch_is_reported_with_the_time_that_is_left(images: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run_experiment(tiny(images, seeds=[0], arms=TWO), tmp_path / "out", said.append)
    epochs = [line for line in said if line.startswith("training ")]
    heads = [f"training {arm}, seed 0: epoch  {epoch} of 2, loss " for arm in ("lr", "hr") for epoch in (1, 2)]
    assert all(line.startswith(head) for line, head in zip(epochs, heads, strict=True))
    assert ["left" in line for line in epochs] == [True, True, True, False]
    steps = [line.partition(":")[0] for line in said if line not in epochs]
    assert list(dict.fromkeys(steps)) == [
        *("data", "cache", "lr, seed 0", "hr, seed 0", "label safety"),
        *("image quality of bicubic", "image quality of sr", "comparing the arms", "writing the report"),
    ]


def line(epoch: int, seconds: float) -> EpochLine:
    return EpochLine(
        epoch=epoch, loss=0.5, train_accuracy=0.5, val_loss=0.25, val_accuracy=0.75, lr=0.1, seconds=seconds
    )


def trial(epochs: int, name: str = "lr") -> Any:
    class Named(SimpleNamespace):
        def __str__(self) -> str:
            return "lr, seed 0"

    return Named(arm=SimpleNamespace(name=name, settings=SimpleNamespace(epochs=epochs)))


def test_the_time_that_is_left_comes_from_the_pace_of_epochs_and_the_number_of_jobs() -> None:
    said: list[str] = []
    trials = [trial(10, name) for name in ("lr", "sr", "hr")]
    reporter = ProgressReporter(trials, 2, said.append)
    reporter.epoch(trials[0], line(1, 4.0))
    assert said[-1] == (
        "training lr, seed 0: epoch  1 of 10, loss 0.500, validation loss 0.250, 75.0% right; about 58 s left"
    )
    reporter.epoch(trials[1], line(1, 8.0))
    assert said[-1].endswith("; about 84 s left"), "28 epochs of 6 seconds, two at a time"
    reporter.epoch(trials[2], line(1, 18.0))
    assert said[-1].endswith("; about 2 min left"), "27 of 10"
    reporter.skip(26)
    reporter.epoch(trials[2], line(10, 1.0))
    assert said[-1].endswith("75.0% right")


def test_the_time_that_is_left_is_told_by_arm_and_holds_the_steps_after_training() -> None:
    said: list[str] = []
    small, large = trial(10, "small"), trial(10, "large")
    expected = Expected(weights=[1.0, 16.0], tail=0.5, after=7.0, after_epochs=2.0)
    reporter = ProgressReporter([small, large], 1, said.append, expected)
    reporter.epoch(small, line(1, 0.1))
    # 9 epochs of 0.1 and 10 of 1.6, half an epoch each to predict, 7 s, and 2 epochs of 0.85
    assert said[-1].endswith(f"; about {0.9 + 16 + 0.05 + 0.8 + 7 + 1.7:.0f} s left")
    reporter.epoch(large, line(1, 4.0))
    # an arm that was seen goes by its own pace; the mean arm costs (0.1 / 1 + 4 / 16) / 2 for each weight
    assert said[-1].endswith(f"; about {0.9 + 36 + 0.05 + 2 + 7 + 2 * 0.175 * 8.5:.0f} s left")
    outcome: Any = SimpleNamespace(run=SimpleNamespace(reused=False, best_epoch=1, history=(1,)), predicted=4)
    reporter.skip(9, small)
    reporter.finish(small, outcome, 3.0)
    reporter.epoch(large, line(2, 4.0))
    assert said[-1].endswith(f"; about {32 + 2 + 7 + 2 * 0.175 * 8.5:.0f} s left")


@pytest.mark.parametrize(
    ("reused", "predicted", "words"),
    [
        (False, 4, "lr, seed 0: trained; best epoch 2 of 3; predicted 4 domains"),
        (
            *(True, 0),
            "lr, seed 0: trained earlier, from the same images and settings; best epoch 2 of 3; "
            "all domains predicted earlier",
        ),
    ],
)
def test_a_finished_trial_says_what_was_done_now(reused: bool, predicted: int, words: str) -> None:
    said: list[str] = []
    run = SimpleNamespace(reused=reused, best_epoch=2, history=(1, 2, 3))
    outcome: Any = SimpleNamespace(run=run, predicted=predicted)
    ProgressReporter([trial(3)], 1, said.append).finish(trial(3), outcome)
    assert said == [words]


@pytest.mark.slow
def test_processes_give_the_numbers_of_one_process(images: Path, tmp_path: Path) -> None:
    experiment = tiny(images, seeds=[0], arms=TWO)
    said: list[str] = []
    alone = run_experiment(experiment, tmp_path / "alone")
    together = run_experiment(experiment, tmp_path / "together", said.append, jobs=2)
    assert numbers(together.results) == numbers(alone.results)
    assert len([one for one in said if one.startswith("training ")]) == 4
