"""What lies in a folder. Unlike `Path.glob`, nothing here takes a folder that may not be read for an empty one."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from srcache.files.system_errors import reading


def paths_in(folder: Path, pattern: str) -> list[Path]:
    """The paths directly in a folder whose names fit a pattern such as `*.json`, sorted; none if it is not there.

    Raises:
        MachineError: it may not be read, or a limit of the system is in the way.
    """
    try:
        with reading(folder):
            names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if fnmatchcase(name, pattern)]


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, at any depth, sorted; none if it is not there. Links to folders are not followed.

    Raises:
        MachineError: a folder may not be read, or a limit of the system is in the way.
    """

    def fail(error: OSError) -> NoReturn:
        raise error

    try:
        with reading(folder):
            return sorted(Path(home, name) for home, _, names in os.walk(folder, onerror=fail) for name in names)
    except (FileNotFoundError, NotADirectoryError):
        return []
