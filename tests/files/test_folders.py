"""What lies in a folder: a folder that may not be read is no empty one."""

import errno
import os

import pytest
from bad_places import like_any_user

from srcache.errors import MachineError
from srcache.files.folders import files_below, paths_in


def test_paths_in_a_folder_are_sorted_and_fit(tmp_path):
    for name in ("b.json", "a.json", ".c.json", "d.csv", "A.JSON"):
        (tmp_path / name).touch()
    assert [path.name for path in paths_in(tmp_path, "*.json")] == [".c.json", "a.json", "b.json"]
    assert [path.name for path in paths_in(tmp_path, "[!.]*.json")] == ["a.json", "b.json"]
    assert paths_in(tmp_path / "none", "*") == paths_in(tmp_path / "d.csv", "*") == []


def test_files_below_a_folder_are_sorted(tmp_path):
    for name in ("b/c/1", "b/0", "a/9"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/link").symlink_to(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)] == ["a/9", "b/0", "b/c/1"]
    assert files_below(tmp_path / "none") == []


@pytest.mark.parametrize("listed", [lambda path: paths_in(path, "*"), files_below])
def test_a_closed_folder_is_an_error(listed, tmp_path):
    (tmp_path / "closed").mkdir(0)
    with like_any_user(), pytest.raises(MachineError, match=r"closed could not be read .*give permission"):
        listed(tmp_path / "closed")
    (tmp_path / "closed").chmod(0o755)


def test_too_many_open_files_are_no_empty_folder(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(os, "listdir", full)
    with pytest.raises(MachineError, match="raise the limit"):
        paths_in(tmp_path, "*")
