"""Copies of objects on this machine's disk, of bounded size: what training reads again and again, once fetched whole.

All processes of a user share the copies. One that is used is as new; where another needs room, the oldest is deleted.
A process that has a deleted copy mapped may go on reading it; its room is free when the map is let go of.

SRCACHE_CACHE_BYTES says how large the copies may be together, such as 200G, for all URLs; without it 50 GiB, but no
more than half of what the disk has free.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from srcache.errors import ConfigError, MachineError
from srcache.files import brief_lock, disk_errors, user_folder
from srcache.files.objects import ObjectFolder

LIMIT = "SRCACHE_CACHE_BYTES"
_DEFAULT = 50 << 30
_ABANDONED = 3600.0
"""Seconds after which a part of a copy that nobody goes on with is deleted."""


class _Copy(NamedTuple):
    """A copy: when it was last used, in nanoseconds, its size, and its file."""

    used: int
    size: int
    path: Path


class Copies:
    """Copies of the objects of one folder; see `srcache.stores.shard_copies`.

    Args:
        title: a name for the folder, which no other has.
    """

    def __init__(self, title: str) -> None:
        self._root = user_folder() / "objects"
        self._folder = self._root / title

    def limit(self) -> int:
        """Bytes that all copies may have together.

        Raises:
            ConfigError: the environment says no number of bytes.
        """
        said = os.environ.get(LIMIT)
        if said is None:
            self._root.mkdir(parents=True, exist_ok=True)
            return min(_DEFAULT, (shutil.disk_usage(self._root).free + sum(one.size for one in self._all())) // 2)
        found = re.fullmatch(r"(\d+)([KMGT]?)i?B?", said.strip(), re.IGNORECASE)
        if found is None:
            raise ConfigError(f"{LIMIT} must be a number of bytes, such as 200G, but is {said!r}")
        return int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ")

    def there(self, name: str) -> Path | None:
        """The copy of an object, which counts as used now; None if there is none."""
        path = self._folder / name
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError:  # a folder that may only be read
            return path if path.exists() else None
        return path

    def bring(self, objects: ObjectFolder, object_name: str, name: str, size: int) -> Path:
        """The copy of an object, fetched unless it is there; other processes and threads wait for one that fetches it.

        Raises:
            FileNotFoundError: there is no such object.
            DiskFullError: no room for it.
            MachineError: the service does not answer.
        """
        with self._fetching(name):
            path = self.there(name)
            if path is not None and path.stat().st_size == size:
                return path
            self._make_room(size)
            path = self._folder / name
            objects.fetch(object_name, path)
            if path.stat().st_size != size:
                path.unlink(missing_ok=True)
                raise MachineError(f"{objects.url}/{object_name} came cut off; run the same command again")
        return path

    def take(self, file: Path, name: str) -> None:
        """Make a copy of a file that was uploaded: it is moved here if that needs no copying, else deleted."""
        size = file.stat().st_size
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if size <= self.limit():
                self._make_room(size)
                file.rename(self._folder / name)
                return
        except OSError:
            pass
        file.unlink(missing_ok=True)

    def drop(self, name: str) -> bool:
        """Delete a copy; returns whether there was one."""
        try:
            (self._folder / name).unlink()
        except OSError:
            return False
        return True

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A free path for a copy that is not kept."""
        path = self._folder / f".{name}.{os.getpid()}-{time.monotonic_ns()}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _fetching(self, name: str) -> Iterator[None]:
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            (own := self._folder / f".{name}.lock").touch()
        with brief_lock(own):
            yield

    def _make_room(self, size: int) -> None:
        """Delete the copies that were not used for longest, until so many bytes fit."""
        self._root.mkdir(parents=True, exist_ok=True)
        with brief_lock(self._root):
            copies = sorted(self._all())
            over = sum(one.size for one in copies) + size - self.limit()
            for one in copies:
                if over <= 0:
                    return
                one.path.unlink(missing_ok=True)
                over -= one.size

    def _all(self) -> list[_Copy]:
        """All copies of all folders; parts that were abandoned are deleted on the way."""
        found = list[_Copy]()
        for folder in self._root.glob("*/"):
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        if not entry.name.startswith("."):
                            found.append(_Copy(status.st_mtime_ns, status.st_size, Path(entry.path)))
                        elif status.st_mtime < time.time() - _ABANDONED and not entry.name.endswith(".lock"):
                            os.unlink(entry.path)
        return found
