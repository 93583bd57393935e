"""One arm with one seed: train, then predict the test images of every domain.

A trial depends on nothing but its own values and the files that it names, so that it may run in any process, and in any
order beside others.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from srcache.errors import ImagesError
from srcache.files import disk_errors
from srcache.machine import versions
from srcache.recipe.recipe import Recipe
from srcache.study.arms.arms import ArmDataset, arm_dataset
from srcache.study.arms.few import few_of_each
from srcache.study.arms.sets import ArmSets
from srcache.study.arms.usable import refused
from srcache.study.compare.predictions import write_predictions
from srcache.study.experiment import steps
from srcache.study.experiment.config import DOMAINS, ArmChoice
from srcache.study.train.curves import open_curves
from srcache.study.train.inference import predict
from srcache.study.train.loop import holds_training, train_run
from srcache.study.train.runs import RECORD, EpochLine, TrainRun
from srcache.study.train.settings import TrainSettings

TrialListener = Callable[["Trial", EpochLine], None]
"""Called with each epoch that was trained, and of which trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """What all trials of an experiment share: its folder, recipes and domains; it opens the images that an arm sees.

    Attributes:
        out: the experiment's folder.
        recipes: by the names that arms use.
        domains: each domain's arm and recipe.
        lost: keys of LR images of which a recipe has no SR image; no arm sees them.
        curves: where the trainings' curves are written to, beside their history; see `train.curves`.
    """

    out: Path
    recipes: Mapping[str, Recipe]
    domains: Mapping[str, tuple[str, str]]
    lost: frozenset[str]
    curves: tuple[str, ...] = ()

    @property
    def digests(self) -> Any:
        """The digests of the images' catalogs, as the step `data` recorded them; None before."""
        return (steps.result_of(self.out, "data") or {}).get("digests")

    def images(self, arm: str, recipe: str, split: str, seed: int = 0) -> ArmDataset:
        """The images of a split as an arm sees them, without those that are lost."""
        data = arm_dataset(
            arm,
            lr=self.out / "data/lr" / split,
            hr=self.out / "data/hr" / split if arm not in ("lr", "sr", "bicubic") else None,
            cache=self.out / "cache" if arm == "sr" or arm not in DOMAINS else None,
            recipe=self.recipes[recipe] if arm not in ("lr", "hr") else None,
            seed=seed,
        )
        kept = [place for place, key in enumerate(data.keys) if key not in self.lost]
        return data if len(kept) == len(data) else data.subset(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One arm with one seed: what `carry_out` trains, and where its files lie."""

    runner: TrialRunner
    arm: ArmChoice
    seed: int

    @property
    def fingerprint(self) -> str:
        """Names all that the arm's networks depend on but the seed: arm, recipe, settings, and images.

        Settings that hold their default are not part of it, so that a later version's new ones move nothing.
        """
        runner, arm = self.runner, self.arm
        usual = TrainSettings().plain()
        recipe = runner.recipes[arm.recipe].fingerprint if arm.arm not in ("lr", "hr") else None
        plain = {
            "arm": arm.arm,
            "recipe": recipe,
            "settings": {k: v for k, v in arm.settings.plain().items() if k != "seed" and v != usual[k]},
            "images": runner.digests,
            "lost": sorted(runner.lost),
            **({} if arm.per_class is None else {"per_class": arm.per_class}),
        }
        return blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def home(self) -> str:
        """The folder of the arm with these settings: runs of others stay beside it."""
        return f"{self.arm.name}-{self.fingerprint}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runner.out / "runs" / self.home / str(self.seed)

    def predictions(self, domain: str) -> Path:
        """The prediction file of a domain."""
        return self.runner.out / "predictions" / self.home / str(self.seed) / f"{domain}.csv"

    def __str__(self) -> str:
        return f"{self.arm.name}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """What became of a trial: its run, and how many domains were predicted now and earlier."""

    run: TrainRun
    predicted: int
    known: int


def carry_out(trial: Trial, on_epoch: TrialListener | None = None) -> TrialOutcome:
    """Train, unless that was done from the same images and settings; predict each domain, unless that was done."""
    arm, seed, runner = trial.arm, trial.seed, trial.runner
    train, validation = (runner.images(arm.arm, arm.recipe, split, seed) for split in ("train", "validation"))
    if arm.per_class is not None:
        train, validation = (few_of_each(images, arm.per_class, seed) for images in (train, validation))
    sets, settings = ArmSets(train=train, validation=validation), replace(arm.settings, seed=seed)
    _take_over(trial, sets, settings)
    about = {"arm": arm.name, "trained on": arm.arm, **settings.plain()}
    with open_curves(runner.curves, trial.folder, about) as curves:

        def over(line: EpochLine) -> None:
            curves.epoch_over()
            if on_epoch is not None:
                on_epoch(trial, line)

        run = train_run(sets, trial.folder, settings, on_epoch=over, replace=True)
        curves.finish(run)
    predicted = sum(_predict(trial, run, domain) for domain in runner.domains)
    return TrialOutcome(run=run, predicted=predicted, known=len(runner.domains) - predicted)


def _take_over(trial: Trial, sets: ArmSets, settings: TrainSettings) -> None:
    """Give a run of an earlier version, whose folder had no fingerprint, its place, if it is this training."""
    old = trial.runner.out / "runs" / trial.arm.name / str(trial.seed)
    if not trial.folder.exists() and (old / RECORD).is_file() and holds_training(old, sets, settings):
        with disk_errors(trial.folder):
            trial.folder.parent.mkdir(parents=True, exist_ok=True)
            os.rename(old, trial.folder)


def _predict(trial: Trial, run: TrainRun, domain: str) -> bool:
    """Predict a domain's test images; False if that was done earlier, from the same network and images."""
    data = trial.runner.images(*trial.runner.domains[domain], "test")
    step, path = f"predict/{trial.home}/{trial.seed}/{domain}", trial.predictions(domain)
    seen = {name: getattr(run.settings, name) for name in ("network", "fit", "batch_size", "threads", "precision")}
    inputs = {
        "weights": run.weights,
        "classes": list(run.classes),
        "settings": {**seen, "size": list(run.settings.input_size)},
        "pictures": data.inputs,
        "versions": versions(),
    }
    if steps.reusable(trial.runner.out, step, inputs) is not None:
        return False
    started = time.perf_counter()
    device = run.device.split(" ")[0]
    found = predict(run, data, device=device)
    if found.failures:
        raise ImagesError(f"test images of {domain}: {refused(found.failures)}", found.failures)
    write_predictions(path, found)
    steps.finish_step(trial.runner.out, step, inputs, [path], None, time.perf_counter() - started)
    return True
