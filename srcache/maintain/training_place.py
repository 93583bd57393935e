"""Where training shards are written: a folder of this machine, or below a URL.

Below a URL, a shard is first a file of this machine; it is uploaded when it is complete, and deleted here. An export of
any size therefore needs room for one shard.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Protocol

from srcache.cache.manifest import Cache
from srcache.errors import CacheError, listed
from srcache.files import atomic_file, disk_errors, make_folder, user_folder, write_atomic
from srcache.files.claims import held, is_mark
from srcache.files.folders import paths_in
from srcache.files.objects import object_folder
from srcache.files.urls import is_url
from srcache.maintain.export import EXPORT, require_empty
from srcache.maintain.training_readme import ABOUT, README

UNFINISHED = ".unfinished"
"""The file that says of a place that an export was begun there and has not ended."""

_ABANDONED = 86_400.0
"""Seconds after which a shard that was not uploaded is deleted; its export begins anew anyway."""


class TrainingPlace(Protocol):
    """Where training shards are written.

    Attributes:
        shown: for people: a path or a URL.
        url: the URL; None for a folder.
    """

    shown: Path | str
    url: str | None

    def require_empty(self, cache: Cache) -> None:
        """Refuse a place that holds something, or that lies in a cache.

        Raises:
            CacheError: it does.
        """
        ...

    def held(self) -> AbstractContextManager[None]:
        """Around an export: where that can be seen, no other process exports into it.

        Raises:
            BusyError: another one does.
        """
        ...

    def names(self) -> list[str]:
        """The names of what lies there, sorted."""
        ...

    def holds(self, name: str) -> bool:
        """Whether a file lies there."""
        ...

    def file(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A binary file to write; it is there when it is complete."""
        ...

    def write(self, name: str, text: str) -> None:
        """Write a file at once."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file."""
        ...


class _Folder:
    """A folder of this machine; see `TrainingPlace`."""

    url: str | None = None

    def __init__(self, path: Path) -> None:
        self.shown: Path | str = path
        self._path = path

    def require_empty(self, cache: Cache) -> None:
        require_empty(self._path, cache)

    def held(self) -> AbstractContextManager[None]:
        return held(self._path, EXPORT, "exported into")

    def names(self) -> list[str]:
        with disk_errors(self._path):
            inner = [path for path in self._path.iterdir() if not is_mark(path)]
            return sorted(path.name + ("" if path.is_file() else "/") for path in inner)

    def holds(self, name: str) -> bool:
        return (self._path / name).exists()

    @contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        with atomic_file(self._path / name) as file:
            yield file

    def write(self, name: str, text: str) -> None:
        write_atomic(self._path / name, text)

    def delete(self, name: str) -> None:
        with disk_errors(self._path):
            (self._path / name).unlink()


class _Objects:
    """Below a URL; see `TrainingPlace`."""

    def __init__(self, url: str) -> None:
        self._objects = object_folder(url)
        self.url: str | None = self._objects.url
        self.shown: Path | str = self._objects.url

    def require_empty(self, cache: Cache) -> None:
        if cache.mirror is not None and f"{self.url}/".startswith(f"{cache.mirror.url}/"):
            raise CacheError(f"{self.url} lies in the cache; export to another place")
        if self.names():
            raise CacheError(f"{self.url} is not empty; choose a place where nothing is")

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def names(self) -> list[str]:
        return sorted(self._objects.listing())

    def holds(self, name: str) -> bool:
        return name in self._objects.listing(most_age=1)

    @contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        home = user_folder() / "exports"
        with disk_errors(home):
            make_folder(home)
            _sweep(home)
            spool = tempfile.TemporaryDirectory(prefix="shard-", dir=home)
        with spool as folder:
            with atomic_file(Path(folder) / name, sync=False) as file:
                yield file
            self._objects.put(name, Path(folder) / name, replace=True)

    def write(self, name: str, text: str) -> None:
        self._objects.put(name, text.encode(), replace=True)

    def delete(self, name: str) -> None:
        self._objects.delete([name])


def _sweep(home: Path) -> None:
    """Delete what exports left that were killed."""
    for left in paths_in(home, "shard-*"):
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def training_place(destination: str | Path) -> TrainingPlace:
    """Where training shards are written.

    Raises:
        ConfigError: it is a URL that fsspec does not know, or that holds a password.
    """
    return _Objects(str(destination)) if is_url(destination) else _Folder(Path(destination))


def require_new(place: TrainingPlace, cache: Cache, shards: str) -> None:
    """Refuse a place that holds something, unless it is what an export that was stopped left behind.

    Args:
        place: where the training set shall be.
        cache: what it is made of.
        shards: how the names of the shards begin.

    Raises:
        CacheError: it holds something else.
    """
    if not place.holds(UNFINISHED):
        place.require_empty(cache)
    elif strange := [name for name in place.names() if not _is_ours(name, shards)]:
        raise CacheError(
            f"{place.shown} holds an export that was stopped, and beside it {listed(strange)}; "
            "choose a new or an empty folder"
        )


def begin(place: TrainingPlace, shards: str) -> None:
    """Mark the place as unfinished, and remove what an export that was stopped left in it."""
    place.write(UNFINISHED, f"An export of training shards was begun here; {ABOUT} is its end.\n")
    for name in place.names():
        if name != UNFINISHED and _is_ours(name, shards):
            place.delete(name)


def _is_ours(name: str, shards: str) -> bool:
    """Whether an export wrote a file, be it only a half of it under a hidden name."""
    plain = name.removeprefix(".")
    return "/" not in name and (name == UNFINISHED or plain.startswith((shards, README, ABOUT, UNFINISHED[1:])))
