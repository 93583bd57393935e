"""What killed processes leave is known by its lock, or by its age; what somebody works on stays."""

import os
import subprocess
import sys
import time

import pytest
from bad_places import like_any_user

from srcache.errors import DiskFullError
from srcache.files import file_locks, scratch
from srcache.files.scratch import leftovers_in, remove_leftovers, scratch_folder

HOLD = """
import os, signal, sys
from pathlib import Path
from srcache.files.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "making") as work:
    (work / "part").write_bytes(bytes(1000))
    print(work.name, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_there_as_long_as_it_is_used(tmp_path):
    with scratch_folder(tmp_path / "inner", "making") as work:
        (work / "file").write_text("x")
        assert work.parent == tmp_path / "inner"
        assert leftovers_in(tmp_path / "inner") == []
    assert os.listdir(tmp_path / "inner") == []
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path, "making"):
        _ = 1 / 0
    assert os.listdir(tmp_path) == ["inner"]


@pytest.mark.medium
def test_what_a_killed_maker_left_goes_when_the_next_begins(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        name = other.stdout.readline().strip()
        with scratch_folder(tmp_path, "making") as work:
            assert set(os.listdir(tmp_path)) == {name, work.name}
        other.kill()
    (found,) = leftovers_in(tmp_path)
    assert (found.path.name, found.bytes) == (name, 1000)
    with scratch_folder(tmp_path, "other") as work:
        assert set(os.listdir(tmp_path)) == {name, work.name}
    with scratch_folder(tmp_path, "making") as work:
        assert os.listdir(tmp_path) == [work.name]


def _age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_older_versions_left_is_known_by_its_age(tmp_path):
    for name in (".adopting.k3_x9a0b", ".seesr-tiny.abcdefgh", ".adopting.fresh001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "copy").write_bytes(bytes(10))
    for name in (
        ".recipe.yaml.0123abcd",
        ".0123456789abcdef.part",
        ".srcache.json.new_0000",
        ".hidden",
        "a.b.01234567",
    ):
        (tmp_path / name).write_bytes(bytes(5))
    for path in [*tmp_path.rglob("*")]:
        if "fresh" not in str(path) and "new_" not in path.name:
            _age(path, 4000)
    _age(tmp_path / ".adopting.fresh001", 4000)  # but not what is in it
    (tmp_path / "data.lmdb").mkdir()
    (tmp_path / "data.lmdb/.a.01234567").touch()
    _age(tmp_path / "data.lmdb/.a.01234567", 4000)
    removed = remove_leftovers([tmp_path, tmp_path])
    assert {(left.path.name, left.bytes) for left in removed} == {
        (".adopting.k3_x9a0b", 10),
        (".seesr-tiny.abcdefgh", 10),
        (".recipe.yaml.0123abcd", 5),
        (".0123456789abcdef.part", 5),
    }
    stay = {".adopting.fresh001", ".srcache.json.new_0000", ".hidden", "a.b.01234567", "data.lmdb"}
    assert set(os.listdir(tmp_path)) == stay


def test_without_locks_age_must_do(tmp_path, monkeypatch):
    pytest.importorskip("filelock")
    monkeypatch.setattr(file_locks, "FCNTL", None)
    monkeypatch.setattr(scratch, "FCNTL", None)
    (tmp_path / ".making-01234567.scratch").mkdir()
    with scratch_folder(tmp_path, "making"):
        assert len(os.listdir(tmp_path)) == 2
    _age(tmp_path / ".making-01234567.scratch", 4000)
    with scratch_folder(tmp_path, "making"):
        assert len(os.listdir(tmp_path)) == 1


def test_a_place_where_none_can_be_made_is_said(tmp_path):
    (tmp_path / "sealed").mkdir(0o555)
    sealed = scratch_folder(tmp_path / "sealed", "making")
    with like_any_user(), pytest.raises(DiskFullError, match="could not be written"), sealed:
        pass
