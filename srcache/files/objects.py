"""Objects below a URL: listed, read, put and deleted by fsspec, tried a few times, with errors that say what to do.

This is the only home of fsspec. An open file system belongs to the process that opened it: its connections must not be
used by two, so a process that was forked opens one of its own. Credentials are what fsspec and the service's own
library find: the environment, their configuration files, the machine's role.

Objects are put so that nobody's are replaced: with `If-None-Match: *` where the service knows that (S3 does), by a hard
link on a disk, and elsewhere after a look.
"""

import errno
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from srcache.errors import ConfigError, DiskFullError, MachineError, MissingExtraError, SrcacheError
from srcache.files import atomic_path, disk_errors, write_atomic
from srcache.files.urls import checked_url

_T = TypeVar("_T")
_TRIES = 3
"""Of each call; most services' libraries try several times themselves in each."""

_MOST_KEPT = 100_000
"""Objects of a listing that is remembered for a moment; one of a large data set would only take room."""

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError)
"""What another try would not change."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_UNKNOWN = {errno.ENOSYS, errno.EOPNOTSUPP}
_DIGESTS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created", "ino")
"""What services say of an object that tells its versions apart: best a digest of its bytes."""


class ObjectInfo(NamedTuple):
    """What a listing says of an object: its size in bytes, and a text that differs when its bytes do."""

    size: int
    stamp: str


class ObjectFolder:
    """The objects below one URL. Any thread may use it, but only in the process that made it: see `object_folder`."""

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        self._files, self._root = _opened(self.url)
        self._seen: dict[str, tuple[float, dict[str, ObjectInfo]]] = {}

    def listing(self, below: str = "", *, most_age: float = 0.0) -> dict[str, ObjectInfo]:
        """The objects whose names begin with `below`, by their names relative to the URL; none if nothing is there.

        Args:
            below: empty, or the name of a folder with a slash at its end.
            most_age: seconds since such a listing, or one of everything, that will do.

        Raises:
            MachineError: the service does not answer, or refuses.
        """
        due = time.monotonic() - most_age
        recent = [seen for place in {below, ""} if (seen := self._seen.get(place)) is not None and seen[0] >= due]
        if not recent:
            recent = [(time.monotonic(), self._listed(below))]
            if len(recent[0][1]) <= _MOST_KEPT:
                self._seen[below] = recent[0]
        return {name: info for name, info in recent[0][1].items() if name.startswith(below)}

    def read(self, name: str, start: int = 0, amount: int | None = None) -> bytes:
        """The bytes of an object, or so many of them.

        Raises:
            FileNotFoundError: there is no such object.
            MachineError: the service does not answer, or refuses.
        """
        end = None if amount is None else start + amount
        if end is not None and end <= start:
            return b""
        found = self._tried("read", lambda: self._files.cat_file(self._path(name), start=start or None, end=end))
        return bytes(found)

    def fetch(self, name: str, path: Path) -> None:
        """Copy an object into a file, which is there when it is complete.

        Raises:
            FileNotFoundError: there is no such object.
            DiskFullError: no room for the file.
            MachineError: the service does not answer, or refuses.
        """
        with disk_errors(path), atomic_path(path) as part:
            self._tried("read", lambda: self._files.get_file(self._path(name), str(part)))

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> str:
        """Put an object; one that is there stays, unless it shall be replaced. Returns the stamp of what is there now.

        Raises:
            MachineError: the service does not answer, or refuses, or has no such bucket; or what is there has another
                size.
        """
        try:
            with suppress(FileExistsError):
                self._tried("written", lambda: self._put(self._path(name), data, replace))
            there = _info(self._tried("read", lambda: self._files.info(self._path(name))))
        except FileNotFoundError as error:
            what = f"{self.url} could not be written ({_first_line(error)})"
            raise MachineError(f"{what}; make the bucket first") from error
        finally:
            self._seen.clear()
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        if there.size != size:
            raise MachineError(
                f"{self.url}/{name} is there already with {there.size} bytes instead of {size}, and is not replaced; "
                "look who wrote it, and delete it if it is not wanted"
            )
        return there.stamp

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; such as are not there are no error."""
        self._seen.clear()
        for name in names:
            with suppress(FileNotFoundError):
                self._tried("deleted", partial(self._files.rm_file, self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _listed(self, below: str) -> dict[str, ObjectInfo]:
        root = f"{self._root}/{below}".rstrip("/")
        try:
            found = self._tried("listed", lambda: self._files.find(root, detail=True))
        except FileNotFoundError:
            return {}
        cut = len(self._root) + 1
        return {path[cut:]: _info(info) for path, info in found.items() if path[cut:] and not path.endswith("/")}

    def _put(self, path: str, data: bytes | Path, replace: bool) -> None:
        if _is_local(self._files):
            _put_locally(Path(path), data, replace)
            return
        if replace:
            self._put_as(path, data)
            return
        try:
            self._put_as(path, data, mode="create")
        except (OSError, TypeError, NotImplementedError) as error:
            if isinstance(error, _FINAL) or (isinstance(error, OSError) and error.errno not in _UNKNOWN):
                raise
            if self._files.exists(path):  # the service does not know what it was asked, so this must do
                raise FileExistsError(path) from error
            self._put_as(path, data)

    def _put_as(self, path: str, data: bytes | Path, **how: str) -> None:
        if isinstance(data, bytes):
            self._files.pipe_file(path, data, **how)
        else:
            self._files.put_file(str(data), path, **how)

    def _tried(self, done: str, work: Callable[[], _T]) -> _T:
        """What foreign code returns, after a few tries with pauses; whatever else it raises becomes a MachineError."""
        for turn in range(_TRIES):
            try:
                with object_errors(self.url, done):
                    return work()
            except MachineError as error:
                if turn == _TRIES - 1 or not _may_pass(error):
                    raise
                time.sleep(random.uniform(0.5, 1) * 2**turn / 2)
        raise AssertionError("not reached")


def _may_pass(error: MachineError) -> bool:
    """Whether another try may help."""
    final = isinstance(error, DiskFullError) or isinstance(error.__cause__, _FINAL)
    return not final and not _lacks_credentials(error.__cause__)


def _lacks_credentials(error: BaseException | None) -> bool:
    return "Credentials" in type(error).__name__


_FOLDERS: dict[tuple[int, str], ObjectFolder] = {}


def object_folder(url: str) -> ObjectFolder:
    """The objects below a URL, for this process.

    Raises:
        ConfigError: it is no URL that fsspec knows, or holds what it must not; see `checked_url`.
        MissingExtraError: the package for its protocol is not installed.
    """
    key = os.getpid(), checked_url(url)
    found = _FOLDERS.get(key)
    return found if found is not None else _FOLDERS.setdefault(key, ObjectFolder(url))


@contextmanager
def object_errors(url: str, done: str) -> Iterator[None]:
    """Around calls of fsspec: what goes wrong there becomes an error that says what to do.

    Raises:
        FileNotFoundError, FileExistsError: as fsspec raises them.
        DiskFullError: no room on this machine.
        MachineError: everything else.
    """
    try:
        yield
    except (SrcacheError, FileNotFoundError, FileExistsError):
        raise
    except PermissionError as error:
        raise MachineError(
            f"{url} could not be {done}: the service refuses ({_first_line(error)}); check the credentials, which are "
            "taken from the environment and the service's own configuration files"
        ) from error
    except ImportError as error:
        raise _missing(url) from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            what = f"this machine has no room for a copy of {url} ({error.strerror})"
            raise DiskFullError(f"{what}; make room") from error
        raise _failed(url, done, error) from error
    except Exception as error:  # fsspec's file systems raise classes of many libraries
        raise _failed(url, done, error) from error


def _failed(url: str, done: str, error: Exception) -> MachineError:
    if _lacks_credentials(error):
        return MachineError(
            f"{url} could not be {done}, for no credentials were found ({_first_line(error)}); set them in the "
            "environment (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        )
    what = f"{url} could not be {done} ({type(error).__name__}: {_first_line(error)})"
    return MachineError(f"{what}; check the address and the network, and run the same command again")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and its root there without a slash at the end."""
    protocol = url.partition("://")[0]
    try:
        import fsspec

        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise _missing(url) from error
    except ValueError as error:
        known = _protocols()
        what = _first_line(error) if protocol in known else f"fsspec knows only {', '.join(known)}"
        raise ConfigError(f"{url} cannot be opened: {what}") from error
    except Exception as error:
        raise _failed(url, "opened", error) from error
    return files, str(root).rstrip("/")


def _protocols() -> list[str]:
    from fsspec.registry import known_implementations

    return sorted(name for name in known_implementations if re.fullmatch(r"[a-z0-9]+", name))


def _missing(url: str) -> MissingExtraError:
    """The error that names the package for a protocol."""
    from fsspec.registry import known_implementations

    protocol = url.partition("://")[0]
    package = str(known_implementations.get(protocol, {}).get("class", "fsspec")).partition(".")[0]
    return MissingExtraError(package, "s3" if package == "s3fs" else None, f"{protocol}://")


def _info(info: dict[str, Any]) -> ObjectInfo:
    marks = [f"{mark} {info[mark]}" for mark in _DIGESTS if info.get(mark)]
    marks = marks or [f"{mark} {_plain(info[mark])}" for mark in _TIMES if info.get(mark) is not None]
    size = int(info.get("size") or 0)
    return ObjectInfo(size, blake2b(f"{size} {marks}".encode(), digest_size=8).hexdigest())


def _plain(time: Any) -> str:
    """One text for a time, which a listing and a question about one object may give as different types."""
    seconds = time.timestamp() if isinstance(time, datetime) else time
    return f"{seconds:.4f}" if isinstance(seconds, float) else str(seconds)


def _is_local(files: Any) -> bool:
    return "file" in (files.protocol if isinstance(files.protocol, tuple | list) else [files.protocol])


def _put_locally(path: Path, data: bytes | Path, replace: bool) -> None:
    """Put a file so that a reader sees all of it or none, or leave what is there; fsspec's own put does neither."""
    with disk_errors(path):
        if replace:
            write_atomic(path, data if isinstance(data, bytes) else data.read_bytes())
            return
        hidden = path.with_name(f".{path.name[:100]}.{os.getpid()}-{random.getrandbits(32):08x}")
        try:
            if isinstance(data, bytes):
                write_atomic(hidden, data)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                _copy_synced(data, hidden)
            with suppress(FileExistsError):  # what is there stays
                os.link(hidden, path)
        finally:
            hidden.unlink(missing_ok=True)


def _copy_synced(source: Path, target: Path) -> None:
    import shutil

    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())
