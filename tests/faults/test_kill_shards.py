"""kill -9 at any moment of a build into shards costs at most the batch that was not committed."""

from functools import partial

import pytest
from commands import PHOTOS, stored, survive

SHARDS = ("--store", "shards", "--shard-bytes", "3K")


@pytest.fixture(scope="module")
def build_shards(build):
    """Start a build into shards of some entries each."""

    def start(cache, *words):
        return build(cache, *SHARDS, *words)

    return start


@pytest.fixture(scope="module")
def undisturbed_shards(build_shards, tmp_path_factory):
    """The entries of a build into shards that nothing happened to."""
    cache = tmp_path_factory.mktemp("shards") / "cache"
    assert build_shards(cache).wait() == 1
    entries = stored(cache)
    assert len(entries) == PHOTOS
    return entries


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
