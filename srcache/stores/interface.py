"""The seam of stores: names to bytes, and what a kind of store can do beside that.

A `Store` holds entries. A `StoreKind` says how a store of one kind is opened and made, where it must not be made, what
can be wrong with its files beyond its entries, and how to save what a damaged one still holds. The two are all that has
to be written for another kind of store: nothing outside this package knows how any of them keeps its bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from srcache.keys import ImageKey, dropped_key

Record = dict[str, Any]
"""What is known about an entry, as plain JSON values; `checksum` is the payload's key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One SR image: its name, an image file's bytes, its record, and other keys that mean the same source image."""

    name: str
    payload: bytes
    record: Mapping[str, Any]
    aliases: tuple[str, ...] = field(default=())


class View(Protocol):
    """Look-ups in a store, as `Store.view` gives them."""

    def get(self, name: str) -> bytes | memoryview | None:
        """The payload of a name, or None. Its bytes are not copied where the store can do without."""
        ...

    def get_many(self, names: Sequence[str], trusted: Sequence[int] = ()) -> list[bytes | memoryview | None]:
        """`get` for each name: faster, where threads would otherwise wait for each other at every one.

        Args:
            names: the names.
            trusted: for each name, whether its payload need not be compared with its checksum, because the caller had
                it compared before; for none if left out. A store may compare it all the same.
        """
        ...

    def resolve(self, alias: str) -> str | None:
        """The image key that an alias stands for, of several the lowest, or None."""
        ...


class Store(Protocol):
    """Names to bytes. The first write of a name wins, and the lowest key of those that an alias was given for, so that
    neither threads nor the order of commits decide; what `put_many` returned from survives a crash.
    """

    def put_many(self, entries: Iterable[Entry]) -> int:
        """Commit entries, all or none; returns how many names were new.

        Raises:
            DiskFullError: they did not fit; what was committed before is untouched.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """The payload of a name, or None."""
        ...

    def record(self, name: str) -> Record | None:
        """The record of a name, or None."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is an entry of a name; cheaper than `record`, which reads and parses it."""
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """All names that start so, sorted."""
        ...

    def __len__(self) -> int:
        """How many entries there are."""
        ...

    def resolve(self, alias: str) -> str | None:
        """The image key that an alias stands for, of several the lowest, or None."""
        ...

    def view(self) -> AbstractContextManager[View]:
        """Look up many names at once, and without copying them.

        What `get` returns is valid only inside the context. Threads may be inside at the same time; a thread that is
        must not call the store itself.
        """
        ...

    def close(self) -> None:
        """Let go of files; closing twice is harmless."""
        ...


def source_of(look: View | Store, key: ImageKey, alias: ImageKey | None = None) -> ImageKey | None:
    """The source image whose pixels a key names: the one that has them, else one that has them once its transparency,
    orientation or more than 8 bits are dropped; None if no alias says so.

    Caches of early versions name both kinds by the key itself.

    Args:
        look: where the aliases are.
        key: of the pixels.
        alias: the key that also says which pixels a recipe makes of them, where it makes others (`recolored_key`).
    """
    found = look.resolve(alias or key) or look.resolve(dropped_key(key))
    return None if found is None else ImageKey(found)


class Problem(NamedTuple):
    """Something wrong in a store's files: the entry or alias (empty for none), one word for counting, a sentence."""

    name: str
    reason: str
    detail: str


class Salvage(Protocol):
    """What the files of a damaged store still hold, read without trusting them."""

    def names(self) -> Sequence[str]:
        """Every name that left a trace, sorted."""
        ...

    def entry(self, name: str) -> Entry | None:
        """The entry of a name, its payload as its record's checksum says; None if no complete copy is left."""
        ...

    def recipe(self, name: str) -> str | None:
        """The fingerprint of the recipe that an entry was made by; None if nobody noted it, or it cannot be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How a store is opened.

    Attributes:
        writable: for adding entries; a store that is not there is made.
        fingerprint: of the recipe that the entries are made by. A store notes it, and one that holds another recipe's
            is refused; None asks for nothing.
        look: refuse a store that is so damaged that reading it could end the process; where that takes longer than to
            open it. One that is opened for writing is looked at in any case.
        shard_bytes: size in bytes at which a store that consists of shards begins another one.
        writer: the id of the process that writes, eight hexadecimal digits, where several may; None for one of its own.
        take_over: the id of a writer that is gone, whose unfinished shard this one shall continue.
    """

    writable: bool = False
    fingerprint: str | None = None
    look: bool = False
    shard_bytes: int = 512 << 20
    writer: str | None = None
    take_over: str | None = None


class Stamped(NamedTuple):
    """One step of adding checksums: entries looked at, how many of them got theirs now, and those that are damaged."""

    entries: int
    added: int
    problems: tuple[Problem, ...] = ()


def _nothing(path: Path) -> Iterator[Any]:
    return iter(())


def _no(path: Path) -> bool:
    return False


def _none(path: Path, options: StoreOptions | None = None) -> int:
    return 0


def _not_asked(path: Path) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKind:
    """A kind of store.

    Attributes:
        name: as a cache writes it down, and as `--store` takes it.
        codec: the lossless codec of its images, where a recipe names no lossy one; see `images.encode`.
        misses: whether the workers of a training may add the images that they miss.
        shared: whether several processes may fill a store at once.
        prompt: whether a look-up is over at once, also while entries are committed, so that an event loop may do it.
        open: a store at a path; raises CacheError where there is nothing to read, DamagedError, MachineError.
        refuse: raises CacheError where a store of this kind must not be made.
        check: problems of a store's files that reading all entries does not show. Reading damaged files may end the
            process, so it is called in one of its own (see `maintain.check_process`).
        salvage: a context manager with what a damaged store still holds.
        alone: a context manager inside which no process has the store open for writing, as far as locks reach; raises
            BusyError where one has. For what replaces or removes a store, beside the lock of its recipe's folder, which
            not all who write hold.
        replace: puts a new store in the place of a damaged one in one step, and returns where the old files are kept.
        unfinished: the ids of writers whose part of a store is not complete, whether they live or not.
        finish: completes the parts of writers that are gone, which on a network file system are all; returns how many
            entries are in them. Nobody may fill the store meanwhile, as far as locks reach.
        reindex: makes again what only says where entries lie, and returns whether something was wrong with it.
        repeated: how many names stand in a store more than once, which is harmless.
        stand_in: lets a path of this machine stand for a store below a URL: it is given the path, the URL, the place
            below it with a slash at its end, and the folder to write in. None where a store of this kind cannot lie
            there.
        waiting: how many entries are still on this machine only, where a store lies elsewhere.
        stamp: gives entries of older versions the checksum that they lack, after comparing them with the one that they
            have; in steps, each of which is complete. Called as `check` is.
    """

    name: str
    codec: str
    misses: bool
    shared: bool = False
    prompt: bool = False
    open: Callable[[Path, StoreOptions], Store]
    refuse: Callable[[Path], None]
    check: Callable[[Path], Iterator[Problem]]
    salvage: Callable[[Path], AbstractContextManager[Salvage]]
    replace: Callable[[Path, Path], Path]
    alone: Callable[[Path], AbstractContextManager[None]] = _not_asked
    unfinished: Callable[[Path], Iterator[str]] = _nothing
    finish: Callable[[Path, StoreOptions], int] = _none
    reindex: Callable[[Path], bool] = _no
    repeated: Callable[[Path], int] = _none
    stand_in: Callable[[Path, str, str, Path], None] | None = None
    waiting: Callable[[Path], int] = _none
    stamp: Callable[[Path], Iterator[Stamped]] = _nothing
