"""kill -9 at any moment of a build into shards costs at most the batch that was not committed."""

from functools import partial

import pytest
from commands import survive


@pytest.fixture
def outlive(build_shards, commands, undisturbed_shards, tmp_path):
    """Survive the kills of a seed."""
    return partial(
        survive, build=build_shards, commands=commands, undisturbed=undisturbed_shards, cache=tmp_path / "cache"
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_build_goes_on(seed, outlive):
    outlive(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1050))
def test_a_build_that_is_killed_often_goes_on(seed, outlive):
    outlive(seed)
