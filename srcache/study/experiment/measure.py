"""What trained networks and SR pictures are worth: image quality, label safety, the comparison, the grid."""

import csv
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from srcache.cache.manifest import open_cache
from srcache.catalog.names import stem_of
from srcache.dataset.scores import LabelScore, filter_effect
from srcache.errors import CatalogError
from srcache.files import disk_errors, write_atomic
from srcache.images import encode
from srcache.study.compare.output import plain as comparison_plain
from srcache.study.compare.output import write_comparison
from srcache.study.compare.predictions import Predictions, read_predictions
from srcache.study.compare.seeds import SeedComparison, compare_seeds, join_seeds
from srcache.study.experiment import steps
from srcache.study.experiment.config import ArmChoice, Experiment
from srcache.study.experiment.trials import Trial, TrialRunner
from srcache.study.prepare.stratify import SPLITS
from srcache.study.quality.measure import QualitySettings, measure_folders
from srcache.study.quality.psnr_ssim import Convention
from srcache.study.safety.classifier import open_classifier
from srcache.study.safety.measure import measure_safety, pictures
from srcache.study.train.runs import TrainRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """Label safety: the side table, its rows by split and source image, what could not be measured, and the filters."""

    table: Path
    rows: Mapping[str, Mapping[str, LabelScore]]
    failures: tuple[Any, ...]
    filters: tuple[dict[str, Any], ...]
    measured: int


def draw_pictures(bench: TrialRunner, domain: str) -> bool:
    """Write the test pictures of a domain as PNG files into OUT/pictures; False if they are there already."""
    data = bench.pictures(*bench.domains[domain], "test")
    folder, started = bench.out / "pictures" / domain, time.perf_counter()
    paths = [folder / f"{stem_of(name)}.png" for name in data.names]
    if steps.reusable(bench.out, f"pictures/{domain}", data.inputs) is not None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    for index, path in enumerate(paths):
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(data[index], "png"))
    steps.done(bench.out, f"pictures/{domain}", data.inputs, paths, None, time.perf_counter() - started)
    return True


def measure_quality(bench: TrialRunner, experiment: Experiment, domain: str) -> tuple[dict[str, Any], bool]:
    """The summary (srcache.quality/1) of a domain's test pictures against HR, and whether it was known already."""
    choice, out = experiment.quality, bench.out
    convention = Convention(channel=choice.channel, crop_border=choice.crop_border, resize=choice.resize)
    reference = bench.pictures("hr", "main", "test")
    inputs = {
        "reference": reference.inputs,
        "pictures": bench.pictures(*bench.domains[domain], "test").inputs,
        "metrics": list(choice.metrics),
        "optional": choice.optional,
        "convention": convention.plain(),
    }
    name, started = f"quality/{domain}", time.perf_counter()
    known = steps.reusable(out, name, inputs)
    if known is not None:
        return known.result, True
    settings = QualitySettings(device=experiment.device, optional=choice.optional)
    folders = _references(bench, reference.names), out / "pictures" / domain
    report = measure_folders(*folders, choice.metrics, convention, settings)
    files = report.write(out / "quality", domain, replace=True)
    plain = {**report.plain(), "reference": "data/hr/test", "test": f"pictures/{domain}", "text": str(convention)}
    steps.done(out, name, inputs, files, plain, time.perf_counter() - started)
    return plain, False


def quality_rows(out: Path, domain: str) -> dict[str, dict[str, float | None]]:
    """Each picture's figures; an empty cell has none, and an infinite PSNR (equal pictures) is None."""
    with (out / "quality" / f"{domain}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("name"): {metric: _finite(value) for metric, value in row.items() if value} for row in rows}


def measure_labels(bench: TrialRunner, experiment: Experiment, judge: TrainRun | None) -> Safety:
    """Label safety of every SR picture of the main recipe, split by split."""
    folder = open_cache(bench.out / "cache").find(bench.recipes["main"])
    classifier = None if judge is None else open_classifier(judge, judge.device.split(" ")[0])
    reports = {}
    for split in SPLITS:
        items = pictures(folder, bench.out / "data/lr" / split, bench.out / "data/hr" / split)
        reports[split] = measure_safety(folder, items, classifier)
    rows = {split: {row.image: row for row in report.rows} for split, report in reports.items()}
    return Safety(
        table=next(iter(reports.values())).table,
        rows=rows,
        failures=tuple(failure for report in reports.values() for failure in report.failures),
        filters=tuple(_filtered(rows, text) for text in experiment.safety.filters),
        measured=sum(report.measured for report in reports.values()),
    )


def compare_arms(experiment: Experiment, trials: Mapping[tuple[str, int], Trial]) -> SeedComparison:
    """Every arm on its own domain, each seed and all seeds; writes compare.json and the folder compare."""
    seeds, out = experiment.seeds, next(iter(trials.values())).bench.out
    told = {arm.name: [_answers(trials[arm.name, seed], arm.domain) for seed in seeds] for arm in experiment.arms}
    joined = join_seeds(told)
    found = compare_seeds(joined, experiment.compare)
    write_comparison(out / "compare", found, joined[0])
    with disk_errors(out / "compare.json"):
        os.replace(out / "compare/compare.json", out / "compare.json")
    return found


def make_grid(experiment: Experiment, trials: Mapping[tuple[str, int], Trial]) -> dict[str, Any]:
    """Accuracy of every arm on every domain: the mean over seeds, and their sample standard deviation; grid.json."""
    means, spreads, all_seeds = [], [], []
    for arm in experiment.arms:
        shares = [_shares(arm, domain, experiment.seeds, trials) for domain in experiment.domains]
        means.append([fmean(values) for values in shares])
        spreads.append([stdev(values) if len(values) > 1 else None for values in shares])
        all_seeds.append(shares)
    return {
        "arms": [arm.name for arm in experiment.arms],
        "domains": list(experiment.domains),
        "accuracy": means,
        "spread": spreads,
        "seeds": all_seeds,
    }


def comparison(found: SeedComparison) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first seed's comparison and that of all seeds, as JSON values."""
    first = comparison_plain(found)
    first.pop("seeds")
    return first, found.plain()


def _references(bench: TrialRunner, names: Sequence[str]) -> Path:
    """The folder of HR test pictures; where some of them have no SR picture, a folder of the others."""
    whole = bench.out / "data/hr/test"
    if not bench.lost:
        return whole
    stems = {stem_of(name) for name in names}
    folder = bench.out / "pictures/hr"
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(whole.rglob("*")):
        inner = path.relative_to(whole)
        if path.is_file() and stem_of(inner.as_posix()) in stems:
            write_atomic(folder / inner, path.read_bytes())
    return folder


def _filtered(rows: Mapping[str, Mapping[str, LabelScore]], text: str) -> dict[str, Any]:
    """What a filter does to all SR pictures; names of test pictures are as elsewhere, others begin with their split."""
    found = {split: filter_effect(list(scores.values()), text) for split, scores in rows.items()}
    names = [name if split == "test" else f"{split}/{name}" for split, one in found.items() for name in one.names]
    return {
        "policy": text,
        "kept": sum(one.kept for one in found.values()),
        "removed": sum(one.removed for one in found.values()),
        "removed_names": names,
        "splits": {split: {"kept": one.kept, "removed": one.removed} for split, one in found.items()},
    }


def _answers(trial: Trial, domain: str) -> Predictions:
    return read_predictions(trial.predictions(domain))


def _shares(arm: ArmChoice, domain: str, seeds: Sequence[int], trials: Mapping[tuple[str, int], Trial]) -> list[float]:
    shares = []
    for seed in seeds:
        rows = _answers(trials[arm.name, seed], domain).rows
        if not rows:
            raise CatalogError(f"{arm.name} was asked about no picture of {domain}")
        shares.append(sum(row.right for row in rows) / len(rows))
    return shares


def _finite(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


def failure(one: Any, step: str) -> dict[str, Any]:
    """A picture that a step could not use, for reports."""
    plain = dict(one) if isinstance(one, Mapping) else asdict(one)
    source = plain.get("source") or plain.get("name")
    return {"step": step, "source": source, "reason": plain["reason"], "detail": plain["detail"]}
