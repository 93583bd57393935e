"""Two or more classifiers on the same images: McNemar's tests, Cochran's Q, odds ratio, difference of accuracies.

All that these tests see is `b`, the images on which the first alone is right, and `c`, those on which the second alone
is. Decisions rest on mid-p: the exact test is too careful (its real error rate lies far below alpha), and with few
images that of the asymptotic ones may lie above (Fagerland, Lydersen, Laake 2013).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from srcache.errors import ConfigError

from .intervals import Z95, Interval, Test, wilson_limits
from .libraries import contingency_tables, proportion_confint, scipy_stats

NO_DISCORDANT = "no image on which one alone is right"
"""The reason why something is undefined without discordant images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How often two classifiers are right on the same images: counts.

    Raises:
        ConfigError: a negative count, or no image at all.
    """

    both_right: int
    first_only: int
    second_only: int
    both_wrong: int

    def __post_init__(self) -> None:
        counts = (self.both_right, self.first_only, self.second_only, self.both_wrong)
        if min(counts) < 0 or not sum(counts):
            raise ConfigError(f"expected counts of at least 0, and at least one image, but got {counts}")

    @property
    def images(self) -> int:
        """All of them."""
        return self.both_right + self.first_only + self.second_only + self.both_wrong

    @property
    def discordant(self) -> int:
        """On which one alone is right."""
        return self.first_only + self.second_only


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """The tests of whether b and c are draws of a fair coin; two-sided p.

    Attributes:
        exact: the binomial test.
        mid_p: the same with half the weight on what was seen; 1.0 when b = c.
        chi2, chi2_corrected: the asymptotic test, without and with continuity correction; undefined if b + c = 0.
    """

    exact: float
    mid_p: float
    chi2: Test
    chi2_corrected: Test

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def table_of(first: Sequence[bool], second: Sequence[bool]) -> Table:
    """Count who was right, image by image."""
    pairs = list(zip(first, second, strict=True))
    return Table(
        both_right=pairs.count((True, True)),
        first_only=pairs.count((True, False)),
        second_only=pairs.count((False, True)),
        both_wrong=pairs.count((False, False)),
    )


def mcnemar(table: Table) -> McNemar:
    """McNemar's test in its four forms.

    With b = c the correction is left out, as R does: statsmodels would find a difference where there is none.
    """
    least, count = min(table.first_only, table.second_only), table.discordant
    if not count:
        nothing = Test(statistic=None, p=None, reason=NO_DISCORDANT)
        return McNemar(exact=1.0, mid_p=1.0, chi2=nothing, chi2_corrected=nothing)
    binom = scipy_stats().binom
    mid_p = 2 * binom.cdf(least, count, 0.5) - binom.pmf(least, count, 0.5)
    equal = 2 * least == count
    return McNemar(
        exact=float(_statsmodels_mcnemar(table, exact=True).pvalue),
        mid_p=1.0 if equal else min(1.0, float(mid_p)),
        chi2=_chi2(table, correction=False),
        chi2_corrected=_chi2(table, correction=not equal),
    )


def _chi2(table: Table, correction: bool) -> Test:
    found = _statsmodels_mcnemar(table, exact=False, correction=correction)
    return Test(statistic=float(found.statistic), p=float(found.pvalue))


def _statsmodels_mcnemar(table: Table, **how: bool) -> Any:
    counts = [[table.both_right, table.first_only], [table.second_only, table.both_wrong]]
    return contingency_tables().mcnemar(counts, **how)


def cochran(right: Sequence[Sequence[bool]]) -> Test:
    """Cochran's Q: whether several classifiers (one sequence each) have the same accuracy; equal to chi2 for two.

    Raises:
        ConfigError: fewer than two classifiers.
    """
    if len(right) < 2:
        raise ConfigError(f"Cochran's Q compares at least two classifiers, but got {len(right)}")
    answers = np.asarray(right, dtype=np.int64).T
    df = len(right) - 1
    if np.isin(answers.sum(axis=1), (0, len(right))).all():
        return Test(statistic=None, p=None, df=df, reason="on every image all are right, or all are wrong")
    found = contingency_tables().cochrans_q(answers)
    return Test(statistic=float(found.statistic), p=float(found.pvalue), df=df)


def odds_ratio(table: Table, level: float = 0.95) -> Interval:
    """b / c with its exact conditional interval: Clopper and Pearson's of b among the discordant, as odds."""
    method = "exact (Clopper-Pearson)"
    if not table.discordant:
        return Interval(value=None, low=None, high=None, level=level, method=method, reason=NO_DISCORDANT)
    limits = proportion_confint()(table.first_only, table.discordant, alpha=1 - level, method="beta")
    low, high = (float(limit) for limit in limits)
    if not table.second_only:
        reason = "the second alone is right on no image, so that the ratio has no upper end"
        return Interval(value=None, low=low / (1 - low), high=None, level=level, method=method, reason=reason)
    value = table.first_only / table.second_only
    low = low / (1 - low) if table.first_only else 0.0
    return Interval(value=value, low=low, high=high / (1 - high), level=level, method=method)


def newcombe_difference(table: Table, level: float = 0.95) -> Interval:
    """The first accuracy minus the second, with Newcombe's paired interval (`newcombe_limits`)."""
    low, high = newcombe_limits(table, float(scipy_stats().norm.isf((1 - level) / 2)))
    value = (table.first_only - table.second_only) / table.images
    return Interval(value=value, low=low, high=high, level=level, method="Newcombe 10")


def newcombe_limits(table: Table, z: float = Z95) -> tuple[float, float]:
    """Both ends of Newcombe's paired interval of a difference of shares, which needs no statistics library.

    Method 10 of Newcombe (1998, Statistics in Medicine 17, 2635-2650): Wilson's limits of both accuracies, squared and
    added, less what their correlation takes away; the correlation is corrected for continuity where it is positive.

    Args:
        table: of at least one image.
        z: the normal quantile of the confidence.
    """
    shares = [(table.both_right + only) / table.images for only in (table.first_only, table.second_only)]
    (down_one, up_one), (down_two, up_two) = (_distances(share, table.images, z) for share in shares)
    phi, value = _correlation(table), (table.first_only - table.second_only) / table.images
    low = value - _hypotenuse(down_one, up_two, phi)
    return max(-1.0, low), min(1.0, value + _hypotenuse(up_one, down_two, phi))


def _distances(share: float, images: int, z: float) -> tuple[float, float]:
    """How far Wilson's limits lie below and above a share."""
    low, high = wilson_limits(share, images, z)
    return share - low, high - share


def _correlation(table: Table) -> float:
    both, first, second, neither = table.both_right, table.first_only, table.second_only, table.both_wrong
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    surplus = float(both * neither - first * second)
    if surplus > 0:
        surplus = max(surplus - table.images / 2, 0.0)
    return surplus / sqrt(margins) if margins else 0.0


def _hypotenuse(one: float, two: float, phi: float) -> float:
    return sqrt(max(0.0, one**2 - 2 * phi * one * two + two**2))
