"""Several seeds: an interval that knows both that images are a sample and that trainings are.

Tables of several seeds are never added up: the same images would count as new ones, and p-values would be too small.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcache.errors import ConfigError

from .intervals import Interval

_BATCH = 1000


def joint_bootstrap(first: Any, second: Any, *, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> Interval:
    """The first arm's mean accuracy less the second's, with a percentile interval over images and seeds together.

    Each draw takes images and seeds with replacement, independently of each other; seed number i of one arm stays with
    number i of the other. The order of images does not matter. With few seeds the interval is rough, and rather too
    narrow: three seeds cannot say more about training than three seeds know.

    Args:
        first, second: who was right, of shape (seeds, images), as booleans.
        level: the interval's confidence.
        draws: how many resampled worlds.
        seed: of the draws.

    Raises:
        ConfigError: arrays of other shapes, or empty ones.
    """
    differences = _differences(first, second)
    value, method = float(differences.mean()), "bootstrap over images and seeds, percentiles"
    if len(differences) < 2:
        reason = "one seed says nothing about the spread between seeds"
        return Interval(value=value, low=None, high=None, level=level, method=method, reason=reason)
    patterns, counts = np.unique(differences, axis=1, return_counts=True)
    if patterns.shape[1] == 1 and np.ptp(patterns) == 0:
        reason = "the difference is the same on every image and seed, so that resampling shows no spread"
        return Interval(value=value, low=None, high=None, level=level, method=method, reason=reason)
    dice = np.random.default_rng(seed)
    means = np.concatenate(
        [_draw(dice, patterns, counts, min(_BATCH, draws - done)) for done in range(0, draws, _BATCH)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level, method=method)


def _differences(first: Any, second: Any) -> NDArray[np.int64]:
    one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.ndim != 2 or one.shape != two.shape or not one.size:
        raise ConfigError(
            f"expected who was right as two arrays of one shape (seeds, images), but got {one.shape} and {two.shape}"
        )
    differences: NDArray[np.int64] = one.astype(np.int64) - two
    return differences


def _draw(
    dice: np.random.Generator, patterns: NDArray[np.int64], counts: NDArray[np.int64], draws: int
) -> NDArray[np.float64]:
    """Means over resampled seeds (rows of the patterns) and images (columns, each as often as it was seen)."""
    seeds, images = patterns.shape[0], int(counts.sum())
    columns = dice.multinomial(images, counts / images, size=draws)
    rows = dice.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    sums: NDArray[np.float64] = ((rows @ patterns) * columns).sum(axis=1) / (seeds * images)
    return sums
