"""Files that a crash cannot tear: written beside their place, synced, then renamed into it."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srcache.errors import BusyError, DiskFullError


def user_folder() -> Path:
    """What srcache keeps for a user between runs: SRCACHE_HOME, else XDG_CACHE_HOME/srcache, else ~/.cache/srcache."""
    home = os.environ.get("SRCACHE_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "srcache"


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees all of it or none, whenever the power fails.

    Raises:
        DiskFullError: no room, or no permission.
    """
    raw = data.encode() if isinstance(data, str) else data
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def append_line(path: Path, line: str) -> None:
    """Append one line to a journal; a line that a crash cut short is closed off first."""
    with disk_errors(path), path.open("ab+") as file:
        torn = file.tell() > 0 and _last_byte(path) != b"\n"
        file.write((b"\n" if torn else b"") + line.encode() + b"\n")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Tell a full disk and a missing permission apart from our own mistakes.

    Raises:
        DiskFullError: for any of them.
    """
    try:
        yield
    except OSError as error:
        full = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
        full |= {errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE}
        if error.errno not in full:
            raise
        raise DiskFullError(
            f"{path} could not be written ({error.strerror}); what was stored is safe, "
            "so make room or give permission, and run the same command again"
        ) from error


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _size(path: Path) -> int:
    """Bytes in a file, or in everything below a folder."""
    if path.is_file():
        return path.stat().st_size
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.lstat(file).st_size for file in files)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Be the only one who changes a recipe's folder; a crash lets go of it.

    Raises:
        BusyError: another process has it.
    """
    path = folder / "lock"
    with disk_errors(path):
        file = path.open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise BusyError(
                f"{folder} is being filled by process {file.read().strip() or '?'}; wait for it, or stop it"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
