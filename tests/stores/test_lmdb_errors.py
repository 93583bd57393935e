"""LMDB's errors in srcache's words."""

import errno
from pathlib import Path

import lmdb
import pytest

from srcache.errors import CacheError, DamagedError, DiskFullError, MachineError
from srcache.stores.lmdb_errors import translated


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.ENOSPC, "full"), DiskFullError, "make room"),
        (OSError(errno.EROFS, "read-only"), DiskFullError, "permission"),
        (OSError(errno.ENOMEM, "no"), MachineError, "raise the limit"),
        (MemoryError(), MachineError, "raise the limit"),
        (lmdb.ReadersFullError("full"), MachineError, "fewer worker processes"),
        (lmdb.NotFoundError("none"), CacheError, "was anything built yet"),
        (lmdb.CorruptedError("bad"), DamagedError, "srcache repair"),
    ],
)
def test_every_error_says_what_to_do(error, kind, words):
    found = translated(error, Path("cache/data.lmdb"))
    assert type(found) is kind
    assert str(found).startswith("cache/data.lmdb ")
    assert words in str(found)
