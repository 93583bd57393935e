"""What the tests of comparisons share."""

import gc

import pytest
from made_predictions import compare_all, golden_predictions


@pytest.fixture(autouse=True, scope="module")
def _no_collections():
    """statsmodels' `multipletests` collects garbage at each call, which takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield


@pytest.fixture(scope="session")
def golden():
    """The comparison of the golden case; not to be changed."""
    return compare_all(golden_predictions())
