"""Values with their uncertainty: an interval, a test, and Wilson's interval of a share."""

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from srcache.errors import ConfigError

from .libraries import scipy_stats

Z95 = 1.959963984540054
"""The normal quantile of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with its interval.

    Attributes:
        value, low, high: None where undefined (or infinite).
        level: the confidence of the interval, such as 0.95.
        method: whose interval it is, such as "Wilson".
        reason: why something is None.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    reason: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A test's statistic and two-sided p; both None, beside a reason, where the test is not defined."""

    __test__ = False  # pytest looks for classes of this name

    statistic: float | None
    p: float | None
    df: int = 1
    reason: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def wilson(right: int, images: int, level: float = 0.95) -> Interval:
    """A share, such as an accuracy, with Wilson's score interval.

    Raises:
        ConfigError: no images, or more right than images.
    """
    if not 0 <= right <= images or images < 1:
        raise ConfigError(f"expected a count of 0 to {images} of at least one image, but got {right}")
    value = right / images
    low, high = wilson_limits(value, images, float(scipy_stats().norm.isf((1 - level) / 2)))
    return Interval(value=value, low=low, high=high, level=level, method="Wilson")


def wilson_limits(share: float, images: int, z: float = Z95) -> tuple[float, float]:
    """Both ends of Wilson's score interval (1927): written out here, so that a report needs no statistics library.

    Args:
        share: in [0, 1]; a mean of several shares is taken as it is.
        images: at least 1.
        z: the normal quantile of the confidence.
    """
    scale = 1 + z**2 / images
    middle = (share + z**2 / (2 * images)) / scale
    half = z * sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / scale
    return min(max(0.0, middle - half), share), max(min(1.0, middle + half), share)


def require_share(value: float, what: str, most: float = 1.0) -> None:
    """Refuse a share that is not above 0 and below `most`.

    Raises:
        ConfigError: with what was got.
    """
    if not 0 < value < most:
        raise ConfigError(f"{what} must be above 0 and below {most:g}, but is {value}")
