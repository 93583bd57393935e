"""Files that a crash cannot tear, and what is said when the disk says no."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import DiskFullError
from srcache.files import append_line, disk_errors, write_atomic


def test_a_file_is_written_with_its_folders(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.txt", "Grüße\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "Grüße\n".encode()
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c.txt").stat().st_mode) == 0o644
    write_atomic(tmp_path / "a" / "b" / "c.txt", b"\0new")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"\0new"
    assert os.listdir(tmp_path / "a" / "b") == ["c.txt"]


def test_a_reader_sees_all_of_a_file_or_none(tmp_path):
    path, seen, stop = tmp_path / "whole", [], threading.Event()
    write_atomic(path, b"0" * 100_000)

    def read():
        while not stop.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 60):
        write_atomic(path, bytes([48 + number % 10]) * 100_000)
    stop.set()
    reader.join(20)
    assert seen
    assert all(len(data) == 100_000 and len(set(data)) == 1 for data in seen)


def test_bytes_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    calls, sync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), rename(*paths))[1])
    write_atomic(tmp_path / "file", b"x")
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch, step):
    (tmp_path / "file").write_bytes(b"old")

    def fail(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(DiskFullError, match=r"file could not be written \(No space left on device\).*run the same"):
        write_atomic(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_device_without_room_is_a_full_disk():
    with pytest.raises(DiskFullError, match="No space left on device"):
        append_line(Path("/dev/full"), "line")


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFullError, match="Not a directory"):
        write_atomic(tmp_path / "file" / "inner" / "deep", b"x")


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ESTALE"])
def test_what_the_disk_refuses_is_told_apart(code):
    with pytest.raises(DiskFullError), disk_errors(Path("place")):
        raise OSError(getattr(errno, code), "no")


def test_our_own_mistakes_are_not_the_disk_s():
    with pytest.raises(FileNotFoundError), disk_errors(Path("place")):
        raise FileNotFoundError(errno.ENOENT, "no")
    with pytest.raises(ValueError, match="odd"), disk_errors(Path("place")):
        raise ValueError("odd")


def test_lines_are_appended(tmp_path):
    for line in ("one", "two", "drei ü"):
        append_line(tmp_path / "journal", line)
    assert (tmp_path / "journal").read_text(encoding="utf-8") == "one\ntwo\ndrei ü\n"


@given(st.binary(max_size=30).filter(lambda torn: not torn.endswith(b"\n")))
def test_a_torn_line_is_closed_off(tmp_path_factory, torn):
    journal = tmp_path_factory.mktemp("torn") / "journal"
    journal.write_bytes(b"whole\n" + torn)
    append_line(journal, "next")
    assert journal.read_bytes() == b"whole\n" + torn + (b"\nnext\n" if torn else b"next\n")
