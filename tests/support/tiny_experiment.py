"""A tiny study: images of stripes, 16 pixels, that a network of two channels can learn; and its files as numbers."""

import csv
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from srcache.images import encode
from srcache.study.experiment.config import Experiment
from srcache.study.experiment.parse import read_experiment

COUNTS = {"train": 8, "validation": 4, "test": 5}
CLASSES = ("across", "down")
ARMS, DOMAINS, SEEDS = ("lr", "bicubic", "sr", "hr"), ("lr", "bicubic", "sr", "hr"), (0, 1)
TWO = [{"name": "lr", "arm": "lr"}, {"name": "hr", "arm": "hr"}]


def make_images(root: Path, size: int = 16) -> Path:
    """Class folders of noisy stripes in train, validation and test."""
    for place, (split, count) in enumerate(COUNTS.items()):
        for side, label in enumerate(CLASSES):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                rng = np.random.default_rng([place, side, number])
                stripes = np.zeros((size, size))
                stripes[(np.arange(size) // 2) % 2 == 0] = 120
                values = (stripes.T if side else stripes) + rng.uniform(0, 130, (size, size))
                rgb = np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
                (folder / f"{label}-{number}.png").write_bytes(encode(rgb, "png"))
    return root


def tiny(images: Path, **changes: Any) -> Experiment:
    """An experiment on `make_images`' folder: bicubic x2 for SR, two seeds, two epochs."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "question": "Across or down?",
        "data": {"kind": "folders", **{split: str(images / split) for split in COUNTS}},
        "degradation": {"factor": 2},
        "recipe": {"name": "lanczos", "set": {"scale": 2}},
        "arms": [{"name": name, "arm": name} for name in ("lr", "bicubic", "sr", "hr")],
        "train": {"network": "small:2", "size": 16, "epochs": 2, "batch_size": 8, "learning_rate": 0.01},
        "seeds": [0, 1],
        "safety": {"filters": ["safe>0.5"]},
        "compare": {"draws": 200},
        "device": "cpu",
    }
    return read_experiment({**plain, **changes})


def numbers(results: Any) -> Any:
    """All of a results.json but times, and what was typed."""
    if isinstance(results, dict):
        return {key: numbers(value) for key, value in results.items() if key not in ("seconds", "commands")}
    return [numbers(value) for value in results] if isinstance(results, list) else results


def home(out: Path, arm: str) -> str:
    """The folder's name of an arm's runs, as the results say."""
    arms = json.loads((out / "results.json").read_text())["arms"]
    return next(Path(one["runs"][0]).parent.name for one in arms if one["name"] == arm)


def answers(out: Path, arm: str, seed: int, domain: str) -> list[dict[str, str]]:
    """The rows of a prediction file."""
    with (out / f"predictions/{home(out, arm)}/{seed}/{domain}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy(out: Path, arm: str, seed: int, domain: str) -> float:
    """The share of right answers in a prediction file."""
    return fmean(row["label"] == row["prediction"] for row in answers(out, arm, seed, domain))
