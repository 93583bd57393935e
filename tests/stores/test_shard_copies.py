"""Copies of objects on this machine: bounded, shared by processes, the oldest deleted."""

import os
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from srcache.errors import ConfigError, MachineError
from srcache.files.objects import ObjectFolder, object_folder
from srcache.stores.shard_copies import Copies


@pytest.fixture
def objects() -> ObjectFolder:
    """Ten objects of a thousand bytes."""
    found = object_folder(f"memory://copies-{uuid4().hex[:8]}/x")
    for number in range(10):
        found.put(f"{number}.tar", bytes([number]) * 1000)
    return found


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SRCACHE_CACHE_BYTES", "3500")
    return Copies("some")


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "home/objects").glob("*/*.tar"))


def bring(copies: Copies, objects: ObjectFolder, number: int) -> Path:
    path = copies.bring(objects, f"{number}.tar", f"{number}.tar", 1000)
    time.sleep(0.01)  # a tick of the file system's clock
    return path


def test_the_oldest_copies_make_room(copies: Copies, objects: ObjectFolder, tmp_path: Path) -> None:
    for number in range(3):
        assert bring(copies, objects, number).read_bytes() == bytes([number]) * 1000
    assert copies.there("0.tar") is not None, "this makes it the youngest"
    bring(copies, objects, 3)
    assert kept(tmp_path) == ["0.tar", "2.tar", "3.tar"]
    assert copies.there("1.tar") is None
    other = Copies("another")
    bring(other, objects, 4)
    assert len(kept(tmp_path)) == 3, "the bound is for all folders together"


def test_a_copy_is_fetched_once_by_many_threads(copies: Copies, objects: ObjectFolder) -> None:
    fetched, fetch = list[str](), objects.fetch

    def slowly(name: str, path: Path) -> None:
        fetched.append(name)
        time.sleep(0.2)
        fetch(name, path)

    objects.fetch = slowly  # type: ignore[method-assign]
    threads = [threading.Thread(target=bring, args=(copies, objects, 1)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == ["1.tar"]


def test_a_copy_of_another_size_is_fetched_anew(copies: Copies, objects: ObjectFolder) -> None:
    bring(copies, objects, 1).write_bytes(b"short")
    assert bring(copies, objects, 1).read_bytes() == b"\x01" * 1000
    with pytest.raises(MachineError, match="came cut off"):
        copies.bring(objects, "2.tar", "2.tar", 2000)
    assert copies.there("2.tar") is None


def test_an_uploaded_file_is_moved_where_it_fits(copies: Copies, tmp_path: Path) -> None:
    small, large = tmp_path / "small.tar", tmp_path / "large.tar"
    small.write_bytes(b"1" * 100)
    large.write_bytes(b"2" * 9000)
    copies.take(small, "small.tar")
    copies.take(large, "large.tar")
    assert kept(tmp_path) == ["small.tar"]
    assert not small.exists()
    assert not large.exists()
    assert copies.drop("small.tar")
    assert not copies.drop("small.tar")


def test_what_was_abandoned_is_deleted(copies: Copies, objects: ObjectFolder, tmp_path: Path) -> None:
    left = bring(copies, objects, 1).with_name(".half.part")
    left.write_bytes(b"1")
    fresh = left.with_name(".other.part")
    fresh.write_bytes(b"1")
    os.utime(left, (1, 1))
    bring(copies, objects, 2)
    assert not left.exists()
    assert fresh.exists()
    with copies.scratch("x.tar") as path:
        path.write_bytes(b"1")
    assert not path.exists()


@pytest.mark.parametrize(("said", "bytes_"), [("2G", 2 << 30), ("0", 0), (" 10kB ", 10 << 10)])
def test_the_bound_is_said_by_the_environment(
    copies: Copies, monkeypatch: pytest.MonkeyPatch, said: str, bytes_: int
) -> None:
    monkeypatch.setenv("SRCACHE_CACHE_BYTES", said)
    assert copies.limit() == bytes_


def test_without_a_word_it_is_at_most_half_of_what_is_free(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRCACHE_CACHE_BYTES")
    assert 0 < copies.limit() <= 50 << 30
    monkeypatch.setenv("SRCACHE_CACHE_BYTES", "many")
    with pytest.raises(ConfigError, match="SRCACHE_CACHE_BYTES must be a number of bytes, such as 200G, but is 'many'"):
        copies.limit()
