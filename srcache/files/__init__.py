"""Files and folders: written so that a crash leaves no half of a file, locked, measured, and read with clear errors."""

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from srcache.errors import BusyError, ConfigError, DiskFullError
from srcache.files.documents import parse_yaml
from srcache.files.file_locks import FCNTL, NO_LOCKS, is_running, take, taken_elsewhere
from srcache.files.file_locks import brief_lock as brief_lock
from srcache.files.regular import read_regular
from srcache.files.system_errors import WRITING, from_words, not_written, reading

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

PART = ".part"
"""How the names end that `atomic_path` gives while a file is made."""


def user_folder() -> Path:
    """Where a user's files are kept between runs: SRCACHE_HOME, else XDG_CACHE_HOME/srcache, else ~/.cache/srcache."""
    home = os.environ.get("SRCACHE_HOME")
    if home:
        return first_meaning(home)
    return first_meaning(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "srcache"


def first_meaning(path: str) -> Path:
    """An absolute path for one that the environment gives; it stays so if the process changes its folder later."""
    return _first_absolute(os.path.expanduser(path))


@cache
def _first_absolute(path: str) -> Path:
    return Path(os.path.abspath(path))


def write_atomic(path: Path, data: bytes | str, *, sync: bool = True) -> None:
    """Write a file so that a reader sees all of it or none, even after a power failure; see `atomic_file`."""
    with atomic_file(path, sync=sync) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A binary file to write, which replaces `path` when it is complete; if writing fails, nothing of it is left.

    What is at `path` and is neither a file nor a folder (/dev/null, a pipe) is written to, and stays.

    Args:
        path: where the file shall be; its folders are created.
        sync: wait until the bytes are on the disk. Without it, a power failure may leave an empty file at `path`.

    Raises:
        DiskFullError: no room, or no permission.
    """
    make_folder(path.parent)
    with disk_errors(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            with _opened_as_it_is(path) as file:
                yield file
            return
        temporary = path.with_name(f".{_beginning(path.name)}.{uuid4().hex[:8]}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _opened_as_it_is(path: Path) -> IO[bytes]:
    """Open a device or a pipe to write; a pipe that nobody reads would keep the command waiting, maybe for ever.

    Raises:
        DiskFullError: nobody reads it, or it is a socket.
        OSError: it cannot be opened.
    """
    try:
        handle = os.open(path, os.O_WRONLY | _BINARY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise DiskFullError(
            f"{path} is a socket, or a pipe that nobody reads, and nothing can be written to it; start its reader "
            "first, or name a file"
        ) from error
    os.set_blocking(handle, True)
    return os.fdopen(handle, "wb")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A free path beside `path`, for a link or a copy; at the end, what was made there is renamed to `path`.

    The name beside is hidden and nobody else's, so two processes may write the same `path`; what a crash left behind,
    `remove_parts` removes. Nothing is synced to the disk.
    """
    beside = path.with_name(f".{blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}-{uuid4().hex[:8]}{PART}")
    make_folder(path.parent)
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Delete what `atomic_path` left below a folder where a process was killed; nobody may be writing there."""
    for left in folder.rglob(f".*{PART}"):
        left.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append one line to a journal; if a crash cut the last line short, it is ended with a line break first."""
    with disk_errors(path), path.open("ab+") as file:
        torn = file.tell() > 0 and _last_byte(path) != b"\n"
        file.write((b"\n" if torn else b"") + line.encode() + b"\n")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as the text of a CSV file, the same by every Python: what is written is also a name, by its digest.

    There are commas between cells and LF after rows; None is empty, and quotes stand where they must. Python's own
    writer leaves a carriage return unquoted in some versions (3.11.7 among them), and so ends the row there; any other
    cell comes out as it writes it.
    """
    return "".join(_csv_line([_csv_cell(cell) for cell in row]) for row in rows)


def _csv_line(cells: list[str]) -> str:
    return ('""' if cells == [""] else ",".join(cells)) + "\n"


def _csv_cell(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Around code that writes: what the disk, its permissions or the place forbid becomes an error that says so.

    Raises:
        DiskFullError: no room, no permission, or a place where nothing can be written.
        MachineError: a limit of the system, such as that of open files, is in the way.
    """
    try:
        yield
    except Exception as error:
        found = from_words(error) or error
        if not isinstance(found, OSError) or found.errno not in WRITING:
            raise
        raise not_written(found, path) from error


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        DiskFullError: there can be none: no room, no permission, or something else has its name.
    """
    try:
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise not_written(error, path) from error


@contextmanager
def lock(folder: Path, doing: str = "filled", *, shared: bool = False) -> Iterator[bool]:
    """Hold a folder's lock, so that one process at a time changes it; when a process dies, its lock is released.

    Where the file system has no locks, nothing is held, and nobody is kept out.

    Args:
        folder: where the lock is: a file named `lock`.
        doing: what is being done with the folder, for the error that other processes get: "filled", "trained", …
        shared: together with others that share it.

    Yields:
        Whether this is the only process of this machine that holds it.

    Raises:
        BusyError: another process holds the lock.
    """
    path = folder / "lock"
    if FCNTL is None:
        with _lock_elsewhere(path, doing):
            yield True
        return
    with disk_errors(path):
        file = path.open("a+", encoding="utf-8", errors="replace")
    with file:
        held = _held(file, folder, doing, shared)
        if held and not shared:
            file.truncate(0)
        file.write(str(os.getpid()) if held and not shared else f"\n{os.getpid()}\n")
        file.flush()
        yield not (shared and _living(file))


def _held(file: IO[str], folder: Path, doing: str, shared: bool) -> bool:
    """Whether the lock of an open file is ours now; false where the file system has no locks.

    Raises:
        BusyError: it is another process's.
    """
    try:
        take(file.fileno(), shared=shared)
    except BlockingIOError as error:
        holders = ", ".join(map(str, _living(file) or _noted(file))) or "?"
        raise BusyError(f"{folder} is being {doing} by process {holders}; wait for it, or stop it") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


@contextmanager
def _lock_elsewhere(path: Path, doing: str) -> Iterator[None]:
    """The same file's lock where there is no `flock`: always of one process, which the file does not name."""
    with ExitStack() as stack:
        try:
            stack.enter_context(taken_elsewhere(path))
        except BlockingIOError as error:
            raise BusyError(f"{path.parent} is being {doing} by another process; wait for it, or stop it") from error
        except OSError as error:
            raise not_written(error, path) from error
        yield


def _living(file: IO[str]) -> list[int]:
    """The processes that a lock's file names and that are still there, but for this one."""
    return [number for number in _noted(file) if number != os.getpid() and is_running(number)]


def _noted(file: IO[str]) -> list[int]:
    file.seek(0)
    return sorted({int(word) for word in file.read().split() if word.isascii() and word.isdecimal()})


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def real_path(path: Path) -> Path:
    """A path from the root without links; unlike `Path.resolve`, it bears links that lead in circles."""
    return Path(os.path.realpath(path))


def damaged_path(path: Path) -> Path:
    """A name beside a damaged file or folder, under which it is kept: with the time (UTC), and never twice the same."""
    return path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid4().hex[:4]}")


def size_of(path: Path) -> int:
    """The size in bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    found = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.lstat(file).st_size for file in found)


def shipped_texts(folder: str) -> dict[str, str]:
    """The YAML files that come with srcache in a folder of `configs`: name without suffix → text, sorted by name."""
    home = files("srcache_configs").joinpath(folder)
    return {name: home.joinpath(f"{name}.yaml").read_text(encoding="utf-8") for name in shipped_names(folder)}


def shipped_names(folder: str) -> list[str]:
    """The names of the YAML files that come with srcache in a folder of `configs`, without suffix, sorted."""
    names = (path.name for path in files("srcache_configs").joinpath(folder).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def read_text(path: Path, what: str, error: type[ConfigError] = ConfigError) -> str:
    """The text of a file that a user named.

    Args:
        path: the file, in UTF-8.
        what: what it should be, for the message: "recipe", …
        error: the type of error to raise.

    Raises:
        ConfigError: of the type `error`: the file cannot be read.
    """
    try:
        with reading(path):
            return read_regular(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise error(f"{what} {path} cannot be read: {reason}") from reason


def yaml_mapping(text: str, origin: str, of: str = "", error: type[ConfigError] = ConfigError) -> dict[Any, Any]:
    """The mapping that a YAML text holds.

    Args:
        text: YAML.
        origin: where the text is from, for the message, which begins with it.
        of: what should be mapped, for the message, which ends with it: " of a recipe's fields".
        error: the type of error to raise.

    Raises:
        ConfigError: of the type `error`: the text is not YAML, or not a mapping.
    """
    try:
        plain = parse_yaml(text)
    except ValueError as reason:
        raise error(f"{origin} is not YAML: {reason}") from reason
    if not isinstance(plain, dict):
        raise error(f"{origin} must be a YAML mapping{of}")
    return plain


def _beginning(name: str) -> str:
    """As much of a name as leaves room, of the 255 bytes that file systems give a name, for what is added to it."""
    return os.fsdecode(os.fsencode(name)[:100])


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)
