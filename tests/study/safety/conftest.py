"""What the tests of this folder share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srcache.catalog.scanning import scan


@pytest.fixture
def hr(photos: Path) -> Path:
    """HR images of the photos' names, twice as large and not quite what they show."""
    for number, row in enumerate(scan(photos).rows):
        assert row.path is not None
        with Image.open(row.path) as image:
            large = np.asarray(image.convert("RGB").resize((2 * image.width, 2 * image.height))).astype(int)
        grain = np.random.default_rng(number).normal(0, 12, large.shape).astype(int)
        file = photos.parent / "hr" / Path(row.name).with_suffix(".bmp")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((large + grain).clip(0, 255).astype(np.uint8)).save(file)
    return photos.parent / "hr"
