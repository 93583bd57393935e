"""results.json, schema srcache.experiment/1: every number of an experiment, and where its files lie; for the report."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from srcache.catalog.names import in_one_form, stem_of, stems_apart
from srcache.errors import ConfigError
from srcache.files import write_atomic
from srcache.files.documents import parse_json
from srcache.files.folders import files_below
from srcache.machine import versions
from srcache.recipe.reading import dump
from srcache.recipe.recipe import Recipe
from srcache.study.compare.predictions import read_predictions
from srcache.study.experiment.config import Experiment
from srcache.study.experiment.data import DataSets
from srcache.study.experiment.measure import Safety, quality_rows
from srcache.study.experiment.steps import as_json
from srcache.study.experiment.trials import Trial, TrialOutcome, TrialRunner
from srcache.study.report.data.question import answer
from srcache.study.report.data.study import RESULTS, SCHEMA, STARTED, Study

_FURTHER = ("scikit-image", "scikit-learn", "scipy", "statsmodels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the steps of an experiment found, for `gather` to put together."""

    experiment: Experiment
    runner: TrialRunner
    data: DataSets
    near: Mapping[str, Any]
    cache: Mapping[str, Any]
    trials: Mapping[tuple[str, int], Trial]
    outcomes: Mapping[tuple[str, int], TrialOutcome]
    quality: Mapping[str, Mapping[str, Any]]
    safety: Safety | None
    compare: Mapping[str, Any]
    seeds: Mapping[str, Any]
    sweeps: Sequence[Mapping[str, Any]]
    grid: Mapping[str, Any]
    failures: Sequence[Mapping[str, Any]]
    commands: Sequence[str]
    seconds: float

    @property
    def out(self) -> Path:
        """The experiment's folder."""
        return self.runner.out


def earlier_results(out: Path) -> dict[str, Any]:
    """What an earlier run left in a folder that a run may write to; empty if it is new.

    Raises:
        ConfigError: it holds something else.
    """
    path, found = out / RESULTS, dict[str, Any]()
    try:
        held = [one.name for one in out.iterdir() if one.name != "lock" and not one.name.startswith(f".{RESULTS}.")]
        if held:
            found = parse_json(path.read_bytes())
            if found["schema"] != SCHEMA:
                raise ValueError(path)
    except FileNotFoundError as error:
        if out.exists():
            raise _refusal(out) from error
    except (NotADirectoryError, ValueError, KeyError, TypeError) as error:
        raise _refusal(out) from error
    return found


def start_results(out: Path, experiment: Experiment, earlier: Mapping[str, Any] | None = None) -> None:
    """Say what the folder is going to be: in results.json, or beside the results of a complete set, which stay."""
    started = {"schema": SCHEMA, "complete": False, "name": experiment.name, "question": experiment.question}
    plain = {**started, "config": experiment.plain()}
    if earlier and earlier.get("complete") is True:
        write_atomic(out / STARTED, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        write_results(out, plain)


def finish_results(out: Path, plain: Mapping[str, Any]) -> None:
    """Write the results of a complete set in the place of an earlier one's."""
    write_results(out, plain)
    (out / STARTED).unlink(missing_ok=True)


def write_results(out: Path, plain: Mapping[str, Any]) -> None:
    """Write results.json, atomically."""
    write_atomic(out / RESULTS, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def gather(parts: Parts) -> dict[str, Any]:
    """The content of results.json."""
    experiment, recipe = parts.experiment, parts.runner.recipes["main"]
    found = {
        "schema": SCHEMA,
        "complete": True,
        "name": experiment.name,
        "question": experiment.question,
        "verdict": parts.seeds["verdict"] if len(experiment.seeds) > 1 else parts.compare["verdict"],
        "seconds": round(parts.seconds, 1),
        "commands": list(parts.commands),
        "config": experiment.plain(),
        "versions": {**versions(), **_further_versions()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; trained on {_devices(parts)}",
        "data": {**_data(parts.data), "near_duplicates": dict(parts.near)},
        "recipe": _recipe(recipe),
        "further": {label: _recipe(one) for label, one in parts.runner.recipes.items() if label != "main"},
        "cache": dict(parts.cache),
        "arms": [_arm(parts, at) for at in range(len(experiment.arms))],
        "quality": dict(parts.quality),
        "compare": dict(parts.compare),
        "seeds": dict(parts.seeds),
        "sweeps": [dict(one) for one in parts.sweeps],
        "grid": dict(parts.grid),
        "images": _images(parts),
        "failures": list(parts.failures),
    }
    if parts.safety is not None:
        found["safety"] = _safety(parts.safety, parts.out)
    found["answer"] = answer(Study(results=as_json(found), root=parts.out))
    return found


def _data(data: DataSets) -> dict[str, Any]:
    return {
        "classes": list(data.classes),
        "counts": {split: dict(counts) for split, counts in data.counts.items()},
        "digests": {kind: dict(digests) for kind, digests in data.digests.items()},
        "samples_note": data.note,
        "treated": dict(data.treated),
    }


def _recipe(recipe: Recipe) -> dict[str, Any]:
    names = ("name", "folder", "fingerprint")
    return {**{name: getattr(recipe, name) for name in names}, "yaml": dump(recipe)}


def _arm(parts: Parts, at: int) -> dict[str, Any]:
    arm, seeds = parts.experiment.arms[at], parts.experiment.seeds
    runs = [parts.outcomes[arm.name, seed].run for seed in seeds]
    place = list(parts.grid["domains"]).index(arm.domain)
    shares = parts.grid["seeds"][at][place]
    size = "×".join(str(side) for side in arm.settings.input_size)
    return {
        "name": arm.name,
        "arm": arm.arm,
        "domain": arm.domain,
        "network": f"{arm.settings.network}, {size}",
        "seeds": list(seeds),
        "runs": [run.folder.relative_to(parts.out).as_posix() for run in runs],
        "accuracy": shares,
        "mean": fmean(shares),
        "spread": stdev(shares) if len(shares) > 1 else None,
        "best_epoch": [run.best_epoch for run in runs],
        "monitor": arm.settings.monitor,
        "history": [[asdict(line) for line in run.history] for run in runs],
        "weights": [run.weights for run in runs],
    }


def _safety(safety: Safety, out: Path) -> dict[str, Any]:
    return {
        "rows": sum(len(rows) for rows in safety.rows.values()),
        "csv": safety.table.relative_to(out).as_posix(),
        "filters": list(safety.filters),
        "failed": len(safety.failures),
    }


def _images(parts: Parts) -> list[dict[str, Any]]:
    """A row per test image: where its variants lie, their quality, and what the first seed of each arm predicted."""
    experiment, seed = parts.experiment, parts.experiment.seeds[0]
    predicted = {
        arm.name: _predictions(parts.trials[arm.name, seed].predictions(arm.domain)) for arm in experiment.arms
    }
    quality = {domain: quality_rows(parts.out, domain) for domain in parts.quality}
    safe = parts.safety.rows.get("test", {}) if parts.safety is not None else {}
    originals = parts.runner.images("hr", "main", "test")
    found = _files(parts)
    names = stems_apart([path.relative_to(parts.out / "data/hr/test").as_posix() for path in found])
    files = dict(zip(names, found, strict=True))
    rows = []
    for file, label in zip(originals.names, originals.labels, strict=True):
        name = stem_of(str(file))
        rows.append(
            {
                "name": name,
                "label": label,
                "lr": f"data/lr/test/{file}",
                **{domain: f"pictures/{domain}/{name}.png" for domain in parts.quality},
                "hr": files[name].relative_to(parts.out).as_posix(),
                "quality": {domain: found.get(in_one_form(name), {}) for domain, found in quality.items()},
                "safe": safe[name].safe if name in safe else None,
                "predictions": {
                    arm: {"label": rows_of[name].prediction, "right": rows_of[name].right}
                    for arm, rows_of in predicted.items()
                    if name in rows_of
                },
            }
        )
    return rows


def _files(parts: Parts) -> list[Path]:
    return [path for path in files_below(parts.out / "data/hr/test") if path.is_file() and path.name[0] != "."]


def _predictions(path: Path) -> dict[str, Any]:
    return {row.name: row for row in read_predictions(path).rows}


def _devices(parts: Parts) -> str:
    return ", ".join(sorted({outcome.run.device for outcome in parts.outcomes.values()}))


def _further_versions() -> dict[str, str]:
    found = {}
    for package in _FURTHER:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _refusal(out: Path) -> ConfigError:
    return ConfigError(f"expected a new or empty folder, or that of an experiment, but {out} is none; choose another")
