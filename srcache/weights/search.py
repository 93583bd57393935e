"""Where a bundle's files are on this machine, by their names alone; nothing is read here.

Looked at in this order: folders that the caller gives, what was recorded earlier, the folders of SRCACHE_WEIGHTS
(parted as in PATH), the Hugging Face hub's cache. A person who gives a folder means it, so it wins over the record;
without one the record wins, so that a name goes on meaning the same files when another copy turns up.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from srcache.files import first_meaning
from srcache.weights.checkpoint import weights_folder
from srcache.weights.digests import RecordedFile, recorded_parts
from srcache.weights.hub import in_cache
from srcache.weights.manifest import BundlePart, Manifest

VARIABLE = "SRCACHE_WEIGHTS"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """The file that was found for a part, and where; `kept` is what was recorded of it, if it was."""

    part: BundlePart
    path: Path
    origin: str
    kept: RecordedFile | None = None


def search(manifest: Manifest, folders: Sequence[Path] = ()) -> dict[str, FoundFile | None]:
    """Every part of a bundle, found or not."""
    known = recorded_parts(manifest.key)
    of_environment = [first_meaning(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    made = made_folder(manifest)
    return {
        part.name: _find_made(part, made)
        if part.source.made_by
        else _find_published(part, folders, known.get(part.identity), of_environment)
        for part in manifest.parts
    }


def made_folder(manifest: Manifest) -> Path:
    """Where an engine makes the files that nobody publishes."""
    return weights_folder() / "made" / manifest.key


def candidates(part: BundlePart, folder: Path) -> Iterator[Path]:
    """Where a part's file may lie in a folder that a person has.

    A source's folder `preset/models/DAPE` is looked for as it is, then as `models/DAPE` and `DAPE`; and it may be the
    folder given, if that is called so. A folder of another name is never searched for `unet/…`, of which every
    diffusion model has one.
    """
    for inside in part.source.folders:
        steps = PurePosixPath(inside).parts
        for start in range(max(1, len(steps))):
            yield folder.joinpath(*steps[start:], part.path)
        if steps and folder.absolute().name == steps[-1]:
            yield folder / part.path


def _find_published(
    part: BundlePart, folders: Sequence[Path], kept: RecordedFile | None, of_environment: Sequence[Path]
) -> FoundFile | None:
    if given := _in_folders(part, folders):
        return given
    if kept and kept.path.is_file() and part.sha256 in (None, kept.sha256):
        return FoundFile(part, kept.path, kept.origin, kept)
    if there := _in_folders(part, of_environment):
        return there
    cached = in_cache(part)
    return FoundFile(part, *cached) if cached else None


def _find_made(part: BundlePart, folder: Path) -> FoundFile | None:
    path = folder / part.path
    return FoundFile(part, path, f"made by {part.source.made_by}") if path.is_file() else None


def _in_folders(part: BundlePart, folders: Sequence[Path]) -> FoundFile | None:
    for folder in folders:
        for path in candidates(part, folder):
            if path.is_file():
                return FoundFile(part, path.absolute(), str(folder.absolute()))
    return None
