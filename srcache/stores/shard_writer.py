"""The one shard that a process writes: begun, appended to, continued after a crash, and sealed.

Every writer has a random id and changes only files that carry it. The shard in hand is
`{counter}-{writer}.tar.partial`, locked while its writer lives. It gets its final name when it is complete, by one
rename; nobody ever changes it again. What a killed writer left is continued by the next one that gets its lock: entries
that are intact stay, the rest is cut off. On a network file system, where a lock may not reach other machines, it is
continued only by a writer that was told to take it over.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from srcache.errors import BusyError, CacheError, DamagedError, MachineError, listed
from srcache.files import disk_errors, sync_folder
from srcache.files.file_locks import NO_LOCKS, take
from srcache.machine import NETWORK, file_system
from srcache.stores import tar
from srcache.stores.interface import Entry, StoreOptions
from srcache.stores.shard_home import INDEX
from srcache.stores.shard_index import Shard, packed_name, write_table
from srcache.stores.shard_members import Found, entries_of, note_aliases, pack_entry
from srcache.stores.shard_names import PARTIAL, is_partial, is_shard, new_writer, shards_in, writer_of
from srcache.stores.shard_tables import index_of

_ABANDONED = 60.0
"""Seconds after which a shard that was never begun, for its writer was killed that very moment, is swept away."""


class ShardWriter:
    """Appends entries to a shard of its own; not for several threads at once.

    Args:
        folder: where the shard in hand lies.
        options: of the store.
        taken: gives names of shards that lie elsewhere, above whose numbers a new one's is.

    Attributes:
        found: what is committed to the shard in hand, by packed name.
        aliases: of it, each with the key that it stands for.
    """

    def __init__(self, folder: Path, options: StoreOptions, taken: Callable[[], Sequence[str]] = tuple) -> None:
        self._folder, self._options, self._taken = folder, options, taken
        self._id = options.writer or new_writer()
        self._home: tuple[int, int] | None = None
        self._path: Path | None = None
        self._handle, self._end, self._next = -1, 0, 0
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
            with suppress(MachineError, OSError):  # an index is made again where it is missing
                write_table(self._folder / f"{shard.name}{INDEX}", index_of(shard, list(self.found.values())))
            self._name_finally(shard.name)
        else:
            self._path.unlink()
        self._drop()
        return shard

    def _name_finally(self, name: str) -> None:
        path = self._folder / str(self.name)
        try:
            with disk_errors(path):
                path.rename(self._folder / name)
                sync_folder(self._folder)
        except FileNotFoundError as error:
            self._drop()
            raise _taken_away(path) from error

    def release(self) -> None:
        """Close the file and leave the shard as it is, for the next writer."""
        if self._path is not None:
            self._drop()

    def take_over(self, writer: str) -> None:
        """Continue the shard that another writer left, also on a network file system.

        Raises:
            CacheError: there is none of that writer.
            BusyError: the writer lives.
        """
        there = shards_in(self._folder)[1]
        mine = [name for name in there if writer_of(name) == writer]
        if not mine:
            others = listed([writer_of(name) for name in there])
            found = f"unfinished shards there are of writers {others}" if there else "no shard there is unfinished"
            raise CacheError(f"{self._folder} holds no unfinished shard of a writer {writer!r}; {found}")
        with disk_errors(self._folder):
            self._require_home()
            if not self._continue(self._folder / mine[0]):
                raise BusyError(f"{self._folder / mine[0]} is being written; wait for its writer, or stop it")

    def _begin(self) -> None:
        """Continue what a killed writer left, or make a shard whose number is above all."""
        try:
            with disk_errors(self._folder):
                self._require_home()
                names = sorted(os.listdir(self._folder))
                if not self._continue_any(names):
                    self._make(names)
        except FileNotFoundError as error:
            raise _taken_away(self._folder) from error

    def _continue_any(self, names: Sequence[str]) -> bool:
        if file_system(self._folder) in NETWORK:
            return False
        self._sweep(names)
        return any(is_partial(name) and self._continue(self._folder / name) for name in names)

    def _make(self, names: Sequence[str]) -> None:
        numbers = [int(name[:8]) for name in names if is_shard(name.removesuffix(PARTIAL))]
        numbers += [int(name[:8]) for name in self._taken()]
        number = max(self._next, max(numbers, default=-1) + 1)  # no name twice, wherever its first shard went
        name = f"{number:08d}-{self._id}.tar{PARTIAL}"
        path, hidden = self._folder / name, self._folder / f".{name}"
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _locked(handle)  # before others can see it, for they would take it for one whose writer is gone
            hidden.rename(path)
            sync_folder(self._folder)
        except BaseException:
            os.close(handle)
            hidden.unlink(missing_ok=True)
            raise
        self._path, self._handle, self._end, self._next = path, handle, 0, number + 1

    def _require_home(self) -> None:
        """The folder, made if this writer has not written yet; one that was taken away since does not come back."""
        if self._home is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._home = _identity(self._folder)
        elif _identity(self._folder) != self._home:
            raise _taken_away(self._folder)

    def _sweep(self, names: Sequence[str]) -> None:
        """Remove what writers left that were killed when they began a shard."""
        for name in names:
            if not name.startswith(".") or not is_partial(name[1:]):
                continue
            with suppress(FileNotFoundError):
                status = (self._folder / name).stat()
                if status.st_size == 0 and time.time() - status.st_mtime > _ABANDONED:
                    (self._folder / name).unlink()

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
            note_aliases(one, self.aliases)

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
            path, self._home = self._path, None
            self._drop()
            raise _taken_away(path)

    def _drop(self) -> None:
        os.close(self._handle)
        self._path, self._handle, self._end, self.found, self.aliases = None, -1, 0, {}, {}


def _taken_away(path: Path) -> MachineError:
    return MachineError(
        f"{path} was taken away while it was being written (by `srcache prune` or `srcache repair`); "
        "run the same command again"
    )


def _locked(handle: int) -> bool:
    """Whether nobody else holds a file's lock, which is ours now; where there are no locks, nobody does."""
    try:
        take(handle)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file or folder a path means; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _same(handle: int, path: Path) -> bool:
    """Whether a path still means the file that is open."""
    ours = os.fstat(handle)
    return _identity(path) == (ours.st_dev, ours.st_ino) and ours.st_nlink > 0
