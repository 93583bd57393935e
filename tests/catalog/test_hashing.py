"""Keys that are remembered: a second scan hashes only what changed, and a memo that cannot be used costs only time."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest
from image_trees import MINUTE, csv_of, time_passes, tree, write

import srcache.catalog.hashing
from srcache.catalog.hashing import memo_path
from srcache.catalog.scanning import scan
from srcache.keys import file_key, image_key


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    time_passes(monkeypatch)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were hashed since the list was last emptied."""
    seen: list[str] = []
    real, lock = srcache.catalog.hashing.file_key, threading.Lock()

    def counted(path: Path) -> str:
        with lock:
            seen.append(path.name)
        return real(path)

    monkeypatch.setattr(srcache.catalog.hashing, "file_key", counted)
    return seen


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tree(tmp_path / "old", *(f"{label}/{number}.png" for label in "ab" for number in range(3)))


def touch(root: Path) -> None:
    os.utime(root / "a/1.png", ns=(1, time.time_ns() - MINUTE // 2))


def grow(root: Path) -> None:
    status = (root / "a/1.png").stat()
    (root / "a/1.png").write_bytes(b"longer than it was before" * 9)
    os.utime(root / "a/1.png", ns=(status.st_atime_ns, status.st_mtime_ns))


def edit_in_place(root: Path) -> None:
    """Other bytes of the same length in the same file, and its date put back, as `exiftool -P` does."""
    path = root / "a/1.png"
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(root: Path) -> None:
    """Other bytes of the same length, with the same mtime, in a new file."""
    path = root / "a/1.png"
    status, data = path.stat(), path.read_bytes()
    (root / "a/1.tmp").write_bytes(data[::-1])
    os.utime(root / "a/1.tmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(root / "a/1.tmp", path)


def rename(root: Path) -> None:
    (root / "a/1.png").rename(root / "a/new.png")


def test_a_second_scan_hashes_nothing(old: Path, hashed: list[str]) -> None:
    first = scan(old)
    assert len(hashed) == 6
    hashed.clear()
    assert scan(old) == first
    assert hashed == []


def test_rehash(old: Path, hashed: list[str]) -> None:
    scan(old)
    hashed.clear()
    scan(old, rehash=True)
    assert len(hashed) == 6
    hashed.clear()
    scan(old)
    assert hashed == []


@pytest.mark.parametrize("change", [touch, grow, edit_in_place, replace, rename])
def test_only_what_changed_is_hashed_again(old: Path, hashed: list[str], change: Callable[[Path], None]) -> None:
    scan(old)
    hashed.clear()
    change(old)
    found = scan(old)
    assert hashed == ["new.png" if change is rename else "1.png"]
    assert [row.key for row in found.rows] == [file_key(old / row.name) for row in found.rows]
    hashed.clear()
    scan(old)
    assert hashed == []


def test_a_file_that_was_changed_just_now_is_hashed_again(
    old: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(old)
    monkeypatch.setattr("srcache.catalog.hashing.time_ns", time.time_ns)
    write(old / "a/0.png", b"first", age=10**9)
    write(old / "a/1.png", b"tomorrow", age=-24 * 60 * MINUTE)
    scan(old)
    hashed.clear()
    scan(old)
    assert sorted(hashed) == ["0.png", "1.png"]


def test_a_date_that_was_put_back_is_a_change(old: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcache.catalog.hashing.time_ns", time.time_ns)
    write(old / "a/0.png", b"first", age=MINUTE)
    for _ in range(2):
        hashed.clear()
        scan(old)
        assert "0.png" in hashed


def test_a_memo_of_an_earlier_version_is_not_believed(old: Path, hashed: list[str]) -> None:
    scan(old)
    head, _, body = memo_path(old).read_bytes().partition(b"\n")
    memo_path(old).write_bytes(head.replace(b"memo 2", b"memo 1") + b"\n" + body)
    hashed.clear()
    scan(old)
    assert len(hashed) == 6


def test_a_second_write_in_the_same_tick_is_seen(old: Path) -> None:
    path = write(old / "a/0.png", b"first", age=0)
    tick = path.stat().st_mtime_ns
    scan(old)
    path.write_bytes(b"other")
    os.utime(path, ns=(tick, tick))
    assert scan(old).rows[0].key == image_key(b"other")


def test_forgotten_files_leave_the_memo(old: Path) -> None:
    scan(old)
    before = memo_path(old).stat().st_size
    shutil.rmtree(old / "b")
    scan(old)
    assert memo_path(old).stat().st_size < before * 0.7


def test_a_csv_of_some_does_not_forget_the_others(old: Path, hashed: list[str]) -> None:
    scan(old)
    write(old / "c.png")
    scan(csv_of(old, "path\na/0.png\nc.png\n"))
    (old / "c.png").unlink()
    hashed.clear()
    scan(old)
    assert hashed == []


def test_the_memo_lies_where_the_user_says(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["SRCACHE_HOME"])
    assert memo_path(old).parent == home / "memo"
    assert memo_path(old).stem == blake2b(os.fsencode(old.resolve()), digest_size=16).hexdigest()
    monkeypatch.delenv("SRCACHE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert memo_path(old).parent == tmp_path / "xdg/srcache/memo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert memo_path(old).parent == tmp_path / "me/.cache/srcache/memo"


def test_a_memo_of_ones_own(old: Path, tmp_path: Path, hashed: list[str]) -> None:
    scan(old, memo=tmp_path / "own.json")
    assert not memo_path(old).exists()
    hashed.clear()
    scan(old, memo=tmp_path / "own.json")
    assert hashed == []


def test_a_link_and_its_target_share_a_memo(old: Path, tmp_path: Path, hashed: list[str]) -> None:
    scan(old)
    (tmp_path / "link").symlink_to(old)
    hashed.clear()
    scan(tmp_path / "link")
    assert hashed == []


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_damaged_memo_is_as_good_as_none(old: Path, hashed: list[str], place: float) -> None:
    first = scan(old)
    memo = memo_path(old)
    data = bytearray(memo.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    memo.write_bytes(data)
    hashed.clear()
    assert scan(old) == first
    assert len(hashed) == 6
    hashed.clear()
    scan(old)
    assert hashed == []


@pytest.mark.parametrize("text", [b"", b"{}", b"srcache memo 2 x\n[]", b"\0" * 99])
def test_a_memo_of_another_kind(old: Path, hashed: list[str], text: bytes) -> None:
    write(memo_path(old), text or b" ")
    scan(old)
    assert len(hashed) == 6


def test_a_cache_folder_that_cannot_be_written(
    old: Path, hashed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file", b"x")
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "file"))
    assert scan(old) == scan(old)
    assert len(hashed) == 12


def test_a_memo_that_cannot_be_finished_leaves_no_litter(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(scan(old)) == 6
    assert list(memo_path(old).parent.iterdir()) == []


def test_an_interrupted_scan_goes_on_where_it_was(tmp_path: Path, hashed: list[str]) -> None:
    root = tree(tmp_path / "many", *(f"a/{number:04d}.png" for number in range(600)))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(root, progress=interrupt, workers=1)
    done = len(hashed)
    assert 0 < done <= 600
    assert len(scan(root)) == 600
    assert len(hashed) == 600
