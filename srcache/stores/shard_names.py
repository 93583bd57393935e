"""Names of shards: `{counter}-{writer}.tar`, and while it is being written, `.partial` behind it."""

import os
import re
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from srcache.stores.shard_index import Shard

PARTIAL = ".partial"
_NAME = re.compile(r"(\d{8})-([0-9a-f]{8})\.tar")


def is_shard(name: str) -> bool:
    """Whether a file's name is that of a complete shard."""
    return _NAME.fullmatch(name) is not None


def is_partial(name: str) -> bool:
    """Whether a file's name is that of a shard that is being written."""
    return name.endswith(PARTIAL) and is_shard(name.removesuffix(PARTIAL))


def writer_of(name: str) -> str:
    """The id of the writer in the name of a shard."""
    return name[9:17]


def new_writer() -> str:
    """An id that no other writer has."""
    return uuid4().hex[:8]


def shards_in(folder: Path) -> tuple[list[Shard], list[str]]:
    """The complete shards that a folder holds now, and the names of those that are not complete, by name.

    A folder that is not there holds none.
    """
    sealed, partial = list[Shard](), list[str]()
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if is_partial(entry.name):
                partial.append(entry.name)
            elif is_shard(entry.name):
                with suppress(FileNotFoundError):
                    sealed.append(Shard(entry.name, entry.stat().st_size))
    return sorted(sealed), sorted(partial)
