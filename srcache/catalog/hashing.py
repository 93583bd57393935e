"""Keys of many files, remembered between runs: a second look at a folder hashes only what changed.

One memo per root lies in the user's cache folder; a file is found in it by relative path, size, mtime, inode and ctime.
Of these, an edit in place that keeps the date (`exiftool -P`, `rsync -t --inplace`) changes the ctime alone, which
nobody can set. A file that was changed within the last seconds before it was hashed is not remembered: a second write
in the same tick of the clock would leave no trace. A memo carries a checksum of itself, and is only replaced
completely. Nothing depends on it: one that is damaged, missing or cannot be written costs time and nothing else.
"""

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from time import time_ns
from typing import Generic, Protocol, TypeVar

from srcache.errors import LIMITS, MachineError
from srcache.files import user_folder, write_atomic
from srcache.files.regular import regular_status
from srcache.keys import ImageKey, file_key
from srcache.progress import Progress, throttled

SETTLED_NS = 3_000_000_000
"""A file is remembered only if it was last changed longer ago than this when it was hashed."""

Stamp = tuple[int, int, int, int]
"""Size in bytes, and three more numbers that tell versions apart: of a file, mtime in ns, inode and ctime in ns."""

_File = TypeVar("_File", contravariant=True)

_HEAD = b"srcache memo 2 "
_CHUNK = 64
"""Files that a thread hashes before it reports."""


def memo_path(root: Path) -> Path:
    """Where the memo of a root lies, in the user's folder."""
    name = blake2b(os.fsencode(os.path.realpath(root)), digest_size=16).hexdigest()
    return user_folder() / "memo" / f"{name}.json"


class Files(Protocol[_File]):
    """Where a hasher's files lie."""

    def stamp(self, file: _File) -> tuple[Stamp, bool]:
        """What tells versions of a file apart, and whether a later version would surely differ in it.

        Raises:
            OSError: the file cannot be read.
        """
        ...

    def key(self, file: _File) -> ImageKey:
        """The key of a file.

        Raises:
            OSError: it cannot be read.
        """
        ...


class DiskFiles:
    """Files of this machine; see `Files`."""

    def stamp(self, file: Path) -> tuple[Stamp, bool]:
        """See `Files.stamp`."""
        now, status = time_ns(), regular_status(file)
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
        return stamp, max(status.st_mtime_ns, status.st_ctime_ns) < now - SETTLED_NS

    def key(self, file: Path) -> ImageKey:
        """See `Files.key`."""
        return file_key(file)


class Hasher(Generic[_File]):
    """Hashes files of one root in threads, and writes what it found to a memo when it is done or interrupted.

    Args:
        where: where the files lie.
        memo: the file to remember keys in; None remembers nothing.
        rehash: hash every file, whatever is remembered.
        workers: threads; by default some per processor.
    """

    def __init__(
        self, where: Files[_File], memo: Path | None, rehash: bool = False, workers: int | None = None
    ) -> None:
        self._where, self._memo = where, memo
        self._workers = workers or min(16, 4 * (os.cpu_count() or 1))
        self._old = _read(memo) if memo and not rehash else {}
        self._new: dict[str, tuple[Stamp, ImageKey]] = {}

    def keys(
        self, files: Sequence[tuple[str, _File]], progress: Progress | None = None, complete: bool = False
    ) -> list[ImageKey | OSError]:
        """The keys of files, or why one cannot be read, in their order.

        Args:
            files: (relative name, file) of each.
            progress: called while they are hashed.
            complete: these are all files of the root, so that others may be forgotten.

        Raises:
            OSError: a limit of the system, such as that of open files, is in the way.
        """
        chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
        found: list[ImageKey | OSError] = []
        pool, show = ThreadPoolExecutor(self._workers), throttled(progress)
        try:
            for keys in pool.map(self._chunk, chunks):
                found += keys
                show(len(found), len(files))
        finally:
            pool.shutdown(cancel_futures=True)
            self._remember(forget=complete and len(found) == len(files))
        return found

    def _chunk(self, files: Iterable[tuple[str, _File]]) -> list[ImageKey | OSError]:
        return [self._key(name, file) for name, file in files]

    def _key(self, name: str, file: _File) -> ImageKey | OSError:
        try:
            stamp, settled = self._where.stamp(file)
            old = self._old.get(name)
            known = old is not None and old[0] == stamp
            key = old[1] if old is not None and known else self._where.key(file)
        except OSError as error:
            if error.errno in LIMITS:
                raise
            return error
        if known or settled:
            self._new[name] = (stamp, key)
        return key

    def _remember(self, forget: bool) -> None:
        memory = self._new if forget else self._old | self._new
        if self._memo and memory != self._old:
            _write(self._memo, memory)


def _read(memo: Path) -> dict[str, tuple[Stamp, ImageKey]]:
    """Name → stamp and key of the files in a memo; none if it is missing, damaged, or of another version."""
    try:
        head, _, body = memo.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if head != _HEAD + _checksum(body):
        return {}
    try:
        names, sizes, mtimes, inodes, ctimes, keys = json.loads(body)
        stamps = zip(sizes, mtimes, inodes, ctimes, strict=True)
        return dict(zip(names, zip(stamps, map(ImageKey, keys), strict=True), strict=True))
    except (ValueError, TypeError, RecursionError):  # it has its checksum, but nobody here wrote it
        return {}


def _write(memo: Path, memory: dict[str, tuple[Stamp, ImageKey]]) -> None:
    """Replace a memo; if the user's folder cannot be written to, go on without."""
    stamps = [stamp for stamp, _ in memory.values()]
    columns = [list(memory), *([stamp[i] for stamp in stamps] for i in range(4)), [key for _, key in memory.values()]]
    body = json.dumps(columns, separators=(",", ":")).encode()
    with suppress(OSError, MachineError):
        write_atomic(memo, _HEAD + _checksum(body) + b"\n" + body, sync=False)


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
