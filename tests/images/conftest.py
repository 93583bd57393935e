"""What the tests of image files share: one small image of noise."""

import numpy as np
import pytest

from srcache.images import Pixels


@pytest.fixture(scope="module")
def rgb() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (13, 17, 3), dtype=np.uint8)
