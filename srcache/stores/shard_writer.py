"""The one shard that a process writes: begun, appended to, continued after a crash, and sealed.

Every writer has a random id and changes only files that carry it. The shard in hand is
`{counter}-{writer}.tar.partial`, locked while its writer lives. It gets its final name when it is complete, by one
rename; nobody ever changes it again. What a killed writer left is continued by the next one that gets its lock: entries
that are intact stay, the rest is cut off.
"""

import fcntl
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from srcache.errors import DamagedError, MachineError
from srcache.files import disk_errors, sync_folder
from srcache.machine import NETWORK, file_system
from srcache.stores import tar
from srcache.stores.interface import Entry, StoreOptions
from srcache.stores.shard_index import Shard, packed_name, write_table
from srcache.stores.shard_members import Found, entries_of, pack_entry
from srcache.stores.shard_tables import INDEX, index_of

PARTIAL = ".partial"
_NAME = re.compile(r"(\d{8})-([0-9a-f]{8})\.tar")


def is_shard(name: str) -> bool:
    """Whether a file's name is that of a complete shard."""
    return _NAME.fullmatch(name) is not None


def is_partial(name: str) -> bool:
    """Whether a file's name is that of a shard that is being written."""
    return name.endswith(PARTIAL) and is_shard(name.removesuffix(PARTIAL))


class ShardWriter:
    """Appends entries to a shard of its own; not for several threads at once.

    Attributes:
        found: what is committed to the shard in hand, by packed name.
        aliases: of it, each with the key that it stands for.
    """

    def __init__(self, folder: Path, options: StoreOptions) -> None:
        self._folder, self._options = folder, options
        self._path: Path | None = None
        self._handle, self._end = -1, 0
        self.found: dict[bytes, Found] = {}
        self.aliases: dict[str, str] = {}

    @property
    def name(self) -> str | None:
        """The name of the shard in hand, or None."""
        return self._path.name if self._path else None

    def read(self, amount: int, offset: int) -> bytes:
        """Bytes of the shard in hand."""
        return os.pread(self._handle, amount, offset)

    def append(self, entries: Sequence[Entry]) -> list[Found]:
        """Commit entries, all or none, to the disk; returns where those lie that the shard in hand did not have.

        Raises:
            DiskFullError: they did not fit; what was committed before is untouched.
            MachineError: somebody took the shard away.
        """
        if self._path is None:
            self._begin()
        self._require_name()
        pieces, found, end = [], [], self._end
        for entry in entries:
            if packed_name(entry.name) in self.found:  # in the shard that was continued just now
                continue
            data, one = pack_entry(entry, self._options.fingerprint, end)
            pieces.append(data)
            found.append(one)
            end = one.end
        self._write(b"".join(pieces))
        self._end = end
        self._note(found)
        return found

    @property
    def is_full(self) -> bool:
        """Whether the shard in hand should be sealed."""
        return self._end >= self._options.shard_bytes

    def seal(self) -> Shard | None:
        """Give the shard in hand its final name, and write its index; one without entries is deleted. None for none."""
        if self._path is None:
            return None
        self._require_name()
        shard = None
        if self.found:
            self._write(tar.END)
            shard = Shard(self._path.name.removesuffix(PARTIAL), self._end + len(tar.END))
            with disk_errors(self._path):
                self._path.rename(self._folder / shard.name)
                sync_folder(self._folder)
            with suppress(MachineError, OSError):  # an index is made again where it is missing
                write_table(self._folder / f"{shard.name}{INDEX}", index_of(shard, list(self.found.values())))
        else:
            self._path.unlink()
        self._drop()
        return shard

    def release(self) -> None:
        """Close the file and leave the shard as it is, for the next writer."""
        if self._path is not None:
            self._drop()

    def _begin(self) -> None:
        """Continue what a killed writer left, or make a shard whose number is above all."""
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            names = sorted(os.listdir(self._folder))
            for name in names if file_system(self._folder) not in NETWORK else ():
                if is_partial(name) and self._continue(self._folder / name):
                    return
            numbers = [int(name[:8]) for name in names if is_shard(name.removesuffix(PARTIAL))]
            name = f"{max(numbers, default=-1) + 1:08d}-{uuid4().hex[:8]}.tar{PARTIAL}"
            path, hidden = self._folder / name, self._folder / f".{name}"
            handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            _locked(handle)  # before others can see it, for they would take it for one whose writer is gone
            hidden.rename(path)
            sync_folder(self._folder)
        self._path, self._handle, self._end = path, handle, 0

    def _continue(self, path: Path) -> bool:
        """Take over a shard whose writer is gone, with all that is intact in it; False if its writer lives."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if not _locked(handle) or not _same(handle, path):
            os.close(handle)
            return False
        size, found = os.fstat(handle).st_size, list[Found]()
        with suppress(DamagedError):  # what is behind the last commit
            found.extend(entries_of(tar.reader(handle), size, str(path)))
        end = found[-1].end if found else 0
        os.ftruncate(handle, end)
        os.fsync(handle)
        self._path, self._handle, self._end = path, handle, end
        self._note(found)
        return True

    def _note(self, found: Sequence[Found]) -> None:
        for one in found:
            self.found.setdefault(one.name, one)
            for alias in one.aliases:
                self.aliases.setdefault(alias, one.name[:16].hex())

    def _write(self, data: bytes) -> None:
        """Write at the end and wait for the disk; whatever goes wrong, the file ends where it did."""
        try:
            with disk_errors(self._folder / (self.name or "")):
                place, view = self._end, memoryview(data)
                while view:
                    written = os.pwrite(self._handle, view, place)
                    place, view = place + written, view[written:]
                os.fsync(self._handle)
        except BaseException:
            os.ftruncate(self._handle, self._end)
            raise

    def _require_name(self) -> None:
        if self._path is not None and not _same(self._handle, self._path):
            path = self._path
            self._drop()
            raise MachineError(
                f"{path} was taken away while it was being written (by `srcache prune` or `srcache repair`); "
                "run the same command again"
            )

    def _drop(self) -> None:
        os.close(self._handle)
        self._path, self._handle, self._end, self.found, self.aliases = None, -1, 0, {}, {}


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _same(handle: int, path: Path) -> bool:
    """Whether a path still means the file that is open."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) and ours.st_nlink > 0
