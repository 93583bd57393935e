"""scipy and statsmodels: each is imported late, and named with its extra where it is missing."""

import pytest
from paired_tables import table_of_counts

from srcache.errors import MissingExtraError
from srcache.study.statistics.corrections import adjusted
from srcache.study.statistics.intervals import wilson
from srcache.study.statistics.paired import mcnemar, odds_ratio

pytest.importorskip("statsmodels")


@pytest.mark.parametrize(
    ("module", "act"),
    [
        ("scipy", lambda: mcnemar(table_of_counts(1, 1, 2, 1))),
        ("statsmodels.stats", lambda: mcnemar(table_of_counts(1, 1, 2, 1))),
        ("scipy", lambda: wilson(1, 2)),
        ("statsmodels.stats.proportion", lambda: odds_ratio(table_of_counts(1, 1, 2, 1))),
        ("statsmodels.stats.multitest", lambda: adjusted([0.1, 0.2])),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch, module, act):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[eval\]'"):
        act()
