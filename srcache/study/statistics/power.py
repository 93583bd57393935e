"""How many images a difference needs to be found: for planning the next test, not for excusing the last.

The power of McNemar's test depends on the discordant images only: on their number, and on the share of them on which
the better classifier is right. Images are then that number over the share of images that are discordant.
"""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np

from srcache.errors import ConfigError

from .intervals import require_share
from .libraries import scipy_stats
from .paired import Table

_EXACT_BELOW = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What a test would need if the shares that were seen are the true ones.

    Attributes:
        discordants: discordant images; None if b = c.
        images: images in all; None likewise.
        power: the chance of a significant mid-p.
        alpha: of a single test; a correction for several pairs needs more.
        reason: why something is None.
    """

    discordants: int | None
    images: int | None
    power: float
    alpha: float
    reason: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def needed(table: Table, alpha: float = 0.05, power: float = 0.8) -> Needed:
    """Discordant images, and images, that would show the effect of this table with the given power."""
    if table.first_only == table.second_only:
        return Needed(discordants=None, images=None, power=power, alpha=alpha, reason="no effect was seen: b = c")
    count = discordants_needed(table.first_only / table.discordant, alpha, power)
    return Needed(discordants=count, images=ceil(count * table.images / table.discordant), power=power, alpha=alpha)


def discordants_needed(share: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """The number of discordant images from which on the mid-p test has the power asked for.

    `share` is the part of them on which one of the two is right, in [0, 1]. Exact below 20,000, else by the normal
    approximation.

    Raises:
        ConfigError: a share of one half, which no test can distinguish from chance, or alpha or power out of range.
    """
    require_share(alpha, "alpha")
    require_share(power, "power")
    share = max(share, 1 - share)
    if not 0.5 < share <= 1:
        raise ConfigError(f"expected a share in [0, 1] other than one half, but got {share}")
    normal = scipy_stats().norm
    spread = normal.isf(alpha / 2) / 2 + normal.isf(1 - power) * np.sqrt(share * (1 - share))
    rough = (spread / (share - 0.5)) ** 2
    if rough > _EXACT_BELOW:
        return ceil(float(rough))
    counts = np.arange(1, int(2 * rough) + 60)
    short = np.flatnonzero(_power(counts, share, alpha) < power)
    return int(counts[short[-1]]) + 1 if short.size else 1


def _power(counts: Any, share: float, alpha: float) -> Any:
    """The chance of mid-p <= alpha, for each number of discordant images."""
    binom = scipy_stats().binom
    edge = binom.ppf(alpha / 2, counts, 0.5)
    mid_p = 2 * binom.cdf(edge, counts, 0.5) - binom.pmf(edge, counts, 0.5)
    edge = np.where(mid_p <= alpha, edge, edge - 1)
    edge = np.minimum(edge, (counts - 1) // 2)
    return binom.cdf(edge, counts, share) + binom.sf(counts - edge - 1, counts, share)
