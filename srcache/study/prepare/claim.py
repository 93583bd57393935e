"""Folders that a command may fill: empty ones, and those that an earlier run of the same command has claimed.

A claim is a small `prepare.json`, written first: the command, its parameters, and the digest of the source's catalog. A
folder with the same claim is an interrupted or a finished run, and may be completed, by one process at a time. Any
other content is somebody's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from srcache.catalog.rows import Catalog
from srcache.errors import ConfigError
from srcache.files import real_path, remove_parts, write_atomic
from srcache.files.claims import held, is_mark
from srcache.files.documents import parse_json

MARKER = "prepare.json"
_FORMAT = 1


@contextmanager
def claim_folders(
    folders: Sequence[Path], source: Catalog, command: str, parameters: Mapping[str, object]
) -> Iterator[None]:
    """Check that a command may write into folders, write a claim into each (what it is going to be), and hold them.

    Args:
        folders: where the command will write; none is touched unless it may write into all of them.
        source: the images that it reads.
        command: its name, such as `lr`.
        parameters: what makes two runs of it the same; plain JSON values.

    Raises:
        ConfigError: a folder lies inside the source or another one or around it, or has something else in it.
        BusyError: another process fills one of them.
        DiskFullError: no room, or no permission.
    """
    run = {"command": command, "parameters": dict(parameters), "source": source.digest}
    text = json.dumps({"srcache": "prepare", "format": _FORMAT, **run}, indent=2) + "\n"
    _require_apart([*(real_path(folder) for folder in folders), *([real_path(source.root)] if source.root else [])])
    for folder in folders:
        _is_claimed(folder, text)
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(held(folder, "prepare", "prepared"))
        for folder in [folder for folder in folders if not _is_claimed(folder, text)]:
            write_atomic(folder / MARKER, text)
        for folder in folders:
            remove_parts(folder)
        yield


def _require_apart(folders: Sequence[Path]) -> None:
    for place, folder in enumerate(folders):
        for other in folders[place + 1 :]:
            if folder == other or folder in other.parents or other in folder.parents:
                raise ConfigError(f"{folder} and {other} must lie apart, but one is inside the other or the same")


def _differences(found: str, text: str) -> str:
    """Which parameters differ between two runs of one command, for a message; empty where that says nothing."""
    try:
        before, now = parse_json(found), parse_json(text)
        if before["command"] != now["command"]:
            return ""
        old, new = before["parameters"], now["parameters"]
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return "".join(f"; {name}: {_shown(old, name)} there, {_shown(new, name)} asked for" for name in names)


def _shown(parameters: Mapping[str, object], name: str) -> str:
    return json.dumps(parameters[name]) if name in parameters else "not set"


def _is_claimed(folder: Path, text: str) -> bool:
    """Whether an earlier run with this claim began to fill a folder; a half-written claim is none."""
    try:
        if all(is_mark(path) or path.name.startswith(f".{MARKER}.") for path in folder.iterdir()):
            return False
        found = (folder / MARKER).read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        found = ""
    except NotADirectoryError as error:
        raise ConfigError(f"{folder} must be an empty folder, but is a file, or lies below one") from error
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read ({error.strerror}); choose an empty folder") from error
    if not found and folder.exists():
        raise ConfigError(f"{folder} must be empty, or an earlier run of the same command, but has other files in it")
    if found and found != text:
        raise ConfigError(
            f"{folder} holds another `prepare` run, with other parameters or from other images "
            f"(see {MARKER} in it{_differences(found, text)}); choose an empty folder"
        )
    return bool(found)
