"""Intervals of accuracies and their differences, by resampling: over images, or over images and seeds together.

Tables of several seeds are never added up: the same images would count as new ones, and p-values would be too small.
"""

from collections.abc import Sequence
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


def series_bootstrap(
    series: Sequence[Any], *, level: float = 0.95, draws: int = 10_000, seed: int = 0, together: bool = False
) -> tuple[Interval, ...]:
    """The mean of each of several series that were measured on the same images with the same seeds, with an interval.

    All series see the same draws: of images and seeds, independently of each other; with one seed, of images alone.
    `together` makes intervals that hold for all series at once, where each has its percentiles otherwise: the width of
    each is its own standard error times one factor, the quantile of the largest of all deviations (max-t; Westfall and
    Young 1993), which knows how much the series have in common. A series that no draw moves has no interval.

    Args:
        series: accuracies (0 and 1) or differences (-1, 0 and 1), each of shape (seeds, images).
        level: the confidence of each interval, or of all of them together.
        draws, seed: as `joint_bootstrap`.
        together: whether they are to hold all at once.

    Raises:
        ConfigError: no series, or arrays of other shapes.
    """
    shapes = {np.shape(one) for one in series}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or not np.size(series[0]):
        raise ConfigError(f"expected series of one shape (seeds, images), but got {sorted(shapes)}")
    values = np.stack([np.asarray(one, dtype=np.float64) for one in series])
    over = "over images and seeds" if values.shape[1] > 1 else "over images"
    means, rng = values.mean((1, 2)), np.random.default_rng(seed)
    drawn = np.concatenate(
        [_draw_series(rng, values, min(_BATCH, draws - done)) for done in range(0, draws, _BATCH)], axis=1
    )
    spread = drawn.std(1)
    moved = spread > 1e-12
    if together and moved.any():
        worst = (np.abs(drawn[moved] - means[moved, None]) / spread[moved, None]).max(0)
        half = float(np.quantile(worst, level)) * spread
        low, high = means - half, means + half
    else:
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    method = f"bootstrap {over}, {'all together (max-t)' if together else 'percentiles'}"
    least = -1.0 if values.min() < 0 or together else 0.0
    return tuple(
        Interval(
            value=float(mean),
            low=max(least, float(low[at])) if moved[at] else None,
            high=min(1.0, float(high[at])) if moved[at] else None,
            level=level,
            method=method,
            reason=None if moved[at] else "it is the same on every image and seed, so that resampling shows no spread",
        )
        for at, mean in enumerate(means)
    )


def _draw_series(rng: np.random.Generator, values: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """Means (series, draws) over resampled seeds and images, the same ones for all series."""
    seeds, images = values.shape[1:]
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(np.float64)
    columns = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    sums: NDArray[np.float64] = np.stack([((rows @ one) * columns).sum(1) for one in values])
    sums /= seeds * images
    return sums


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
