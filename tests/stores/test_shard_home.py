"""Where the shards of a store lie: in its folder, or below a URL that a file in it names."""

import json
from pathlib import Path

import pytest
from shard_stores import filled, left_behind, made_entry

from srcache.errors import DamagedError
from srcache.stores.shard_home import MARK, LocalHome, shard_home, stand_for_objects
from srcache.stores.shard_objects import ObjectsHome


def test_a_folder_of_shards_is_its_own_home(tmp_path: Path) -> None:
    folder = filled(tmp_path / "data.shards", range(6))
    home = shard_home(folder)
    assert isinstance(home, LocalHome)
    assert home.spool == home.folder == folder
    assert home.place == str(folder)
    sealed, partial = home.listing()
    assert [shard.name for shard in sealed] == sorted(path.name for path in folder.glob("*.tar"))
    assert partial == []
    file = home.open(sealed[0].name)
    assert file.is_there
    assert file.read(600, 0) == (folder / sealed[0].name).read_bytes()[:600]
    assert not home.drop(sealed[0].name)
    assert list(home.taken()) == []
    (folder / sealed[0].name).unlink()
    assert not file.is_there
    with pytest.raises(FileNotFoundError):
        home.open(sealed[0].name)


def test_a_shard_that_was_sealed_a_moment_ago_is_scanned(tmp_path: Path) -> None:
    partial = left_behind(tmp_path, made_entry(1))
    sealed = partial.rename(partial.with_suffix(""))
    assert shard_home(tmp_path).scan(partial.name).read(99, 0) == sealed.read_bytes()[:99]


def test_a_folder_that_stands_for_objects_says_so(tmp_path: Path) -> None:
    stand_for_objects(tmp_path / "data.shards", "memory://box/cache", "r/data.shards/", tmp_path / "spool")
    home = shard_home(tmp_path / "data.shards")
    assert isinstance(home, ObjectsHome)
    assert home.spool == tmp_path / "spool"
    assert home.place == "memory://box/cache/r/data.shards"
    assert home.tables == [tmp_path / "data.shards/table.idx"]
    assert not home.exists()


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps({"url": "memory://x"})])
def test_a_damaged_note_is_no_folder_of_shards(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text)
    with pytest.raises(DamagedError, match="does not say where shards lie"):
        shard_home(tmp_path)
