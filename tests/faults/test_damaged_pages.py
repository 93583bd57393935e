"""Damage that used to end a reader's process: pages that are blank, and files that are cut off while they are open."""

import contextlib
import io
import os
import shutil
from pathlib import Path

import caches
import pytest
from images import picture
from PIL import Image
from srcache_cli.main import run

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CacheError, DamagedError
from srcache.stores.lmdb_pages import LEAF

PAGE = 4096
COMMANDS = {
    "info": "info {home}/cache",
    "export": "export {home}/cache {home}/out",
    "explain": "explain {home}/cache {home}/photos/a/0.png --recipe bicubic",
    "build": "build {home}/more --cache {home}/cache --recipe {home}/bicubic.yaml --device cpu",
    "train": "train --lr {home}/photos --cache {home}/cache --arm sr --validation 0.5 --out {home}/run",
}


@pytest.fixture(scope="module", params=["lmdb", "shards"])
def _built(request, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("pages")
    for number in range(24):
        file = home / ("photos" if number < 20 else "more") / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(8, 9, number)).save(file)
    caches.build(home / "photos", home / "cache", store=request.param)
    return home


@pytest.fixture
def home(_built, tmp_path) -> Path:
    """`photos`, `more`, and a `cache` of the photos."""
    return Path(shutil.copytree(_built, tmp_path / "home"))


def _blank_leaves(data):
    """Make every other leaf page blank."""
    content = bytearray(data.read_bytes())
    leaves = [at for at in range(2 * PAGE, len(content), PAGE) if content[at + 10 : at + 12] == bytes([LEAF, 0])]
    for at in leaves[::2]:
        content[at : at + PAGE] = bytes(PAGE)
    data.write_bytes(content)


@pytest.mark.medium
@pytest.mark.parametrize("_built", ["lmdb"], indirect=True)
def test_a_blank_leaf_page_is_told_by_every_command_and_ends_none(home):
    data = caches.only(home / "cache").store_path / "data.mdb"
    _blank_leaves(data)
    before = data.read_bytes()
    for name, line in COMMANDS.items():
        with contextlib.redirect_stderr(said := io.StringIO()), contextlib.redirect_stdout(said):
            code = run([word.format(home=home) for word in line.split()])
        assert (name, code) == (name, 3), said.getvalue()
        assert "`srcache repair` saves what is readable" in said.getvalue()
    with pytest.raises(DamagedError, match="saves what is readable"):
        SRAugmentedDataset(str(home / "photos"), home / "cache")
    assert data.read_bytes() == before


@pytest.mark.medium
@pytest.mark.parametrize("share", [0.9, 0.5, 0])
def test_a_store_that_is_cut_off_while_it_is_open_is_an_error_in_words(home, share):
    data = SRAugmentedDataset(str(home / "photos"), home / "cache", policy="sr")
    assert data[0][0].size == (18, 16)
    folder = caches.only(home / "cache").store_path
    [file] = [*folder.glob("data.mdb"), *folder.glob("*.tar")]
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(DamagedError, match=r"was cut off while it was open: it had \d+ bytes, and has \d+"):
        data[0]
    with pytest.raises((DamagedError, CacheError)):  # an empty file is none
        data[1]
