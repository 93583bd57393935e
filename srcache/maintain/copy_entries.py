"""Entries of one store into another, of any kind: checked, encoded anew where the kinds differ, compared, committed.

The source is read as `repair` reads it, without trusting it: a damaged spot costs the entries in it, and cannot end the
process. Nothing is written to it, not even an index. Names come sorted, and what is there already is only compared, so
doing it again, after a crash at any moment, gives the same store.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import numpy as np

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import RecipeFolder
from srcache.errors import BusyError, DamagedError, ImageError, MachineError
from srcache.files.file_locks import take
from srcache.images import decode, recode
from srcache.maintain.ahead import work_ahead
from srcache.maintain.check_process import mismatch
from srcache.stores import Entry, Group, Salvage, Store, with_checksums


@dataclass(slots=True)
class Copied:
    """What became of a store's entries: `added` are new, `same` were there with these pixels; the rest failed."""

    added: int = 0
    same: int = 0
    failures: list[FailedEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Work:
    """What all entries of a store have in common."""

    source: RecipeFolder
    target: RecipeFolder
    salvage: Salvage
    store: Store


def copy_entries(
    source: RecipeFolder,
    target: RecipeFolder,
    store: Store,
    step: Callable[[int, int], None],
    most_bytes: int | None = None,
) -> Copied:
    """Copy what `source` holds and `store` lacks.

    Args:
        source: a recipe's folder; nothing in it is changed.
        target: the folder of the same recipe that `store` belongs to.
        store: opened for writing, and locked by the caller.
        step: called with (done, total).
        most_bytes: to commit at once, if less than usual: a commit goes into one shard.

    Raises:
        BusyError: the source is being filled.
        DiskFullError: no room; what was committed stays.
        MachineError: the source's files cannot be read.
    """
    copied, group = Copied(), Group(most_bytes)
    with _at_rest(source), _salvaged(source) as salvage:
        if salvage is None:
            return copied
        names, work = salvage.names(), _Work(source, target, salvage, store)
        with closing(work_ahead(lambda name: _prepared(work, name), names)) as results:
            for done, result in enumerate(results, start=1):
                if isinstance(result, Entry):
                    group.add(result)
                elif isinstance(result, FailedEntry):
                    copied.failures.append(result)
                else:
                    copied.same += 1
                if group.is_full:
                    copied.added += store.put_many(group.take())
                step(done, len(names))
        copied.added += store.put_many(group.take())
    return copied


def _prepared(work: _Work, name: str) -> Entry | FailedEntry | None:
    """The entry to add; or why it is none; or None if the same is there."""
    entry = work.salvage.entry(name)
    if entry is None:
        return _failed(work, name, "damaged", f"no complete copy of it is left in {work.source.path.parent}")
    if (noted := work.salvage.recipe(name)) not in (None, work.source.recipe.fingerprint):
        return _failed(work, name, "other_recipe", f"it was made by recipe {noted}, in whose folder it does not lie")
    wrong = mismatch(name, entry.record, entry.payload)
    if wrong is not None:
        return _failed(work, name, *wrong)
    try:
        return _compared(work, entry) if work.store.has(name) else _as_wanted(work, entry)
    except ImageError as error:
        return _failed(work, name, error.reason, f"the image does not decode: {error}")


def _compared(work: _Work, entry: Entry) -> FailedEntry | None:
    """None if the entry that is there has the same pixels."""
    try:
        record, payload = work.store.record(entry.name) or {}, work.store.get(entry.name) or b""
        if record.get("checksum") == entry.record["checksum"]:
            return None
        if np.array_equal(decode(payload), decode(entry.payload)):
            return None
    except DamagedError as error:
        where = f"the entry that {work.target.path.parent} has cannot be compared: {error}"
        return _failed(work, entry.name, "damaged_before", where)
    there, other = work.target.path.parent, work.source.path.parent
    return _failed(work, entry.name, "conflict", f"{other} has other pixels than those that are in {there}")


def _as_wanted(work: _Work, entry: Entry) -> Entry:
    """An entry as the target's kind of store keeps it; a lossy image stays byte for byte as it is."""
    codec, payload = work.target.store_kind.codec, entry.payload
    if work.source.store_kind.codec != codec and work.target.recipe.codec is None:
        payload = recode(payload, codec)
    return Entry(entry.name, payload, with_checksums(entry.record, payload), entry.aliases)


def _failed(work: _Work, name: str, reason: str, detail: str) -> FailedEntry:
    return FailedEntry(name, str(work.source.path), reason, detail)


@contextmanager
def _salvaged(source: RecipeFolder) -> Iterator[Salvage | None]:
    """What a source's files hold; None where nothing was built yet."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(source.store_kind.salvage(source.store_path))
        except FileNotFoundError:
            found = None
        except OSError as error:
            raise MachineError(f"{source.store_path} cannot be read ({error.strerror}); give permission") from error
        yield found


@contextmanager
def _at_rest(source: RecipeFolder) -> Iterator[None]:
    """Keep others from filling or mending a source that is being read; its lock is shared, and nothing is written.

    A source without a lock, or that cannot be locked (a sealed copy, a file system without locks), is read as it is.
    """
    try:
        file = (source.path / "lock").open("rb")
    except OSError:
        yield
        return
    with file:
        try:
            take(file.fileno(), shared=True)
        except BlockingIOError as error:
            holders = ", ".join(file.read().decode(errors="replace").split()) or "?"
            raise BusyError(f"{source.path} is being filled by process {holders}; wait for it, or stop it") from error
        except OSError:
            file.close()
        yield
