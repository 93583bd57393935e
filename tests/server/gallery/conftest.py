"""What the tests of the gallery share: photos, HR images of some, and a cache of them, some of which is damaged."""

import shutil
from pathlib import Path

import caches
import pytest
from images import picture
from PIL import Image


@pytest.fixture(scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = caches.build_two(tmp_path_factory.mktemp("gallery"))
    for number, name in enumerate(("Möwen & Co/erste möwe", "wörter/letzte", "wörter/doppelt")):
        file = home / f"hr/{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(40, 48, number)).save(file)
    (home / "quality").mkdir()
    table = "name,psnr,lpips\nMöwen & Co/erste möwe,31.5,0.2\nwörter/letzte,28.25,\nwörter/doppelt,inf,0.1\n"
    (home / "quality/quality.csv").write_text(table, encoding="utf-8")
    return home


@pytest.fixture
def home(_home: Path, tmp_path: Path) -> Path:
    """A folder of its own for each test.

    photos, cache       as `caches.build_two` makes them: `bicubic`, and two samples each of `noisy`
    hr                  HR images of three of the photos
    quality             a table of two metrics of these three
    """
    return Path(shutil.copytree(_home, tmp_path / "home"))


@pytest.fixture
def damaged(home: Path) -> str:
    """The name of an entry of `bicubic` whose bytes are not what was written."""
    data = caches.only(home / "cache").store_path / "data.mdb"
    name, payload = next(iter(caches.contents(home / "cache").items()))
    assert payload
    with data.open("r+b") as file:
        file.seek(data.read_bytes().index(payload) + len(payload) // 2)
        file.write(b"damaged!")
    return name
