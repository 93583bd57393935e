"""p-values of several comparisons, corrected for there being several."""

from collections.abc import Sequence

from srcache.errors import ConfigError

from .libraries import multipletests

CORRECTIONS = ("holm", "bonferroni", "none")
"""`holm` is never weaker than `bonferroni` and holds under any dependence; `none` leaves p as it is."""


def adjusted(values: Sequence[float], correction: str = "holm") -> tuple[float, ...]:
    """Each p corrected for the number of comparisons, at most 1, in the order given.

    Raises:
        ConfigError: no such correction.
    """
    if correction not in CORRECTIONS:
        raise ConfigError(f"a correction is one of {', '.join(CORRECTIONS)}, but got {correction!r}")
    if correction == "none" or len(values) < 2:
        return tuple(values)
    return tuple(float(value) for value in multipletests()(list(values), method=correction)[1])
