"""One recipe's folder in a cache: where it lies, and what it writes down."""

from pathlib import Path

import pytest

from srcache.cache.failures import FailedEntry
from srcache.cache.folder import read_json
from srcache.cache.manifest import create_cache
from srcache.errors import DamagedError, MachineError
from srcache.recipe.reading import load_recipe

BICUBIC = load_recipe("bicubic")


def test_a_folder_of_this_machine_is_its_place_and_uploads_nothing(tmp_path: Path) -> None:
    folder = create_cache(tmp_path / "cache", "shards").add(BICUBIC)
    assert folder.place == str(folder.path) == str(tmp_path / "cache" / BICUBIC.folder)
    assert folder.mirrored(None) is folder
    folder.push()
    assert folder.store_path == folder.path / "data.shards"
    assert folder.as_writer().writer != folder.as_writer().writer


def test_a_folder_that_was_taken_away_is_not_written_to(tmp_path: Path) -> None:
    folder = create_cache(tmp_path / "cache").add(BICUBIC)
    folder.path.rename(tmp_path / "away")
    with pytest.raises(MachineError, match="was taken away"):
        folder.write_receipt({})
    with pytest.raises(MachineError, match="was taken away"):
        folder.note_failure(FailedEntry("", "a", "b", "c"))
    with pytest.raises(MachineError, match="was taken away"):
        folder.store(writable=True)
    assert not folder.path.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_what_is_no_json_object_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DamagedError, match=r"x\.json"):
        read_json(tmp_path / "x.json")
