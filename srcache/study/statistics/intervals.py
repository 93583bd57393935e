"""Numbers with their uncertainty, and the interval of a share."""

from dataclasses import asdict, dataclass
from typing import Any

from srcache.errors import ConfigError

from .libraries import proportion_confint


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with its interval.

    Attributes:
        value, low, high: None where undefined (or infinite).
        level: the confidence of the interval, such as 0.95.
        method: whose interval it is.
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

    __test__ = False  # which tells pytest that this is none of its tests

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
    low, high = proportion_confint()(right, images, alpha=1 - level, method="wilson")
    value = right / images
    low, high = min(max(0.0, float(low)), value), max(min(1.0, float(high)), value)
    return Interval(value=value, low=low, high=high, level=level, method="Wilson")


def require_share(value: float, what: str, most: float = 1.0) -> None:
    """Refuse a share that is not above 0 and below `most`.

    Raises:
        ConfigError: with what was got.
    """
    if not 0 < value < most:
        raise ConfigError(f"{what} must be above 0 and below {most:g}, but is {value}")
