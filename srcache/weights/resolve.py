"""What a recipe says about weights, and whether they are here: a checkpoint, or a bundle."""

import os
import warnings
from pathlib import Path

from srcache.errors import WeightsError
from srcache.weights.bundle import find_bundle, is_made, locate
from srcache.weights.checkpoint import adopt, find, is_digest, weights_folder
from srcache.weights.digests import read_weights_record
from srcache.weights.manifest import shipped_manifests


def resolve_weights(text: str, beside: Path) -> str:
    """What a recipe says about weights → a digest.

    A digest stays. A bundle's name, or a manifest's file, is located; a checkpoint's file is adopted. Files are
    relative to `beside`. A warning names what was left out of a checkpoint.

    Raises:
        ConfigError: mistakes in the manifest.
        WeightsError: there is no such file, it is no checkpoint, or files of the bundle are missing.
        DamagedError: a file of the bundle is not what it should be.
    """
    if is_digest(text):
        return text
    if text in shipped_manifests():
        return locate(text)
    path = Path(os.path.expanduser(text))
    path = path if path.is_absolute() else beside / path
    if not path.is_file():
        raise WeightsError(
            "weights are a SHA-256, a bundle's name, or the file of a checkpoint or a manifest, "
            f"but {text!r} is none of them ({path} is no file; bundles: {', '.join(shipped_manifests()) or 'none'})"
        )
    return locate(path) if path.suffix.lower() in {".yaml", ".yml"} else adopt(path, _warn)


def _warn(line: str) -> None:
    """Name what was left out of a checkpoint, as `srcache models convert` does."""
    warnings.warn(line, stacklevel=4)


def require_weights(digest: str, engine: str) -> None:
    """Refuse to go on without the checkpoint or bundle that a digest names, or with a bundle for another engine.

    Raises:
        WeightsError: it is not on this machine, or is for another engine.
        DamagedError: its bytes are not what they were.
    """
    if (weights_folder() / f"{digest}.safetensors").is_file():
        find(digest)
        return
    record = read_weights_record(digest)
    if record is None and not is_made(digest):
        find(digest)
    if record and record.engine not in (None, engine):
        raise WeightsError(f"weights {record.name} are for engine {record.engine}, but the recipe's is {engine}")
    find_bundle(digest)
