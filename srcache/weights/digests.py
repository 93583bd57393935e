"""Digests of weights, and records of them, so that no later start has to hash gigabytes again.

`$SRCACHE_HOME/weights/bundles/<digest>.json` holds every part's SHA-256, place, size and time of change;
`names/<name>` holds the digest that a name stands for now. A file of the recorded size and times is trusted.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from srcache.errors import DamagedError, WeightsError
from srcache.files import write_atomic
from srcache.files.documents import Shape, parse_json
from srcache.files.folders import paths_in
from srcache.files.regular import open_regular
from srcache.weights.checkpoint import is_digest, weights_folder

_FORMAT = 1
_TEXTS, _NUMBERS = ("sha256", "path", "loads", "origin", "licence", "identity"), ("size", "mtime", "ctime?")
_RECORD: Shape = {
    "format": int,
    "name": str,
    "engine": (str, type(None)),
    "parts": {...: {**dict.fromkeys(_TEXTS, str), **dict.fromkeys(_NUMBERS, int)}},
}
"""What a record holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile:
    """A file of a recorded bundle.

    Attributes:
        sha256: of the file as published.
        path: the file to load: the published one, or its conversion to safetensors.
        loads: SHA-256 of the file to load.
        size, mtime, ctime: of the file to load, in bytes and nanoseconds; records of earlier versions have no ctime.
        origin: a folder, or `owner/name@commit` on the hub.
        identity: see `BundlePart.identity`.
    """

    sha256: str
    path: Path
    loads: str
    size: int
    mtime: int
    origin: str
    licence: str
    identity: str
    ctime: int = 0

    def is_as_recorded(self, state: os.stat_result) -> bool:
        """Whether size and times say that a file was not changed; an edit that keeps the date changes the ctime."""
        same = (state.st_size, state.st_mtime_ns) == (self.size, self.mtime)
        return same and self.ctime in (0, state.st_ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRecord:
    """A bundle on this machine; `name` is the manifest that it was found by."""

    name: str
    engine: str | None
    parts: Mapping[str, RecordedFile]


def records_folder() -> Path:
    """Where the records lie."""
    return weights_folder() / "bundles"


def read_weights_record(digest: str) -> WeightsRecord | None:
    """The record of a bundle, or None if there is none.

    Raises:
        DamagedError: it is there, but cannot be read.
    """
    path = records_folder() / f"{digest}.json"
    if not is_digest(digest) or not path.is_file():
        return None
    try:
        plain = parse_json(path.read_bytes(), _RECORD)
        if plain["format"] != _FORMAT:
            raise ValueError(f"its format is {plain['format']}")
        parts = {name: RecordedFile(**{**one, "path": Path(one["path"])}) for name, one in plain["parts"].items()}
        return WeightsRecord(name=plain["name"], engine=plain["engine"], parts=parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is no record of weights ({error!r}); delete it, and fetch them again") from error


def write_record(digest: str, record: WeightsRecord, key: str | None = None) -> None:
    """Keep a record, and let the name `key` stand for it.

    Raises:
        DiskFullError: no room, or no permission.
    """
    parts = {name: {**asdict(kept), "path": str(kept.path)} for name, kept in sorted(record.parts.items())}
    plain = {"format": _FORMAT, "name": record.name, "engine": record.engine, "parts": parts}
    write_atomic(records_folder() / f"{digest}.json", json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    if key is not None:
        write_atomic(records_folder() / "names" / key, digest + "\n")


def recorded_digest(key: str) -> str | None:
    """The digest that a name stands for now, or None if the bundle was never found complete."""
    path = records_folder() / "names" / key
    digest = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return digest if is_digest(digest) and (records_folder() / f"{digest}.json").is_file() else None


def recorded() -> dict[str, WeightsRecord]:
    """Every record, by digest.

    Raises:
        DamagedError: one cannot be read.
    """
    digests = [path.stem for path in paths_in(records_folder(), "*.json")]
    return {digest: record for digest in digests if (record := read_weights_record(digest))}


def bundle_of(path: Path) -> str | None:
    """The name of a recorded bundle that has this file; None if none has."""
    for record in recorded().values():
        if any(kept.path == path for kept in record.parts.values()):
            return record.name
    return None


def recorded_parts(key: str) -> dict[str, RecordedFile]:
    """The recorded files by identity; those of the bundle that the name `key` stands for go before others."""
    found = recorded()
    own = recorded_digest(key)
    last = [found.pop(own)] if own in found else []
    return {kept.identity: kept for record in [*found.values(), *last] for kept in record.parts.values()}


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); give permission, or fetch it again") from error


def unchanged_file(kept: RecordedFile, command: str, hashed: bool = False) -> RecordedFile:
    """The same file, after a check that its bytes are the recorded ones, with its present time; or an error.

    Args:
        kept: what was recorded.
        command: brings the file, for messages.
        hashed: hash it even if its size and time are the recorded ones.

    Raises:
        WeightsError: it is not there any more.
        DamagedError: its bytes are others.
    """
    try:
        state = kept.path.stat()
    except OSError as error:
        raise WeightsError(f"{kept.path} is not there any more; `{command}` looks for it, and fetches it") from error
    if not hashed and kept.is_as_recorded(state):
        return kept
    found = file_digest(kept.path)
    if found != kept.loads:
        raise DamagedError(
            f"{kept.path} has changed since it was recorded: its SHA-256 was {kept.loads} and is {found}; put the old "
            f"file back, or delete it and run `{command}`, or take the new one with `{command} --from FOLDER`"
        )
    return replace(kept, size=state.st_size, mtime=state.st_mtime_ns, ctime=state.st_ctime_ns)
