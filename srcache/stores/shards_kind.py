"""Shards as a kind of store: what their files can hold beside sound entries, and how they are replaced."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from srcache.errors import DamagedError
from srcache.files import damaged_path, disk_errors, sync_folder
from srcache.stores import tar
from srcache.stores.interface import Entry, Problem, Stamped, StoreKind, StoreOptions
from srcache.stores.shard_files import PartialFile
from srcache.stores.shard_finish import finish_shards
from srcache.stores.shard_index import Table, name_of
from srcache.stores.shard_members import Found, entries_of, read_payload, read_record
from srcache.stores.shard_names import PARTIAL, is_partial, is_shard, shards_in, writer_of
from srcache.stores.shard_tables import shard_table, wrong_indexes
from srcache.stores.shards import ShardsStore


def _open(path: Path, options: StoreOptions) -> ShardsStore:
    _go_on(path)
    return ShardsStore(path, options)


def _refuse(path: Path) -> None:
    """Shards may lie anywhere."""


def _check(path: Path) -> Iterator[Problem]:
    """Every complete shard is a tar of entries to its end, and what follows is zeros; indexes agree with their tars."""
    for name in _shards(path):
        with suppress(FileNotFoundError):  # a shard that was completed just now has another name
            yield from _check_shard(path, name)
    for index in wrong_indexes(path):
        detail = f"{index.name} does not say where the entries of its shards lie; `srcache repair` makes it again"
        yield Problem("", "index", detail)


def _check_shard(path: Path, name: str) -> Iterator[Problem]:
    with (path / name).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        read, end = tar.reader(file.fileno()), 0
        try:
            for found in entries_of(read, size, name, check=False):
                end = found.end
        except DamagedError as error:
            if is_shard(name):  # what is behind the last entry of another one is being written, or will be cut off
                yield Problem("", "damaged", str(error))
            return
        if is_shard(name) and (size - end < len(tar.END) or read(size - end, end).strip(b"\0")):
            yield Problem("", "damaged", f"{name} does not end as a tar file does")


class _Shards:
    """What shards still hold; see `Salvage`. A context manager: it looks at every file when it is entered.

    Only shards that somebody may be writing stay open, for they are renamed when they are complete; a folder may have
    more complete ones than a process may open files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partials: dict[str, int] = {}
        self._found: dict[str, list[tuple[str, Found]]] = {}

    def __enter__(self) -> "_Shards":
        for listed in _shards(self._path):
            there = (self._path / listed).exists()
            name = listed if there else listed.removesuffix(PARTIAL)  # it was sealed a moment ago
            handle = os.open(self._path / name, os.O_RDONLY)
            for found in _whatever_is_sound(handle, name):
                self._found.setdefault(name_of(found.name), []).append((name, found))
            if is_partial(name):
                self._partials[name] = handle
            else:
                os.close(handle)
        return self

    def __exit__(self, *rest: object) -> None:
        for handle in self._partials.values():
            os.close(handle)
        self._partials.clear()

    def names(self) -> list[str]:
        """See `Salvage.names`."""
        return sorted(self._found)

    def entry(self, name: str) -> Entry | None:
        """See `Salvage.entry`."""
        for shard, found in self._found.get(name, ()):
            with self._opened(shard) as handle, suppress(DamagedError):
                read = _braver(handle)
                payload = read_payload(read, name, found.place, name)
                return Entry(name, payload, read_record(read, name, found.place, name), found.aliases)
        return None

    @contextmanager
    def _opened(self, shard: str) -> Iterator[int]:
        if shard in self._partials:
            yield self._partials[shard]
            return
        handle = os.open(self._path / shard, os.O_RDONLY)
        try:
            yield handle
        finally:
            os.close(handle)


def _braver(handle: int) -> tar.Read:
    """`tar.reader`, to which a spot that the disk refuses is damage like any other."""

    def read(amount: int, offset: int) -> bytes:
        try:
            return os.pread(handle, amount, offset)
        except OSError as error:
            raise DamagedError(f"byte {offset} and what follows cannot be read ({error.strerror})") from error

    return read


def _whatever_is_sound(handle: int, name: str) -> Iterator[Found]:
    """The entries of a file, read on behind damage at the next block that begins one."""
    size, read, start = os.fstat(handle).st_size, _braver(handle), 0
    while start < size:
        try:
            for found in entries_of(read, size, name, start, check=False):
                yield found
                start = found.end
            if not read(size - start, start).strip(b"\0"):
                return
        except DamagedError:
            pass
        start = _next_entry(read, start + tar.BLOCK, size)


def _next_entry(read: "tar.Read", start: int, size: int) -> int:
    """Where the next header of an image's member may begin."""
    while start + tar.BLOCK <= size:
        with suppress(DamagedError):
            member = tar.parse(read(tar.BLOCK, start), start, "")
            if member is not None and not member.name.endswith(".json"):
                return start
        start += tar.BLOCK
    return size


def _shards(path: Path) -> list[str]:
    """Complete shards and others, by name."""
    sealed, partial = shards_in(path)
    return sorted([*(shard.name for shard in sealed), *partial])


def _unfinished(path: Path) -> Iterator[str]:
    return map(writer_of, shards_in(path)[1])


def _reindex(path: Path) -> bool:
    """Delete indexes that are wrong; whoever opens the store makes them again."""
    wrong = list(wrong_indexes(path))
    for index in wrong:
        with disk_errors(index):
            index.unlink(missing_ok=True)
    return bool(wrong)


def _repeated(path: Path) -> int:
    """How many names stand in more than one shard; what cannot be read is not counted."""
    sealed, partial = shards_in(path)
    names = list[bytes]()
    for shard in sealed:
        with suppress(DamagedError, FileNotFoundError):
            names += _names(shard_table(path, shard))
    for title in partial:
        with suppress(FileNotFoundError):
            one = PartialFile(path / title)
            one.look(lambda _: False)
            names += one.found
    names.sort()
    return len({name for name, other in pairwise(names) if name == other})


def _stamp(path: Path) -> Iterator[Stamped]:
    """Every entry of a shard has its checksums from the start."""
    names = {name for shard in shards_in(path)[0] for name in _names(shard_table(path, shard))}
    yield Stamped(len(names), 0)


def _names(table: Table) -> list[bytes]:
    return table.names(0, len(table))


def _replace(store: Path, new: Path) -> Path:
    """Put the new folder into the old one's place, which gets another name; returns that.

    The new one first gets a name by which it is known to be complete: if this is killed when there is nothing in the
    old one's place, `_go_on` puts it there.
    """
    away, ready = damaged_path(store), _ready(store)
    with disk_errors(away):
        shutil.rmtree(ready, ignore_errors=True)
        new.rename(ready)
        try:
            store.rename(away)
            _put(ready, store)
            sync_folder(store.parent)
        except OSError:
            if not store.exists():
                away.rename(store)
                ready.rename(new)
            raise
    return away


def _ready(store: Path) -> Path:
    return store.with_name(f"{store.name}.ready")


def _go_on(store: Path) -> None:
    """Finish what a `_replace` began that was killed; others may do so at the same moment.

    Raises:
        DamagedError: it cannot be done.
    """
    ready = _ready(store)
    if store.exists() or not ready.is_dir():
        return
    try:
        _put(ready, store)
    except OSError as error:
        raise DamagedError(
            f"{store} is missing, for a repair was stopped; its new shards are in {ready}, which could not be renamed "
            f"({error.strerror}); rename it, or run `srcache repair` where you may write"
        ) from error


def _put(ready: Path, store: Path) -> None:
    """Rename, unless another process has done so."""
    try:
        ready.rename(store)
    except FileNotFoundError:
        if not store.exists():
            raise


KIND = StoreKind(
    name="shards",
    codec="png:1",
    misses=False,
    shared=True,
    open=_open,
    refuse=_refuse,
    check=_check,
    salvage=_Shards,
    replace=_replace,
    unfinished=_unfinished,
    finish=finish_shards,
    reindex=_reindex,
    repeated=_repeated,
    stamp=_stamp,
)
