"""What tests of plug-ins share: a folder of images with a filled cache beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from epoch_variants import RECIPE
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.images import Pixels


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    for index in range(8):
        home = tmp_path / "images" / "ab"[index % 2]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(16, 16, index)).save(home / f"{index}.png")
    fill(scan(tmp_path / "images"), RECIPE, tmp_path / "cache")
    return tmp_path / "images"
