"""Bundles that nobody publishes: an engine makes their files on the spot, and they are checked like others.

The engine's class has a static method `make_weights(name, folder)`, which writes the files of the manifest `name` under
a folder. They are made beside their place and renamed into it, so that they are there as a whole or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srcache.engine import find_engine
from srcache.errors import WeightsError, listed
from srcache.files import disk_errors
from srcache.weights.manifests import Manifest, Part
from srcache.weights.places import made_folder
from srcache.weights.records import file_digest

Say = Callable[[str], None]
"""Is told, in a few words, what is being done now."""


def make(manifest: Manifest, say: Say | None) -> None:
    """Let engines make the files that nobody publishes, if they are not here or not whole."""
    folder = made_folder(manifest)
    parts = [part for part in manifest.parts if part.source.made_by]
    if _are_whole(parts, folder):
        return
    if say:
        say(f"making {manifest.name}")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
            made = Path(work) / folder.name
            for engine in sorted({str(part.source.made_by) for part in parts}):
                made.mkdir(exist_ok=True)
                _maker(engine)(manifest.name, made)
            _require_made(parts, made)
            if not _are_whole(parts, folder):  # else another process made them in the meantime
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(made, folder)


def _maker(engine: str) -> Any:
    make = getattr(find_engine(engine), "make_weights", None)
    if make is None:
        raise WeightsError(f"engine {engine} should make these weights, but has no make_weights; update its package")
    return make


def _are_whole(parts: Sequence[Part], folder: Path) -> bool:
    return all(_is_whole(folder / part.path, part) for part in parts)


def _is_whole(path: Path, part: Part) -> bool:
    return path.is_file() and part.sha256 in (None, file_digest(path))


def _require_made(parts: Sequence[Part], folder: Path) -> None:
    wrong = [part for part in parts if not _is_whole(folder / part.path, part)]
    if wrong:
        states = listed([f"{part.path} ({_state(folder / part.path)})" for part in wrong])
        raise WeightsError(f"engine {wrong[0].source.made_by} made other files than the manifest says: {states}")


def _state(path: Path) -> str:
    return f"SHA-256 {file_digest(path)}" if path.is_file() else "missing"
