"""One arm with one seed: train, then ask the network about the test pictures of every domain.

A trial hangs on nothing but its own values and the files that it names, so that it may run in any process, and in any
order beside others.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.machine import versions
from srcache.recipe.recipe import Recipe
from srcache.study.arms.arms import ArmDataset, arm_dataset
from srcache.study.arms.sets import ArmSets
from srcache.study.compare.predictions import write_predictions
from srcache.study.experiment import steps
from srcache.study.experiment.config import DOMAINS, ArmChoice
from srcache.study.train.inference import predict
from srcache.study.train.loop import train_run
from srcache.study.train.runs import EpochLine, TrainRun

Told = Callable[["Trial", EpochLine], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """What all trials of an experiment share.

    Attributes:
        out: the experiment's folder.
        recipes: by what arms call them.
        domains: each domain's arm and recipe.
        lost: keys of LR pictures of which a recipe has no SR picture; no arm sees them.
    """

    out: Path
    recipes: Mapping[str, Recipe]
    domains: Mapping[str, tuple[str, str]]
    lost: frozenset[str]

    def pictures(self, arm: str, recipe: str, split: str, seed: int = 0) -> ArmDataset:
        """The pictures of a split as an arm sees them, without those that are lost."""
        cooked = self.recipes[recipe]
        data = arm_dataset(
            arm,
            lr=self.out / "data/lr" / split,
            hr=self.out / "data/hr" / split if arm not in ("lr", "sr", "bicubic") else None,
            cache=self.out / "cache" if arm == "sr" or arm not in DOMAINS else None,
            recipe=cooked if arm not in ("lr", "hr") else None,
            seed=seed,
        )
        kept = [place for place, key in enumerate(data.keys) if key not in self.lost]
        return data if len(kept) == len(data) else data.subset(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One arm with one seed."""

    bench: TrialRunner
    arm: ArmChoice
    seed: int

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.bench.out / "runs" / self.arm.name / str(self.seed)

    def predictions(self, domain: str) -> Path:
        """The prediction file of a domain."""
        return self.bench.out / "predictions" / self.arm.name / str(self.seed) / f"{domain}.csv"

    def __str__(self) -> str:
        return f"{self.arm.name}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """What became of a trial: its run, and how many domains were asked now and before."""

    run: TrainRun
    asked: int
    known: int


def carry_out(trial: Trial, told: Told | None = None) -> TrialOutcome:
    """Train, unless that was done from the same pictures and settings; ask about each domain, unless that was done."""
    arm, seed, bench = trial.arm, trial.seed, trial.bench
    train, validation = (bench.pictures(arm.arm, arm.recipe, split, seed) for split in ("train", "validation"))
    run = train_run(
        ArmSets(train=train, validation=validation),
        trial.folder,
        replace(arm.settings, seed=seed),
        told=None if told is None else lambda line: told(trial, line),
        replace=True,
    )
    asked = sum(_asked(trial, run, domain) for domain in bench.domains)
    return TrialOutcome(run=run, asked=asked, known=len(bench.domains) - asked)


def _asked(trial: Trial, run: TrainRun, domain: str) -> bool:
    """Predict a domain's test pictures; False if that was done before, from the same network and pictures."""
    data = trial.bench.pictures(*trial.bench.domains[domain], "test")
    step, path = f"predict/{trial.arm.name}/{trial.seed}/{domain}", trial.predictions(domain)
    seen = {name: getattr(run.settings, name) for name in ("network", "fit", "batch_size", "threads", "precision")}
    inputs = {
        "weights": run.weights,
        "classes": list(run.classes),
        "settings": {**seen, "size": list(run.settings.input_size)},
        "pictures": data.inputs,
        "versions": versions(),
    }
    if steps.reusable(trial.bench.out, step, inputs) is not None:
        return False
    started = time.perf_counter()
    device = run.device.split(" ")[0]
    write_predictions(path, predict(run, data, device=device))
    steps.done(trial.bench.out, step, inputs, [path], None, time.perf_counter() - started)
    return True
