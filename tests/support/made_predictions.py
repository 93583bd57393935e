"""Made-up predictions of several classifiers on the same images, right where it is asked for."""

import math

import numpy as np

from srcache.study.compare.pairwise import CompareSettings, compare
from srcache.study.compare.predictions import PredictionRow, Predictions, join

PATTERNS = {(1, 1, 1): 229, (1, 1, 0): 8, (1, 0, 1): 15, (0, 1, 1): 16, (1, 0, 0): 14, (0, 1, 0): 5, (0, 0, 1): 13}
PATTERNS[0, 0, 0] = 331 - sum(PATTERNS.values())
"""Who of LR, HR and SR is right, and on how many of 331 images: LR-HR 29/21, LR-SR 22/29, HR-SR 13/28."""


def answers(right, classes=("a", "b")):
    """Predictions of two classes, right where `right` says so; labels take turns."""
    rows = []
    for place, hit in enumerate(right):
        label, other = classes if place % 2 else classes[::-1]
        rows.append(PredictionRow(f"n{place:04d}", "", label, label if hit else other))
    return Predictions(classes, tuple(rows))


def golden_predictions():
    """The predictions of LR, HR and SR that `PATTERNS` counts."""
    patterns = [pattern for pattern, count in PATTERNS.items() for _ in range(count)]
    return {name: answers([pattern[who] for pattern in patterns]) for who, name in enumerate(("LR", "HR", "SR"))}


def pair_of(b, c, both=3, neither=2):
    """A and B: on `b` images A alone is right, on `c` images B alone."""
    first = [1] * both + [1] * b + [0] * c + [0] * neither
    second = [1] * both + [0] * b + [1] * c + [0] * neither
    return {"A": answers(first), "B": answers(second)}


def compare_all(many, **words):
    """Join and compare, with these settings."""
    return compare(join(many), CompareSettings(**words))


def _shaken(right, share, seed):
    rng = np.random.default_rng(seed)
    return answers(np.where(rng.random(len(right)) < share, 1 - np.array(right), right).tolist())


def arms_of(seeds, shift=0.0):
    """Arms A and B with so many seeds of 200 images; B is wrong more often by `shift`."""
    base = (np.arange(200) % 5 > 0).astype(int).tolist()
    first = [_shaken(base, 0.1, seed) for seed in range(seeds)]
    return {"A": first, "B": [_shaken(base, 0.1 + shift, 100 + seed) for seed in range(seeds)]}


def has_no_nan(value):
    """Whether nested values hold only finite numbers."""
    if isinstance(value, dict):
        return all(map(has_no_nan, value.values()))
    if isinstance(value, list | tuple):
        return all(map(has_no_nan, value))
    return not isinstance(value, float) or math.isfinite(value)
