"""Percentile intervals of a difference of accuracies, by resampling: over images, or over images and seeds together.

Tables of several seeds are never added up: the same images would count as new ones, and p-values would be too small.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcache.errors import ConfigError

from .intervals import Interval
from .paired import NO_DISCORDANT, Table

_BATCH = 1000


def bootstrap_difference(table: Table, level: float = 0.95) -> Interval:
    """The first accuracy minus the second, with the percentile interval of the paired bootstrap over images.

    Resampling images with replacement makes the difference a sum of independent draws of -1, 0 and 1. Its distribution
    is computed, not drawn: what a bootstrap of infinitely many samples would give, with no seed to choose.
    """
    value = (table.first_only - table.second_only) / table.images
    method = "bootstrap over images, percentiles"
    if not table.discordant:
        reason = f"{NO_DISCORDANT}, so that resampling shows no spread"
        return Interval(value=value, low=None, high=None, level=level, method=method, reason=reason)
    more, less = max(table.first_only, table.second_only), min(table.first_only, table.second_only)
    low, high = _resampled_limits(more, less, table.images, level)
    if table.first_only < table.second_only:
        low, high = -high, -low
    return Interval(value=value, low=low, high=high, level=level, method=method)


def joint_bootstrap(first: Any, second: Any, *, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> Interval:
    """The first arm's mean accuracy minus the second's, with a percentile interval over images and seeds together.

    Each draw takes images and seeds with replacement, independently of each other; seed number i of one arm stays with
    number i of the other. The order of images does not matter. With few seeds the interval is rough, and rather too
    narrow: three seeds cannot show more about training than they hold.

    Args:
        first, second: who was right, of shape (seeds, images), as booleans.
        level: the interval's confidence.
        draws: how many bootstrap samples.
        seed: of the bootstrap samples.

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
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [_draw(rng, patterns, counts, min(_BATCH, draws - done)) for done in range(0, draws, _BATCH)]
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
    rng: np.random.Generator, patterns: NDArray[np.int64], counts: NDArray[np.int64], draws: int
) -> NDArray[np.float64]:
    """Means over resampled seeds (rows of the patterns) and images (columns, each as often as it was seen)."""
    seeds, images = patterns.shape[0], int(counts.sum())
    columns = rng.multinomial(images, counts / images, size=draws)
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    sums: NDArray[np.float64] = ((rows @ patterns) * columns).sum(axis=1) / (seeds * images)
    return sums


def _resampled_limits(more: int, less: int, images: int, level: float) -> tuple[float, float]:
    """Percentiles of the sum of `images` draws, each +1, 0 or -1 in the shares seen, as a share of the images."""
    one = np.array([less, images - more - less, more]) / images
    size = 2 * images + 1
    shares = np.fft.irfft(np.fft.rfft(one, size) ** images, size)
    tail = (1 - level) / 2 - 1e-12
    low = int(np.argmax(np.cumsum(shares) >= tail))
    high = size - 1 - int(np.argmax(np.cumsum(shares[::-1]) >= tail))
    return (low - images) / images, (high - images) / images
