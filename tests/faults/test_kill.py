"""kill -9 at any moment costs at most the batch that was not committed."""

import pytest
from commands import survive


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_build_goes_on(seed, build, commands, undisturbed, tmp_path):
    survive(seed, build, commands, undisturbed, tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1050))
def test_a_build_that_is_killed_often_goes_on(seed, build, commands, undisturbed, tmp_path):
    survive(seed, build, commands, undisturbed, tmp_path / "cache")
