"""scipy and statsmodels, imported when the first number is asked for."""

from typing import Any

from srcache.errors import needs_extra

_PURPOSE = "comparing classifiers"


def scipy_stats() -> Any:
    """The module scipy.stats.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    with needs_extra("scipy", "eval", _PURPOSE):
        from scipy import stats
    return stats


def contingency_tables() -> Any:
    """The module statsmodels.stats.contingency_tables.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    with needs_extra("statsmodels", "eval", _PURPOSE):
        from statsmodels.stats import contingency_tables
    return contingency_tables


def proportion_confint() -> Any:
    """The function statsmodels.stats.proportion.proportion_confint.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    with needs_extra("statsmodels", "eval", _PURPOSE):
        from statsmodels.stats.proportion import proportion_confint
    return proportion_confint


def multipletests() -> Any:
    """The function statsmodels.stats.multitest.multipletests.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    with needs_extra("statsmodels", "eval", _PURPOSE):
        from statsmodels.stats.multitest import multipletests
    return multipletests
