"""Folders of a command: free or claimed by the same command before, or refused and left alone."""

import json
import shutil
from pathlib import Path

import pytest
from prepare_commands import COMMANDS, Command, contents, do_crops, do_lr, do_split, images

from srcache.catalog.scanning import scan
from srcache.errors import BusyError, ConfigError
from srcache.study.prepare.claim import MARKER, claim_folders
from srcache.study.prepare.split import make_split


@COMMANDS
def test_folders_that_touch_the_source_are_refused(photos: Path, tmp_path: Path, command: Command) -> None:
    before = contents(photos)
    (tmp_path / "link").symlink_to(photos)
    for place in (photos, photos / "out", photos.parent, tmp_path / "link/out", photos / "../photos/moss/../x"):
        with pytest.raises(ConfigError, match="must lie apart"):
            command(photos, place)
    assert contents(photos) == before


@COMMANDS
def test_folders_with_other_things_in_them_are_refused(photos: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="must be empty"):
        command(photos, tmp_path / "full")
    with pytest.raises(ConfigError, match="is a file"):
        command(photos, tmp_path / "full/mine.txt")
    assert contents(tmp_path / "full") == {"mine.txt": b"precious"}


@COMMANDS
def test_an_empty_folder_is_taken(photos: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".{MARKER}.k1ll3d").write_text("{")
    assert command(photos, tmp_path / "out").written > 0


@COMMANDS
def test_other_parameters_or_other_images_are_refused(photos: Path, tmp_path: Path, command: Command) -> None:
    command(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    other = {do_split: {"seed": 1}, do_lr: {"filter": "box"}, do_crops: {"seed": 1}}[command]
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        command(photos, tmp_path / "out", **other)
    another = do_lr if command is do_split else do_split
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        another(photos, tmp_path / "out")
    shutil.copy(photos / "moss/moss0.png", photos / "moss/new.png")
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        command(photos, tmp_path / "out")
    (tmp_path / "out" / MARKER).write_bytes(b"\xff broken")
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        command(photos, tmp_path / "out")
    assert images(tmp_path / "out") == {name: data for name, data in before.items() if name != MARKER}


def test_the_marker_says_what_was_done(photos: Path, tmp_path: Path) -> None:
    make_split(photos, tmp_path / "out", seed=3, link="hard")
    assert json.loads((tmp_path / "out" / MARKER).read_text()) == {
        "srcache": "prepare",
        "format": 1,
        "command": "split",
        "parameters": {"ratios": [0.8, 0.1, 0.1], "seed": 3, "link": "hard"},
        "source": scan(photos).digest,
    }


def test_no_folder_is_claimed_unless_all_can_be(photos: Path, tmp_path: Path) -> None:
    catalog, folders = scan(photos), [tmp_path / "one", tmp_path / "two"]
    folders[1].mkdir()
    (folders[1] / "mine.txt").touch()
    with pytest.raises(ConfigError, match="two must be empty"), claim_folders(folders, catalog, "lr", {"factor": 2}):
        pass
    assert not folders[0].exists()
    (folders[1] / "mine.txt").unlink()
    with claim_folders(folders, catalog, "lr", {"factor": 2}):
        pass
    assert contents(folders[0]) == contents(folders[1])
    stamps = [(folder / MARKER).stat().st_ino for folder in folders]
    with claim_folders(folders, catalog, "lr", {"factor": 2}):
        pass
    assert [(folder / MARKER).stat().st_ino for folder in folders] == stamps, "a claim is written once"
    for command, parameters in (("lr", {"factor": 3}), ("split", {"factor": 2})):
        with (
            pytest.raises(ConfigError, match=r"see prepare\.json in it"),
            claim_folders(folders, catalog, command, parameters),
        ):
            pass


@COMMANDS
def test_two_at_once_are_one_and_nothing_of_a_killed_one_stays(photos: Path, tmp_path: Path, command: Command) -> None:
    """The second is told so at once; all that it would have made is there when the first is done."""
    command(photos, tmp_path / "alone")
    refused = list[str]()

    def second(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(BusyError) as caught:
                command(photos, tmp_path / "out")
            refused.append(str(caught.value))

    command(photos, tmp_path / "out", progress=second)
    assert "out" in refused[0]
    assert "is being prepared by process" in refused[0]
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    left = next(path for path in (tmp_path / "out").rglob("*.png")).with_name(".0123456789abcdef-01234567.part")
    left.write_bytes(b"half")
    assert command(photos, tmp_path / "out").written == 0
    assert not left.exists()
