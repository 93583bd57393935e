"""An experiment from its images to its report: prepare, build, train, predict, measure, compare, write.

    OUT/experiment.yaml                               the configuration with every choice written out
    OUT/data/{hr,lr}/{train,validation,test}/<class>  images
    OUT/cache/                                        SR images, and label safety beside them
    OUT/runs/<arm>-<fingerprint>/<seed>/              trained networks; other settings have folders beside these
    OUT/predictions/<arm>-<fingerprint>/<seed>/<domain>.csv   what they predict of LR, bicubic, SR and HR test images
    OUT/pictures/<domain>/                            bicubic and SR test images, to be looked at
    OUT/quality/<domain>.{csv,json,png}               image quality against HR
    OUT/compare.json, compare/, grid.json             the comparison, its files, every arm on every domain
    OUT/results.json, report.html                     everything, for programs and for people
    OUT/steps/                                        what each step was made from

Twice is the same as once: a step whose inputs and settings are unchanged is not repeated, and one that was killed is
done again, with the same numbers. Results and report are those of the latest complete set, until another one is
complete (OUT/started.json says what was begun since). Images that cannot be used are left out of every arm, counted
and listed.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.files import lock, make_folder, real_path, write_atomic
from srcache.files.documents import yaml_text
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.keys import entry_name
from srcache.progress import Say, timed
from srcache.recipe.recipe import Recipe
from srcache.study.experiment.config import MAIN, Experiment
from srcache.study.experiment.curves import measure_curves
from srcache.study.experiment.data import DataSets, prepare_data
from srcache.study.experiment.measure import (
    Safety,
    compare_arms,
    comparison,
    describe_failure,
    make_grid,
    measure_labels,
    measure_quality,
    near_duplicates,
    quality_seconds,
    write_test_images,
)
from srcache.study.experiment.recipes import recipe_of
from srcache.study.experiment.results import Parts, earlier_results, finish_results, gather, start_results
from srcache.study.experiment.saying import spoken
from srcache.study.experiment.steps import as_json
from srcache.study.experiment.sweeps import require_images, trained_arms
from srcache.study.experiment.trials import Trial, TrialOutcome, TrialRunner
from srcache.study.experiment.workers import Expected, run_trials
from srcache.study.prepare.stratify import SPLITS
from srcache.study.quality.report import mean_text
from srcache.study.report import write_report
from srcache.study.train.curves import require_curves
from srcache.wording import counted

CONFIG = "experiment.yaml"
_SEEN = ("bicubic", "sr")
_BACKWARD = 3
"""How much longer it takes to learn from an image than to look at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """A finished experiment.

    Attributes:
        out: its folder.
        results: the content of results.json.
        report: the page.
        trained, reused: runs that were trained now, and those that were there already.
        failures: images that could not be used, with step, source, reason and detail.
        seconds: of this call.
    """

    out: Path
    results: dict[str, Any]
    report: Path
    trained: int
    reused: int
    failures: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def verdict(self) -> str:
        """What may be concluded: over all seeds, or with one seed, from that one."""
        return str(self.results["verdict"])


def run_experiment(
    experiment: Experiment,
    out: str | Path,
    say: Say | None = None,
    *,
    jobs: int = 1,
    commands: Sequence[str] = (),
    curves: Sequence[str] = (),
) -> ExperimentResult:
    """Do whatever of an experiment is not done yet, and write its results and report.

    Args:
        experiment: what to do; see `load_experiment`.
        out: a new or empty folder, or that of an experiment.
        say: called with a line about what is being done.
        jobs: trainings at a time, in processes; changes no number.
        commands: what people type to get this result, for the report.
        curves: where the trainings' curves are written to besides: tensorboard, wandb.

    Raises:
        ConfigError: the folder holds something else; recipes, images or settings that cannot be used.
        BusyError: the folder's experiment is running.
        MachineError: no room, no device, weights or packages that are missing.
    """
    require_curves(curves)
    out = Path(out)
    earlier = earlier_results(out)
    make_folder(out)
    with lock(out, "run as an experiment"):
        start_results(out, experiment, earlier)
        return _Run(experiment, out, say or _silent, jobs, tuple(curves)).run(commands, earlier)


class _Run:
    """One run of an experiment: its folder, its configuration, who reports, and what could not be used so far."""

    def __init__(self, experiment: Experiment, out: Path, say: Say, jobs: int, curves: tuple[str, ...]) -> None:
        self._curves = curves
        self._experiment, self._out, self._say, self._jobs = experiment, out, say, jobs
        self._failures: list[dict[str, Any]] = []
        self._outcomes: dict[tuple[str, int], TrialOutcome] = {}

    def run(self, commands: Sequence[str], earlier: dict[str, Any]) -> ExperimentResult:
        started, experiment, out = time.perf_counter(), self._experiment, self._out
        if not earlier.get("complete"):
            write_atomic(out / CONFIG, _yaml(experiment))
        recipes = {label: recipe_of(experiment, label) for label in experiment.recipes}
        data = self._data()
        near = near_duplicates(out, data, self._say)
        if near["count"]:
            self._say(f"data: {counted(near['count'], 'test image')} all but equal to a training image")
        lost, cache = self._build(recipes)
        runner = TrialRunner(
            out=real_path(out),
            recipes=recipes,
            domains=experiment.domains,
            lost=frozenset(lost),
            curves=self._curves,
        )
        trials = _trials(experiment, runner)
        safety = self._train(trials)
        quality = self._quality(runner)
        self._say("comparing the arms")
        found = compare_arms(experiment, trials)
        grid = make_grid(experiment, trials)
        compare, seeds = comparison(found)
        sweeps = measure_curves(experiment, trials, self._outcomes)
        write_atomic(out / "grid.json", json.dumps(grid, indent=1, allow_nan=False) + "\n")
        seconds = time.perf_counter() - started
        parts = Parts(
            experiment=experiment,
            runner=runner,
            data=data,
            near=near,
            cache=cache,
            trials=trials,
            outcomes=self._outcomes,
            quality=quality,
            safety=safety,
            compare=compare,
            seeds=seeds,
            sweeps=sweeps,
            grid=grid,
            failures=self._failures,
            commands=commands,
            seconds=self._spent(seconds, earlier),
        )
        results = as_json(gather(parts))
        write_atomic(out / CONFIG, _yaml(experiment))
        finish_results(out, results)
        self._say("writing the report")
        report = write_report(out)
        reused = sum(outcome.run.reused for outcome in self._outcomes.values())
        return ExperimentResult(
            out=out,
            results=results,
            report=report,
            trained=len(self._outcomes) - reused,
            reused=reused,
            failures=tuple(self._failures),
            seconds=time.perf_counter() - started,
        )

    @timed("experiment: data")
    def _data(self) -> DataSets:
        data = prepare_data(self._out, self._experiment, self._say)
        require_images(self._experiment, data.counts["train"])
        counts = ", ".join(f"{sum(data.counts[split].values())} {split}" for split in SPLITS)
        how = "there already" if data.reused else "made"
        self._say(f"data: {counts}; {len(data.classes)} classes; LR by {self._experiment.degradation}; {how}")
        self._failures += [describe_failure(problem, "data") for problem in data.failures]
        return data

    @timed("experiment: cache")
    def _build(self, recipes: dict[str, Recipe]) -> tuple[set[str], dict[str, Any]]:
        """Fill the cache by every recipe; returns the keys that lack an SR image, and counts for results.json."""
        catalog, lost, found = scan(self._out / "data/lr"), set[str](), dict[str, Any]()
        for label, recipe in recipes.items():
            settings = FillSettings(device=self._experiment.device)
            show = spoken(self._say, f"cache: {recipe.folder}")
            report = fill(catalog, recipe, self._out / "cache", settings, show)
            folder = open_cache(self._out / "cache").find(recipe)
            stored = set(folder.store().names())
            missing = {str(row.key): row.name for row in catalog.rows if entry_name(row.key, 0) not in stored}
            noted = folder.failures()
            failed = [noted.get(entry_name(key, 0), _missing(key, name)) for key, name in missing.items()]  # type: ignore[arg-type]
            self._failures += [describe_failure(one, f"build {recipe.name}") for one in failed]
            how = "nothing to do" if report.stored == report.wanted else f"{report.added} made"
            self._say(f"cache: {recipe.folder}: {report.wanted} wanted, {report.stored} there already, {how}")
            if failed:
                self._say(f"cache: {recipe.folder}: {len(failed)} images failed, and are left out of every arm")
            lost |= set(missing)
            found[label] = {
                "wanted": report.wanted,
                "stored": report.wanted - len(missing),
                "failed": dict(sorted(Counter(one.reason for one in failed).items())),
                "seconds": round(sum(float(one.get("seconds", 0.0)) for one in folder.receipts()), 2),
            }
        return lost, {**found.pop(MAIN), **({"further": found} if found else {})}

    @timed("experiment: trainings")
    def _train(self, trials: dict[tuple[str, int], Trial]) -> Safety | None:
        """Carry out all trials; label safety is measured before those of arms that filter by it, which come last."""
        plain = [trial for trial in trials.values() if not trial.arm.filtered]
        filtered = [trial for trial in trials.values() if trial.arm.filtered]
        self._outcomes |= run_trials(plain, self._jobs, self._say, self._expected(plain))
        safety = self._safety(trials)
        if filtered:
            self._outcomes |= run_trials(filtered, self._jobs, self._say, self._expected(filtered))
        return safety

    def _expected(self, trials: Sequence[Trial]) -> Expected | None:
        """What trials and the steps after them may cost, from numbers of images and sizes, and one measurement."""
        if not trials:
            return None
        experiment, runner = self._experiment, trials[0].runner
        images = {split: runner.images("lr", MAIN, split) for split in SPLITS}
        counts = {split: len(found) for split, found in images.items()}
        shares = [_share(trial, images["train"].balance) for trial in trials]
        epoch = _BACKWARD * counts["train"] + counts["validation"]  # in images that are looked at
        domains = len(_SEEN) + len(experiment.further)
        return Expected(
            weights=[share * math.prod(one.arm.settings.input_size) for one, share in zip(trials, shares, strict=True)],
            tail=len(experiment.domains) * counts["test"] / epoch,
            after=domains * counts["test"] * quality_seconds(runner, experiment),
            after_epochs=2 * sum(counts.values()) / epoch if experiment.safety.measure else 0.0,
        )

    @timed("experiment: label safety")
    def _safety(self, trials: dict[tuple[str, int], Trial]) -> Safety | None:
        experiment = self._experiment
        if not experiment.safety.measure:
            return None
        reference = experiment.reference
        run = None if reference is None else self._outcomes[reference.name, experiment.seeds[0]].run
        runner = next(iter(trials.values())).runner
        safety = measure_labels(runner, experiment, run, self._say)
        rows = sum(len(found) for found in safety.rows.values())
        self._say(f"label safety: {rows} SR images, {safety.measured} measured now")
        self._failures += [describe_failure(one, "safety") for one in safety.failures]
        return safety

    @timed("experiment: image quality")
    def _quality(self, runner: TrialRunner) -> dict[str, Any]:
        found = {}
        for domain in (*_SEEN, *self._experiment.further):
            write_test_images(runner, domain)
            plain, known = measure_quality(runner, self._experiment, domain, self._say)
            self._failures += [describe_failure(one, f"quality {domain}") for one in plain["failures"]]
            found[domain] = {**plain, "csv": f"quality/{domain}.csv", "convention": plain["text"]}
            means = ", ".join(f"{name} {mean_text(one, plain['pairs'])}" for name, one in plain["metrics"].items())
            self._say(f"image quality of {domain}: {means}{' (measured earlier)' if known else ''}")
        return found

    def _spent(self, seconds: float, earlier: dict[str, Any]) -> float:
        """How long the numbers took: this run's time, or, where all of them were there already, the earlier run's."""
        known = all(outcome.run.reused for outcome in self._outcomes.values())
        before = earlier.get("seconds")
        return float(before) if known and before else seconds


def _trials(experiment: Experiment, runner: TrialRunner) -> dict[tuple[str, int], Trial]:
    """All that is trained, by arm and seed; the training images suffice for it."""
    require_images(experiment, runner.images("lr", MAIN, "train").balance)
    pairs = [(arm, seed) for arm in trained_arms(experiment) for seed in experiment.seeds]
    return {(arm.name, seed): Trial(runner=runner, arm=arm, seed=seed) for arm, seed in pairs}


def _share(trial: Trial, balance: Mapping[str, int]) -> float:
    """Of all training images, what a trial learns from."""
    few = trial.arm.per_class
    return 1.0 if few is None else sum(min(few, held) for held in balance.values()) / sum(balance.values())


def _yaml(experiment: Experiment) -> str:
    head = "# What was run, with every choice spelt out: srcache experiment experiment.yaml --out NEW does it again.\n"
    return head + yaml_text(experiment.plain())


def _missing(key: str, name: str) -> FailedEntry:
    return FailedEntry(entry_name(key, 0), name, "missing", "it has no SR image")  # type: ignore[arg-type]


def _silent(line: str) -> None:
    pass
