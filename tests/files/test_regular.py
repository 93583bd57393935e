"""Pipes, sockets and devices are refused in words, at once."""

import os
import socket
from pathlib import Path

import pytest

from srcache.files.regular import open_regular, read_regular, regular_status

DEVICE = Path("/dev/zero")


@pytest.fixture(params=["pipe", "socket", "device"])
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A link to something that is no regular file, and what it is called."""
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "odd"
    if request.param == "pipe":
        os.mkfifo(target)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("odd")
    else:
        target = DEVICE
    (tmp_path / "link.png").symlink_to(target)
    return tmp_path / "link.png", request.param


@pytest.mark.parametrize("use", [regular_status, open_regular, read_regular])
def test_what_is_no_regular_file_is_refused(odd: tuple[Path, str], use: object) -> None:
    path, what = odd
    with pytest.raises(OSError, match=f"it is a {what}, not a regular file"):
        use(path)  # type: ignore[operator]


def test_a_regular_file_is_read_as_ever_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b") == b"bytes"
    with open_regular(tmp_path / "a") as file:
        assert file.read(3) == b"byt"
        assert file.seek(0) == 0
    assert regular_status(tmp_path / "b").st_size == 5


def test_what_cannot_be_read_at_all_raises_as_ever(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        read_regular(tmp_path)
    (tmp_path / "nowhere").symlink_to("none")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nowhere")


def test_one_that_becomes_a_pipe_meanwhile_is_refused_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("srcache.files.regular.regular_status", lambda path: None)
    with pytest.raises(OSError, match="it is a pipe"):
        open_regular(tmp_path / "pipe")
