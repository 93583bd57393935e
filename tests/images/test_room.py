"""Threads that decode large images share a budget of bytes; nobody waits for ever, and memory that runs out is told."""

import io
import os
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from image_files import saved
from PIL import Image

from srcache.errors import ConfigError, ImageError
from srcache.images import decode, one_image
from srcache.images import room as rooms
from srcache.images.opening import pixels_ahead


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A budget of 100 bytes, for which even the smallest image counts."""
    rooms._USE.forget()
    monkeypatch.setattr(rooms, "SMALL", 1)
    monkeypatch.setenv("SRCACHE_DECODE_MEMORY", "100")
    yield
    rooms._USE.forget()


def test_threads_take_no_more_than_the_budget_together(tight: None) -> None:
    most, now, lock = 0, 0, threading.Lock()

    def use(pixels: int) -> None:
        nonlocal most, now
        with rooms.room(pixels, 1):
            with lock:
                now += pixels
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [40, 30, 20, 60, 99, 10, 100] * 6))
    assert 50 < most <= 100


def test_one_image_may_always_be_decoded_however_large(tight: None) -> None:
    with rooms.room(1000, 24):
        assert rooms._USE.active == 24_000
    assert rooms._USE.active == 0
    assert decode(saved(Image.new("RGB", (20, 20)), "PNG")).shape == (20, 20, 3)


def test_what_was_decoded_counts_until_the_last_view_of_it_is_gone(tight: None) -> None:
    rgb = rooms.kept(np.zeros((5, 5, 3), np.uint8))
    view = rgb[1:, ::-1]
    del rgb
    with rooms.room(1, 1):
        assert rooms._USE.held.total() == 200
    del view
    with rooms.room(1, 1):
        assert rooms._USE.held.total() == 0


def test_who_has_an_image_in_hand_waits_for_no_other_and_others_only_for_a_moment(
    tight: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_PATIENCE", 60)
    rgb = rooms.kept(np.zeros((2, 3, 3), np.uint8))
    with rooms.room(90, 1):
        pass
    waited = threading.Thread(target=lambda: rooms._USE.enter(90), daemon=True)
    waited.start()
    waited.join(0.05)
    assert waited.is_alive()
    del rgb
    waited.join(10)
    assert not waited.is_alive()
    rooms._USE.leave(90)
    kept = rooms.kept(np.zeros((2, 3, 3), np.uint8))
    monkeypatch.setattr(rooms, "_PATIENCE", 0.02)
    hasty = threading.Thread(target=lambda: rooms._USE.enter(90), daemon=True)
    hasty.start()
    hasty.join(10)
    assert not hasty.is_alive(), f"{kept.nbytes} bytes that nobody lets go stop no other image"


def test_a_forked_process_begins_anew(tight: None) -> None:
    with rooms.room(90, 1):
        child = os.fork()
        if not child:
            os._exit(rooms._USE.active or rooms._USE.held.total())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert rooms._USE.active == 90


def test_the_budget_is_a_quarter_of_the_memory_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRCACHE_DECODE_MEMORY", raising=False)
    assert rooms.budget() == rooms.usable_memory() // 4
    monkeypatch.setenv("SRCACHE_DECODE_MEMORY", "12345")
    assert rooms.budget() == 12345
    for wrong in ("0", "much", "-1", ""):
        monkeypatch.setenv("SRCACHE_DECODE_MEMORY", wrong)
        with pytest.raises(ConfigError, match=f"a positive number of bytes, but is {wrong!r}"):
            rooms.budget()


def test_memory_that_runs_out_is_one_images_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="does not fit") as caught, one_image():
        raise MemoryError
    assert caught.value.reason == "out_of_memory"

    def no_memory(*_: object) -> None:
        raise MemoryError

    data = saved(Image.new("LA", (4, 4)), "PNG")
    monkeypatch.setattr(Image.Image, "load", no_memory)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == "out_of_memory"


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_pixels_that_opening_takes_are_known_before(options: dict[str, object]) -> None:
    assert pixels_ahead(saved(Image.new("RGB", (37, 21)), "WEBP", **options)) == 37 * 21
    assert pixels_ahead(saved(Image.new("RGBA", (48, 48)), "ICO", sizes=[(48, 48), (16, 16)])) == 48 * 48
    assert pixels_ahead(saved(Image.new("RGB", (37, 21)), "PNG")) == 0


def bomb(side: int) -> bytes:
    """A PNG of few bytes and many pixels, of one bit each."""
    rows = zlib.compress(bytes((1 + (side + 7) // 8) * side), 9)
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    for name, body in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")):
        out.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return out.getvalue()


def cut_jpeg(side: int) -> bytes:
    """A progressive JPEG of some hundred bytes that says it has many pixels."""
    data = saved(Image.new("RGB", (16, 16), (90, 120, 30)), "JPEG", progressive=True)
    return re.sub(rb"(\xff\xc2\0\x11\x08)....", lambda found: found[1] + struct.pack(">HH", side, side), data, count=1)


@pytest.mark.slow
def test_twice_as_many_threads_as_cores_keep_to_the_budget(tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    for number in range(4 * (os.cpu_count() or 1)):
        data = bomb(9990) if number % 2 else cut_jpeg(9990)
        assert len(data) < 20_000
        (tmp_path / f"hr/{number:03d}.{'png' if number % 2 else 'jpg'}").write_bytes(data + bytes([number]))
    line = f"prepare lr {tmp_path}/hr {tmp_path}/lr --factor 8"
    program = (
        "import resource, sys; from srcache_cli.main import run; "
        "code = run(sys.argv[1:]); print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    most = 2500
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()],
        env={**os.environ, "SRCACHE_DECODE_MEMORY": str(most << 20)},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    code, peak = map(int, done.stdout.split()[-2:])
    assert code == 0, done.stderr
    assert peak < most + 300, f"{peak} MiB"
