"""What is measured of an experiment: near-duplicates of its images; of its networks and SR images image quality, label
safety, comparison, grid."""

import csv
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from srcache.cache.manifest import open_cache
from srcache.catalog.names import stem_of, stems_apart
from srcache.catalog.scanning import scan
from srcache.dataset.scores import LabelScore, filter_effect
from srcache.errors import ImageError
from srcache.files import disk_errors, write_atomic
from srcache.files.folders import files_below
from srcache.images import encode
from srcache.progress import Say
from srcache.study.compare.output import plain as comparison_plain
from srcache.study.compare.output import write_comparison
from srcache.study.compare.predictions import Predictions, read_predictions
from srcache.study.compare.seeds import SeedComparison, compare_seeds, join_seeds
from srcache.study.experiment import steps
from srcache.study.experiment.config import ArmChoice, Experiment
from srcache.study.experiment.data import DataSets
from srcache.study.experiment.saying import spoken
from srcache.study.experiment.trials import Trial, TrialRunner
from srcache.study.prepare.near_duplicates import DISTANCE, find_near_duplicates
from srcache.study.prepare.stratify import SPLITS
from srcache.study.quality.measure import QualitySettings, measure_folders
from srcache.study.quality.psnr_ssim import Convention, measure_image
from srcache.study.safety.classifier import open_classifier
from srcache.study.safety.measure import measure_safety, source_images
from srcache.study.train.runs import TrainRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """Label safety of an experiment's SR images.

    Attributes:
        table: the side table in the cache.
        rows: by split and source image.
        failures: SR images that could not be measured.
        filters: what each filter keeps and removes, as JSON values.
        measured: how many images were measured now.
    """

    table: Path
    rows: Mapping[str, Mapping[str, LabelScore]]
    failures: tuple[Any, ...]
    filters: tuple[dict[str, Any], ...]
    measured: int


def near_duplicates(out: Path, data: DataSets, say: Say | None = None) -> dict[str, Any]:
    """Test images that are all but equal to a training image (HR), as JSON values; by their names in the results."""
    inputs = {"train": data.digests["hr"]["train"], "test": data.digests["hr"]["test"], "distance": DISTANCE}
    name, started = "near-duplicates", time.perf_counter()
    known = steps.reusable(out, name, inputs)
    if known is not None:
        return dict(known.result)
    show = None if say is None else spoken(say, "near-duplicates of test and training images")
    train, test = (scan(data.folder("hr", split)) for split in ("train", "test"))
    rows = [row.name for row in test.rows]
    names = dict(zip(rows, stems_apart(rows), strict=True))
    found = find_near_duplicates(train, test, show)
    pairs = [{"test": names[one.test], "train": one.train, "distance": one.distance} for one in found]
    plain = {"distance": DISTANCE, "count": len(pairs), "pairs": pairs}
    steps.finish_step(out, name, inputs, [], plain, time.perf_counter() - started)
    return plain


def write_test_images(runner: TrialRunner, domain: str) -> bool:
    """Write the test images of a domain as PNG files into OUT/pictures; False if they are there already."""
    data = runner.images(*runner.domains[domain], "test")
    folder, started = runner.out / "pictures" / domain, time.perf_counter()
    paths = [folder / f"{stem_of(name)}.png" for name in data.names]
    if steps.reusable(runner.out, f"pictures/{domain}", data.inputs) is not None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    for index, path in enumerate(paths):
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(data[index], "png"))
    steps.finish_step(runner.out, f"pictures/{domain}", data.inputs, paths, None, time.perf_counter() - started)
    return True


def quality_seconds(runner: TrialRunner, experiment: Experiment) -> float:
    """How long it takes to write one test image of a domain and measure PSNR and SSIM of it, by measuring one."""
    images, convention = runner.images("hr", "main", "test"), Convention(channel=experiment.quality.channel)
    seconds = 0.0
    for _ in range(2):  # the first time is that of imports
        started = time.perf_counter()
        with suppress(ImageError):
            rgb = images[0]
            encode(rgb, "png")
            measure_image(rgb, 255 - rgb, convention)
        seconds = time.perf_counter() - started
    return seconds


def measure_quality(
    runner: TrialRunner, experiment: Experiment, domain: str, say: Say | None = None
) -> tuple[dict[str, Any], bool]:
    """The summary (srcache.quality/1) of a domain's test images against HR, and whether it was known already."""
    choice, out = experiment.quality, runner.out
    factor = experiment.degradation.factor if experiment.degradation.mod_crop else 1
    convention = Convention(
        channel=choice.channel,
        crop_border=choice.crop_border,
        resize=choice.resize,
        mod_crop=factor,
        colors=experiment.degradation.colors,
    )
    reference = runner.images("hr", "main", "test")
    inputs = {
        "reference": reference.inputs,
        "pictures": runner.images(*runner.domains[domain], "test").inputs,
        "metrics": list(choice.metrics),
        "optional": choice.optional,
        "convention": convention.plain(),
    }
    name, started = f"quality/{domain}", time.perf_counter()
    known = steps.reusable(out, name, inputs)
    if known is not None:
        return known.result, True
    settings = QualitySettings(
        device=experiment.device, optional=choice.optional, advice="--set quality.resize=picture:bicubic"
    )
    folders = _references(runner, reference.names), out / "pictures" / domain
    show = None if say is None else spoken(say, f"image quality of {domain}")
    report = measure_folders(*folders, choice.metrics, convention, settings, show)
    files = report.write(out / "quality", domain, replace=True)
    plain = {**report.plain(), "reference": "data/hr/test", "test": f"pictures/{domain}", "text": str(convention)}
    plain["pairs"] = len(replace(runner, lost=frozenset()).images("hr", "main", "test"))  # those without SR, too
    steps.finish_step(out, name, inputs, files, plain, time.perf_counter() - started)
    return plain, False


def quality_rows(out: Path, domain: str) -> dict[str, dict[str, float | None]]:
    """Each image's values by metric; an empty cell has none, and an infinite PSNR (equal images) is None."""
    with (out / "quality" / f"{domain}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("name"): {metric: _finite(value) for metric, value in row.items() if value} for row in rows}


def measure_labels(runner: TrialRunner, experiment: Experiment, run: TrainRun | None, say: Say | None = None) -> Safety:
    """Label safety of every SR image of the main recipe, split by split; `run` is the classifier, if there is one."""
    folder = open_cache(runner.out / "cache").find(runner.recipes["main"])
    classifier = None if run is None else open_classifier(run, run.device.split(" ")[0])
    reports = {}
    for split in SPLITS:
        items = source_images(folder, runner.out / "data/lr" / split, runner.out / "data/hr" / split)
        show = None if say is None else spoken(say, f"label safety of {split}")
        reports[split] = measure_safety(folder, items, classifier, progress=show)
    rows = {split: {row.image: row for row in report.rows} for split, report in reports.items()}
    return Safety(
        table=next(iter(reports.values())).table,
        rows=rows,
        failures=tuple(failure for report in reports.values() for failure in report.failures),
        filters=tuple(_filter_effect(rows, text) for text in experiment.safety.filters),
        measured=sum(report.measured for report in reports.values()),
    )


def compare_arms(experiment: Experiment, trials: Mapping[tuple[str, int], Trial]) -> SeedComparison:
    """Every arm on its own domain, each seed and all seeds; writes compare.json and the folder compare."""
    seeds, out = experiment.seeds, next(iter(trials.values())).runner.out
    predictions = {
        arm.name: [_predictions(trials[arm.name, seed], arm.domain) for seed in seeds] for arm in experiment.arms
    }
    joined = join_seeds(predictions)
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


def describe_failure(one: Any, step: str) -> dict[str, Any]:
    """An image that a step could not use, as JSON values for reports."""
    plain = dict(one) if isinstance(one, Mapping) else asdict(one)
    source = plain.get("source") or plain.get("name")
    return {"step": step, "source": source, "reason": plain["reason"], "detail": plain["detail"]}


def _references(runner: TrialRunner, names: Sequence[str]) -> Path:
    """The folder of HR test images; where some of them have no SR image, a folder of the others."""
    complete = runner.out / "data/hr/test"
    if not runner.lost:
        return complete
    stems = {stem_of(name) for name in names}
    folder = runner.out / "pictures/hr"
    shutil.rmtree(folder, ignore_errors=True)
    inner = sorted(path.relative_to(complete) for path in files_below(complete) if path.is_file())
    for stem, path in zip(stems_apart([path.as_posix() for path in inner]), inner, strict=True):
        if stem in stems:
            write_atomic(folder / path, (complete / path).read_bytes())
    return folder


def _filter_effect(rows: Mapping[str, Mapping[str, LabelScore]], text: str) -> dict[str, Any]:
    """What a filter does to all SR images; names of test images are as elsewhere, others begin with their split."""
    found = {split: filter_effect(list(scores.values()), text) for split, scores in rows.items()}
    names = [name if split == "test" else f"{split}/{name}" for split, one in found.items() for name in one.names]
    return {
        "policy": text,
        "kept": sum(one.kept for one in found.values()),
        "removed": sum(one.removed for one in found.values()),
        "removed_names": names,
        "splits": {split: {"kept": one.kept, "removed": one.removed} for split, one in found.items()},
    }


def _predictions(trial: Trial, domain: str) -> Predictions:
    return read_predictions(trial.predictions(domain))


def _shares(arm: ArmChoice, domain: str, seeds: Sequence[int], trials: Mapping[tuple[str, int], Trial]) -> list[float]:
    shares = []
    for seed in seeds:
        rows = _predictions(trials[arm.name, seed], domain).rows
        shares.append(sum(row.right for row in rows) / len(rows))
    return shares


def _finite(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None
