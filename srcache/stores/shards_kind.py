"""Shards as a kind of store: what their files can hold beside sound entries, and how they are replaced."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from srcache.errors import DamagedError
from srcache.files import damaged_path, disk_errors, sync_folder
from srcache.stores import tar
from srcache.stores.interface import Entry, Problem, Stamped, StoreKind, StoreOptions
from srcache.stores.shard_files import OpenShard, PartialFile
from srcache.stores.shard_finish import finish_shards
from srcache.stores.shard_home import LocalHome, ShardHome, shard_home, stand_for_objects
from srcache.stores.shard_index import Table, name_of
from srcache.stores.shard_members import Found, entries_of, read_payload, read_record, recipe_of
from srcache.stores.shard_names import is_partial, is_shard, shards_in, writer_of
from srcache.stores.shard_objects import spooled_entries
from srcache.stores.shard_tables import shard_tables, wrong_indexes
from srcache.stores.shards import ShardsStore


def _open(path: Path, options: StoreOptions) -> ShardsStore:
    _go_on(path)
    return ShardsStore(path, options)


def _refuse(path: Path) -> None:
    """Shards may lie anywhere."""


def _check(path: Path) -> Iterator[Problem]:
    """Every complete shard is a tar of entries to its end, and what follows is zeros; indexes agree with their tars."""
    home = shard_home(path)
    payloads = not isinstance(home, LocalHome)  # of objects, the entries that were read may have been copies
    for name in _shards(home):
        with suppress(FileNotFoundError):  # a shard that was completed just now has another name
            yield from _check_shard(home.scan(name), name, payloads)
    for index in wrong_indexes(home):
        detail = f"{index.name} does not say where the entries of its shards lie; `srcache repair` makes it again"
        yield Problem("", "index", detail)


def _check_shard(file: OpenShard, name: str, payloads: bool) -> Iterator[Problem]:
    size, end = file.size, 0
    try:
        for found in entries_of(file.read, size, name, check=payloads):
            end = found.end
    except DamagedError as error:
        if is_shard(name):  # what is behind the last entry of another one is being written, or will be cut off
            yield Problem("", "damaged", str(error))
        return
    if is_shard(name) and (size - end < len(tar.END) or file.read(size - end, end).strip(b"\0")):
        yield Problem("", "damaged", f"{name} does not end as a tar file does")


class _Shards:
    """What shards still hold; see `Salvage`. A context manager: it looks at every file when it is entered.

    Only shards that somebody may be writing stay open, for they are renamed when they are complete; a folder may have
    more complete ones than a process may open files.
    """

    def __init__(self, path: Path) -> None:
        self._home = shard_home(path)
        self._partials: dict[str, OpenShard] = {}
        self._found: dict[str, list[tuple[str, Found]]] = {}

    def __enter__(self) -> "_Shards":
        for name in _shards(self._home):
            file = self._home.scan(name)
            for found in _whatever_is_sound(file, name):
                self._found.setdefault(name_of(found.name), []).append((name, found))
            if is_partial(name):
                self._partials[name] = file
        return self

    def __exit__(self, *rest: object) -> None:
        self._partials.clear()

    def names(self) -> list[str]:
        """See `Salvage.names`."""
        return sorted(self._found)

    def entry(self, name: str) -> Entry | None:
        """See `Salvage.entry`."""
        for shard, found in self._found.get(name, ()):
            with suppress(DamagedError):
                read = _braver(self._partials.get(shard) or self._home.reread(shard))
                payload = read_payload(read, name, found.place, name)
                return Entry(name, payload, read_record(read, name, found.place, name), found.aliases)
        return None

    def recipe(self, name: str) -> str | None:
        """See `Salvage.recipe`."""
        for shard, found in self._found.get(name, ()):
            with suppress(DamagedError):
                read = _braver(self._partials.get(shard) or self._home.reread(shard))
                return recipe_of(read, name, found.place, name)
        return None


def _braver(file: OpenShard) -> tar.Read:
    """To read a file by, to which a spot that the disk refuses is damage like any other."""

    def read(amount: int, offset: int) -> bytes:
        try:
            return file.read(amount, offset)
        except OSError as error:
            raise DamagedError(f"byte {offset} and what follows cannot be read ({error.strerror})") from error

    return read


def _whatever_is_sound(file: OpenShard, name: str) -> Iterator[Found]:
    """The entries of a file, read on behind damage at the next block that begins one."""
    size, read, start = file.size, _braver(file), 0
    while start < size:
        try:
            for found in entries_of(read, size, name, start, check=False, strict=False):
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
            member = tar.parse(read(tar.BLOCK, start), start, "", strict=False)
            if member is not None and not member.name.endswith(".json"):
                return start
        start += tar.BLOCK
    return size


def _shards(home: ShardHome) -> list[str]:
    """Complete shards and others, by name."""
    sealed, partial = home.listing()
    return sorted([*(shard.name for shard in sealed), *partial])


def _unfinished(path: Path) -> Iterator[str]:
    return map(writer_of, shards_in(shard_home(path).spool)[1])


def _reindex(path: Path) -> bool:
    """Delete indexes that are wrong; whoever opens the store makes them again."""
    wrong = list(wrong_indexes(shard_home(path)))
    for index in wrong:
        with disk_errors(index):
            index.unlink(missing_ok=True)
    return bool(wrong)


def _repeated(path: Path) -> int:
    """How many names stand in more than one shard; what cannot be read is not counted."""
    home, names = shard_home(path), list[bytes]()
    sealed, partial = home.listing()
    for shard in sealed:
        with suppress(DamagedError, FileNotFoundError):
            names += _names(shard_tables(home, [shard])[0])
    for title in partial:
        with suppress(FileNotFoundError):
            one = PartialFile(home.spool / title)
            one.look(lambda _: False)
            names += one.found
    names.sort()
    return len({name for name, other in pairwise(names) if name == other})


def _waiting(path: Path) -> int:
    """How many entries a spool holds; none where shards are written where they stay."""
    spool = shard_home(path).spool
    return 0 if spool == path else spooled_entries(spool)


def _stamp(path: Path) -> Iterator[Stamped]:
    """Every entry of a shard has its checksums from the start."""
    home = shard_home(path)
    names = {name for table in shard_tables(home, home.listing()[0]) for name in _names(table)}
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
    stand_in=stand_for_objects,
    waiting=_waiting,
    stamp=_stamp,
)
