"""scipy and statsmodels, imported when the first number is asked for."""

from typing import Any

from srcache.errors import MissingExtraError

_PURPOSE = "comparing classifiers"


def scipy_stats() -> Any:
    """The module scipy.stats.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError("scipy", "eval", _PURPOSE) from error
    return stats


def contingency_tables() -> Any:
    """The module statsmodels.stats.contingency_tables.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    try:
        from statsmodels.stats import contingency_tables
    except ImportError as error:
        raise MissingExtraError("statsmodels", "eval", _PURPOSE) from error
    return contingency_tables


def proportion_confint() -> Any:
    """The function statsmodels.stats.proportion.proportion_confint.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    try:
        from statsmodels.stats.proportion import proportion_confint
    except ImportError as error:
        raise MissingExtraError("statsmodels", "eval", _PURPOSE) from error
    return proportion_confint


def multipletests() -> Any:
    """The function statsmodels.stats.multitest.multipletests.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    try:
        from statsmodels.stats.multitest import multipletests
    except ImportError as error:
        raise MissingExtraError("statsmodels", "eval", _PURPOSE) from error
    return multipletests
