"""Pipes and devices under the names of images, tables, settings and weights: every command ends, in words."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from command_lines import Printed
from image_files import saved
from PIL import Image

from srcache.catalog import from_dataset


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, and a pipe that nobody writes to, to which links of many names lead."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(saved(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG"))
    for name in ("photos/b.png", "list.csv", "options.yaml", "recipe.yaml", "weights.safetensors", "weights.pth"):
        (tmp_path / name).symlink_to(tmp_path / "pipe")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    return tmp_path


LINES = {
    "build photos --cache cache --recipe bicubic --device cpu": (0, ""),
    "build list.csv --cache cache --recipe bicubic": (2, "list.csv is another kind of file"),
    "build photos --cache cache --recipe recipe.yaml": (2, "it is a pipe, not a regular file"),
    "build photos --cache cache --recipe bicubic --config options.yaml": (2, "it is a pipe, not a regular file"),
    "upscale photos/b.png device.png --recipe bicubic --out out": (1, "it is a pipe, not a regular file"),
    "models convert weights.safetensors": (1, "it is a pipe, not a regular file"),
    "models convert weights.pth": (1, "it is a pipe, not a regular file"),
    "eval classifiers list.csv": (2, "it is a pipe, not a regular file"),
}


@pytest.mark.parametrize("line", LINES)
def test_no_command_waits(home: Path, srcache: Callable[..., Printed], line: str) -> None:
    found: list[Printed] = []
    thread = threading.Thread(target=lambda: found.append(srcache(*line.split())), daemon=True)
    thread.start()
    thread.join(60)
    if not found:  # let it go, so that it does not outlive the test
        os.close(os.open(home / "pipe", os.O_RDWR | os.O_NONBLOCK))
    code, words = LINES[line]
    assert found, "it waits for the pipe"
    assert found[0].code == code, found[0].err
    assert words in found[0].err


def test_a_data_set_that_lists_a_pipe_is_read_without_it(home: Path) -> None:
    from torchvision.datasets import ImageFolder

    (home / "photos/class").mkdir()
    (home / "photos/a.png").rename(home / "photos/class/a.png")
    (home / "photos/class/pipe.png").symlink_to(home / "pipe")
    catalog = from_dataset(ImageFolder(home / "photos"))
    assert [row.name for row in catalog.rows] == ["class/a.png"]
    assert "it is a pipe" in catalog.problems[0].detail
