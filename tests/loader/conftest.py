"""A folder of images of one size with a cache beside it, for loaders."""

import numpy as np
import pytest
from PIL import Image
from training_sets import NOISY, built


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """The folder: 22 images of 12 × 12 in two classes; its cache holds two SR samples of each, of 24 × 24."""
    folder, rng = tmp_path_factory.mktemp("square") / "images", np.random.default_rng(3)
    for number in range(22):
        path = folder / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(path)
    built(folder, NOISY, samples=2)
    return folder
