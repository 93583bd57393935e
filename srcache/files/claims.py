"""Folders that a command fills: one process at a time, and a run that was stopped is known again by the same command.

While a command works, a hidden folder stands in the folder that it fills: `.srcache-COMMAND-DIGEST`, the digest of what
makes two runs the same. It holds a lock, and `run.json`, which says what is being done. A run that ends well removes
it. A run that was killed leaves it, and so the next one knows which files there are its own.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path

from srcache.errors import BusyError
from srcache.files import disk_errors, lock, write_atomic

PREFIX = ".srcache-"
"""How the names of the hidden folders begin."""

_NOTE = "run.json"


def was_stopped(folder: Path, command: str, run: Mapping[str, object]) -> bool:
    """Whether an earlier run of a command worked on a folder, and did not come to its end.

    Args:
        folder: what it fills.
        command: its name.
        run: what makes two runs of it the same; plain JSON values.
    """
    return (_home(folder, command, run) / _NOTE).is_file()


@contextmanager
def working(folder: Path, command: str, run: Mapping[str, object], doing: str) -> Iterator[Path]:
    """Hold a folder while a command fills it; where it does not end well, `was_stopped` knows.

    Args:
        folder, command, run: as in `was_stopped`.
        doing: what is done with the folder, for the error that other processes get: "exported into", …

    Yields:
        The hidden folder, on the same disk: for files in the making, of which a kill leaves nothing else.

    Raises:
        BusyError: another process runs the same command into it.
        DiskFullError: no room, or no permission.
    """
    home = _home(folder, command, run)
    with disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    with _locked(home, folder, doing):
        write_atomic(home / _NOTE, json.dumps(dict(run), indent=1, ensure_ascii=False) + "\n")
        yield home
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def held(folder: Path, command: str, doing: str) -> Iterator[None]:
    """Hold a folder while a command fills it, whichever run of it; nothing is left of this, unless it is killed.

    Raises:
        BusyError: another process runs this command into it.
        DiskFullError: no room, or no permission.
    """
    home = folder / f"{PREFIX}{command}"
    with disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    with _locked(home, folder, doing):
        try:
            yield
        finally:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _locked(home: Path, folder: Path, doing: str) -> Iterator[None]:
    """Hold the lock in a hidden folder; who is kept out reads of the folder that it stands in."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(home, doing))
        except BusyError as error:
            raise BusyError(str(error).replace(str(home), str(folder), 1)) from error
        yield


def is_mark(path: Path) -> bool:
    """Whether this is a hidden folder of a command, and nothing of the user's."""
    return path.name.startswith(PREFIX)


def is_held(path: Path, command: str) -> bool:
    """Whether this is the hidden folder that `held` makes for a command, and leaves where it is killed."""
    return path.name == f"{PREFIX}{command}"


def _home(folder: Path, command: str, run: Mapping[str, object]) -> Path:
    text = json.dumps(dict(run), sort_keys=True)
    return folder / f"{PREFIX}{command}-{blake2b(text.encode(), digest_size=8).hexdigest()}"
