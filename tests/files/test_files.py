"""Files that a crash cannot tear, locks, sizes, YAML that people write, and the errors when the disk refuses."""

import csv
import errno
import fcntl
import io
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from srcache.errors import BusyError, CatalogError, ConfigError, DiskFullError, RecipeError
from srcache.files import (
    append_line,
    atomic_file,
    atomic_path,
    brief_lock,
    csv_text,
    damaged_path,
    disk_errors,
    lock,
    make_folder,
    read_text,
    remove_parts,
    shipped_texts,
    size_of,
    sync_folder,
    user_folder,
    write_atomic,
    yaml_mapping,
)


def test_a_file_is_written_with_its_folders(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.txt", "Grüße\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "Grüße\n".encode()
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c.txt").stat().st_mode) == 0o644
    write_atomic(tmp_path / "a" / "b" / "c.txt", b"\0new")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"\0new"
    assert os.listdir(tmp_path / "a" / "b") == ["c.txt"]


@pytest.mark.medium
def test_a_reader_sees_all_of_a_file_or_none(tmp_path):
    path, seen, stop = tmp_path / "file", [], threading.Event()
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


@pytest.mark.parametrize("step", ["fsync", "replace"])
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


def test_a_file_where_a_folder_should_be_is_reported(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskFullError, match="Not a directory"):
        write_atomic(tmp_path / "file" / "inner" / "deep", b"x")


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ESTALE"])
def test_what_the_disk_refuses_is_a_full_disk(code):
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
    journal.write_bytes(b"complete\n" + torn)
    append_line(journal, "next")
    assert journal.read_bytes() == b"complete\n" + torn + (b"\nnext\n" if torn else b"next\n")


def test_a_file_that_is_written_in_pieces_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "folder" / "file"
    with atomic_file(path) as file:
        file.write(b"one ")
        assert not path.exists()
        file.write(b"two")
    assert path.read_bytes() == b"one two"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [RuntimeError("ours"), KeyboardInterrupt()])
def test_a_file_whose_writer_fails_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_may_be_written_without_waiting_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("waited"))
    with atomic_file(tmp_path / "one", sync=False) as file:
        file.write(b"x")
    write_atomic(tmp_path / "two", "x", sync=False)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == b"x"


def test_a_very_long_name_still_has_room_for_a_temporary_one(tmp_path):
    path = tmp_path / ("n" * 250)
    write_atomic(path, b"x")
    with atomic_path(path) as beside:
        beside.write_bytes(b"y")
    assert path.read_bytes() == b"y"
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_takes_the_place_of_what_was_there_when_it_is_made(tmp_path):
    (tmp_path / "target").write_bytes(b"x")
    path = tmp_path / "folder" / "link"
    for _ in range(2):
        with atomic_path(path) as beside:
            assert (beside.parent, beside.name[0], beside.exists()) == (path.parent, ".", False)
            beside.symlink_to(tmp_path / "target")
    assert path.is_symlink()
    assert path.read_bytes() == b"x"
    assert os.listdir(path.parent) == ["link"]


def test_two_that_write_one_file_do_not_meet_and_what_a_killed_run_left_is_removed(tmp_path):
    path = tmp_path / "folder/copy"
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_bytes(b"first")
        other.write_bytes(b"second")
    assert path.read_bytes() == b"first", "the last that ended"
    one.write_bytes(b"half")
    remove_parts(tmp_path)
    assert os.listdir(path.parent) == ["copy"]


def test_of_a_copy_that_fails_nothing_is_left(tmp_path):
    path = tmp_path / "copy"
    path.write_bytes(b"old")

    def copy_half():
        with atomic_path(path) as beside:
            beside.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(OSError, match="no room"):
        copy_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["copy"]


HOLDER = """
import sys, time
from pathlib import Path
from srcache.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("given", [{}, {"doing": "trained"}])
def test_a_lock_says_what_is_being_done_and_by_whom_and_dies_with_its_process(tmp_path, given):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        words = f"is being {given.get('doing', 'filled')} by process {holder.pid}; wait for it, or stop it"
        with pytest.raises(BusyError, match=words), lock(tmp_path, **given):
            pytest.fail("two held one lock")
        holder.kill()
    with lock(tmp_path, **given):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_lock_is_free_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError), lock(tmp_path):
            raise RuntimeError
    with pytest.raises(FileNotFoundError), lock(tmp_path / "none"):
        pass


SHARER = HOLDER.replace("lock(Path(sys.argv[1]))", "lock(Path(sys.argv[1]), shared=True) as alone").replace(
    '"held"', '"alone" if alone else "together"'
)


def test_a_lock_is_shared_and_keeps_out_those_who_do_not_share_it(tmp_path):
    command = [sys.executable, "-c", SHARER, str(tmp_path)]
    with ExitStack() as stack:
        sharers = []
        for expected in ("alone\n", "together\n"):
            sharers.append(stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
            stack.callback(sharers[-1].kill)
            assert sharers[-1].stdout.readline() == expected
        pids = ", ".join(str(pid) for pid in sorted(sharer.pid for sharer in sharers))
        with pytest.raises(BusyError, match=f"is being filled by process {pids}; wait for it"), lock(tmp_path):
            pytest.fail("it is held")
        sharers[0].kill()
        sharers[0].wait()
        with (
            pytest.raises(BusyError, match=f"by process {sharers[1].pid}; wait"),
            lock(tmp_path),
        ):
            pytest.fail("it is held")
        with lock(tmp_path, shared=True) as alone:
            assert not alone
        sharers[1].kill()
        sharers[1].wait()
    with lock(tmp_path), pytest.raises(BusyError, match=f"process {os.getpid()}"), lock(tmp_path, shared=True):
        pytest.fail("it is held")
    with lock(tmp_path, shared=True) as alone:
        assert alone


@pytest.mark.parametrize("shared", [True, False])
def test_where_there_are_no_locks_nobody_is_kept_out(tmp_path, monkeypatch, shared):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(tmp_path, shared=shared), lock(tmp_path, shared=shared), brief_lock(tmp_path):
        pass

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"), lock(tmp_path, shared=shared):
        pass


def test_a_brief_lock_waits_for_whoever_holds_it(tmp_path):
    held, order = threading.Event(), []

    def hold():
        with brief_lock(tmp_path):
            held.set()
            time.sleep(0.1)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with brief_lock(tmp_path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert os.listdir(tmp_path) == []


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "one", b"x" * 100)
    write_atomic(tmp_path / "a" / "two", b"x" * 20)
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nowhere")
    link = (tmp_path / "a" / "gone").lstat().st_size
    assert size_of(tmp_path / "a") == 120 + link
    assert size_of(tmp_path / "a" / "two") == 20
    assert size_of(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({"SRCACHE_HOME": "/s", "XDG_CACHE_HOME": "/x"}, "/s"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/srcache"),
        ({"XDG_CACHE_HOME": ""}, "/home/me/.cache/srcache"),
        ({}, "/home/me/.cache/srcache"),
    ],
)
def test_a_users_folder_is_where_the_environment_puts_it(monkeypatch, set_to, expected):
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("SRCACHE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    assert user_folder() == Path(expected)


def test_a_text_that_cannot_be_read_says_what_it_should_have_been(tmp_path):
    (tmp_path / "good").write_text("größer", encoding="utf-8")
    (tmp_path / "latin").write_bytes("größer".encode("latin-1"))
    assert read_text(tmp_path / "good", "recipe") == "größer"
    with pytest.raises(RecipeError, match=r"^recipe .*none cannot be read: .*No such file"):
        read_text(tmp_path / "none", "recipe", RecipeError)
    with pytest.raises(ConfigError, match=r"^manifest .*latin cannot be read: .*decode"):
        read_text(tmp_path / "latin", "manifest")


def test_a_mapping_is_read_as_yaml_has_it():
    assert yaml_mapping("a: 1\n2: [x, y]\n", "file.yaml") == {"a": 1, 2: ["x", "y"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "^file.yaml is not YAML: "),
        ("a: b: c", "^file.yaml is not YAML: "),
        ("!!python/object:os.system {}", "^file.yaml is not YAML: "),
        ("- a\n", "^file.yaml must be a YAML mapping of fields$"),
        ("", "^file.yaml must be a YAML mapping of fields$"),
        ("text", "^file.yaml must be a YAML mapping of fields$"),
    ],
)
def test_what_is_no_mapping_is_refused_with_where_it_is_from(text, words):
    with pytest.raises(CatalogError, match=words):
        yaml_mapping(text, "file.yaml", " of fields", CatalogError)


@pytest.mark.parametrize("folder", ["recipes", "weights", "experiments"])
def test_shipped_texts_are_named_sorted_and_mappings(folder):
    texts = shipped_texts(folder)
    assert texts
    assert list(texts) == sorted(texts)
    assert not any(name.endswith(".yaml") for name in texts)
    assert all(yaml_mapping(text, name) for name, text in texts.items())


def test_what_is_damaged_is_kept_beside_its_place_under_a_name_of_its_own(tmp_path):
    names = {damaged_path(tmp_path / "data.lmdb").name for _ in range(20)}
    assert len(names) > 1
    assert all(re.fullmatch(r"data\.lmdb\.damaged-\d{8}T\d{6}Z-[0-9a-f]{4}", name) for name in names)


def test_a_folder_is_synced_and_a_missing_one_is_an_error(tmp_path):
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")


# --- CSV ---


CELLS = st.one_of(st.text(), st.text(",\"\n '\t;a"), st.integers(), st.floats(), st.none(), st.booleans())


def pythons(rows: list[list[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


@given(st.lists(st.lists(CELLS, min_size=1)))
def test_it_writes_what_python_writes_where_no_carriage_return_is(rows: list[list[object]]) -> None:
    plain = [[cell.replace("\r", "") if isinstance(cell, str) else cell for cell in row] for row in rows]
    assert csv_text(plain) == pythons(plain)


@given(st.lists(st.lists(st.text('\r\n,"a é') | st.text(st.characters(exclude_characters="\0")), min_size=1)))
def test_every_text_comes_back(rows: list[list[str]]) -> None:
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""), strict=True)) == rows


def test_nothing_else_writes_csv() -> None:
    sources = (path for folder in ("srcache", "cli", "plugins") for path in (ROOT / folder).rglob("*.py"))
    used = [path for path in sources if any(call in path.read_text() for call in ("csv.writer(", "csv.DictWriter("))]
    assert [path.relative_to(ROOT).as_posix() for path in used] == [], "files.csv_text is the one writer"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_are_written_under_the_users_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "inner/file", "x")
        with lock(tmp_path):
            pass
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("inner/file", "lock")} == {mode}


def test_the_longest_name_of_a_file_leaves_room_for_one_beside_it(tmp_path):
    write_atomic(tmp_path / ("ü" * 127), "x")
    assert [path.name for path in tmp_path.iterdir()] == ["ü" * 127]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    read, write = os.pipe()
    (tmp_path / "pipe").symlink_to(f"/dev/fd/{write}")
    write_atomic(tmp_path / "pipe", "all of it")
    os.close(write)
    with open(read) as file:
        assert file.read() == "all of it"
    assert (tmp_path / "pipe").is_symlink()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo("odd")
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("odd")
    with pytest.raises(DiskFullError, match=r"odd is a socket, or a pipe that nobody reads, .*start its reader first"):
        write_atomic(Path("odd"), "x")
    assert [path.name for path in tmp_path.iterdir()] == ["odd"]


def test_a_folder_is_made_or_it_is_said_why_not(tmp_path):
    make_folder(tmp_path / "a/b")
    make_folder(tmp_path / "a/b")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/x", Path("/proc/self/x/y"), tmp_path / ("x" * 300)):
        with pytest.raises(DiskFullError, match=r"could not be written .*choose another place"):
            make_folder(place)


def test_the_users_folder_stays_where_it_was_when_the_process_changes_its_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    for variable, value, folder in (
        ("SRCACHE_HOME", f"mine-{tmp_path.name}", f"mine-{tmp_path.name}"),
        ("XDG_CACHE_HOME", f"cache-{tmp_path.name}", f"cache-{tmp_path.name}/srcache"),
    ):
        monkeypatch.delenv("SRCACHE_HOME", raising=False)
        monkeypatch.setenv(variable, value)
        monkeypatch.chdir(tmp_path)
        assert user_folder() == tmp_path / folder
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert user_folder() == tmp_path / folder
