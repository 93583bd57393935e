"""What splits, LR copies and crops have in common: twice the same as once, interrupted or not, in any order."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from prepare_commands import COMMANDS, Command, contents, images

import srcache.study.prepare.run
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError, DiskFullError, ImageError
from srcache.study.prepare.crops import CropSettings, make_crops
from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.run import ImageOutcome, is_written, process_images, write_file


def test_names_that_would_be_one_are_refused(photos: Path, tmp_path: Path) -> None:
    for name in ("moss0.bmp", "moss0.png.png"):
        Image.open(photos / "moss/moss0.png").save(photos / "moss" / name)
    for act in (
        lambda: make_lr(photos, tmp_path / "lr", 2),
        lambda: make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=8, factor=2)),
    ):
        with pytest.raises(CatalogError, match=r"equal without their suffixes.*moss/moss0\.png, moss/moss0\.png\.png"):
            act()
    assert not (tmp_path / "lr").exists()


@COMMANDS
def test_twice_is_once(photos: Path, tmp_path: Path, command: Command) -> None:
    first = command(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    stamps = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before}
    second = command(photos, tmp_path / "out")
    assert (second.written, second.kept) == (0, first.written)
    assert contents(tmp_path / "out") == before
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before} == stamps
    assert second.counts == first.counts


@COMMANDS
def test_an_interrupted_run_is_completed(photos: Path, tmp_path: Path, command: Command) -> None:
    first = command(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    lost = sorted(images(tmp_path / "out"))[::3]
    for name in lost:
        (tmp_path / "out" / name).unlink()
    emptied = sorted(images(tmp_path / "out"))[0]
    (tmp_path / "out" / emptied).write_bytes(b"")
    again = command(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert again.written >= len(lost) + 1
    assert again.written + again.kept == first.written


@COMMANDS
def test_a_run_that_was_stopped_leaves_only_complete_files(photos: Path, tmp_path: Path, command: Command) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command(photos, tmp_path / "out", progress=stop)
    command(photos, tmp_path / "out")
    command(photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@COMMANDS
def test_a_disk_that_is_full(photos: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.replace, Counter[str]()

    def full(part: Path, path: Path) -> None:
        if Path(path).suffix in (".png", ".jpg"):
            calls["images"] += 1
            if calls["images"] > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(part, path)

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(srcache.study.prepare.run, "_WORKERS", 2)  # so that four files are a pair of crops at least
    with pytest.raises(DiskFullError, match="No space left on device"):
        command(photos, tmp_path / "out")
    monkeypatch.undo()
    done = command(photos, tmp_path / "out")
    assert done.kept > 0
    command(photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh"), "and no litter is left"


@COMMANDS
def test_threads_and_order_do_not_change_a_byte(
    photos: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(photos, tmp_path / "one")
    catalog = scan(photos)
    turned = Catalog(rows=catalog.rows[::-1], classes=catalog.classes, root=catalog.root)
    monkeypatch.setattr(srcache.study.prepare.run, "_WORKERS", 1)
    command(turned, tmp_path / "two")
    assert images(tmp_path / "one") == images(tmp_path / "two")


@COMMANDS
def test_progress(photos: Path, tmp_path: Path, command: Command) -> None:
    seen: list[tuple[int, int]] = []
    command(photos, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_a_name_that_gets_too_long_is_a_failure(photos: Path, tmp_path: Path) -> None:
    long = "x" * 250 + ".png"
    shutil.copy(photos / "moss/moss0.png", photos / "moss" / long)
    done = make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=16, per_image=1))
    assert [(problem.name, problem.reason) for problem in done.failures] == [(f"moss/{long}", "bad_name")]
    assert make_lr(photos, tmp_path / "half", 2).failures == ()


SLOWLY = """
import os, sys, time
from srcache.study.prepare.lr import make_lr
replace = os.replace
def slow(part, path):
    time.sleep(0.03)
    replace(part, path)
os.replace = slow
make_lr(sys.argv[1], sys.argv[2], 2)
"""


@pytest.mark.medium
def test_a_killed_run_is_completed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = subprocess.Popen([sys.executable, "-c", SLOWLY, str(photos), str(out)])
    while not list(out.rglob("[!.]*.png")) and child.poll() is None:
        time.sleep(0.005)
    assert child.poll() is None, "it is killed while it works"
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = list(out.rglob("[!.]*.png"))
    assert 0 < len(left) < 12
    for path in left:
        Image.open(path).load()
    done = make_lr(photos, out, 2)
    assert (done.kept, done.written) == (len(left), 12 - len(left))
    make_lr(photos, tmp_path / "fresh", 2)
    assert images(out) == images(tmp_path / "fresh"), "and nothing of the killed run is left"


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep/a.png"
    write_file(path, b"old")

    def torn(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", torn)
    with pytest.raises(DiskFullError, match=r"deep/a\.png could not be written"):
        write_file(path, b"new")
    monkeypatch.undo()
    assert contents(tmp_path) == {"deep/a.png": b"old"}
    write_file(path, b"new")
    assert contents(tmp_path) == {"deep/a.png": b"new"}


def test_an_empty_file_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_bytes(b"x")
    assert [is_written(tmp_path / name) for name in ("empty", "full", "none", ".")] == [False, True, False, False]


def test_failures_are_counted_by_reason_and_other_errors_end_the_run(photos: Path) -> None:
    def work(index: int) -> ImageOutcome:
        if index == 3:
            raise ImageError("odd", "it is the third")
        if index == 5:
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        return ImageOutcome(written=2, kept=1)

    done = process_images(scan(photos), (photos,), work, None)
    assert (done.written, done.kept, done.failed) == (20, 10, {"bad_name": 1, "odd": 1})
    assert [problem.name for problem in done.failures] == ["bark/bark3.jpg", "gravel/gravel1.png"]
    with pytest.raises(ZeroDivisionError):
        process_images(scan(photos), (photos,), lambda index: ImageOutcome(written=1 // index), None)
