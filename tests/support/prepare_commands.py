"""The commands of `srcache prepare` in one form, for tests of what they have in common; and what their folders hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srcache.catalog.rows import Catalog
from srcache.progress import Progress
from srcache.study.prepare.claim import MARKER
from srcache.study.prepare.crops import CropSettings, make_crops
from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.run import Prepared
from srcache.study.prepare.split import make_split


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images(folder: Path) -> dict[str, bytes]:
    found = contents(folder)
    del found[MARKER]
    return found


Command = Callable[..., Prepared]


def do_split(src: Path | Catalog, out: Path, **more: Any) -> Prepared:
    return make_split(src, out, **{"ratios": (0.5, 0.25, 0.25), **more})


def do_lr(src: Path | Catalog, out: Path, **more: Any) -> Prepared:
    return make_lr(src, out, **{"factor": 2, **more})


def do_crops(src: Path | Catalog, out: Path, progress: Progress | None = None, **more: Any) -> Prepared:
    squares = CropSettings(**{"size": 16, "factor": 2, "per_image": 3, **more})
    return make_crops(src, out, out.with_name(f"{out.name}-lr"), squares, progress)


COMMANDS = pytest.mark.parametrize("command", [do_split, do_lr, do_crops])
