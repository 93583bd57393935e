"""What the tests of statistics share."""

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_collections():
    """statsmodels' `multipletests` collects garbage at each call, which takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield
