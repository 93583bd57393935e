"""What the tests of this folder share."""

from pathlib import Path

import pytest
from train_study import make_stripes


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and a cache of the small study; do not change it."""
    return make_stripes(tmp_path_factory.mktemp("stripes"))
