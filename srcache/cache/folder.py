"""One recipe's folder in a cache: its store, its receipts, its journals of failures and its lock."""

import calendar
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from srcache.cache.failures import FailedEntry, append_failure, journals_of, read_failures
from srcache.cache.mirror import Mirror
from srcache.errors import BusyError, DamagedError, MachineError
from srcache.files import disk_errors, lock, write_atomic
from srcache.files.documents import parse_json
from srcache.files.folders import paths_in
from srcache.files.system_errors import reading
from srcache.recipe.recipe import Recipe
from srcache.stores import Store, StoreKind, StoreOptions, store_kind

_STAMP = "%Y%m%dT%H%M%SZ"
"""The time (UTC) in a receipt's name."""


@dataclass(frozen=True, slots=True)
class RecipeFolder:
    """One recipe's folder in a cache: its store, its receipts, its journal of failures and its lock.

    Attributes:
        path: the folder, CACHE/<name>-<fingerprint>; of a cache below a URL, that which mirrors it.
        kind: the name of the cache's kind of store.
        recipe: as recipe.yaml has it.
        writer: the id of this process where it fills the folder together with others; see `as_writer`.
        mirror: of a cache below a URL.
    """

    path: Path
    kind: str
    recipe: Recipe
    writer: str | None = None
    mirror: Mirror | None = None

    def store(self, *, writable: bool = False, shard_bytes: int | None = None, take_over: str | None = None) -> Store:
        """Open the entries, after a look at what leads to them; `shard_bytes` and `take_over` as in `StoreOptions`.

        Raises:
            MachineError: the folder was taken away, and is not made again by whoever would write to it.
        """
        if writable and not self.path.is_dir():
            raise self._taken_away
        options = StoreOptions(
            writable=writable, fingerprint=self.recipe.fingerprint, look=True, writer=self.writer, take_over=take_over
        )
        if shard_bytes is not None:
            options = replace(options, shard_bytes=shard_bytes)
        return self.store_kind.open(self.store_path, options)

    def as_writer(self) -> "RecipeFolder":
        """The folder for a process that fills it: where several may at once, with an id for all that it writes."""
        return replace(self, writer=uuid4().hex[:8]) if self.store_kind.shared else self

    def mirrored(self, mirror: Mirror | None) -> "RecipeFolder":
        """The folder of a cache that is mirrored from a URL, where its store's path stands for what is below it."""
        if mirror is None or self.store_kind.stand_in is None:
            return self
        below, spool = f"{self.path.name}/{self.store_path.name}/", mirror.spool / self.path.name
        self.store_kind.stand_in(self.store_path, mirror.url, below, spool)
        return replace(self, mirror=mirror)

    @property
    def place(self) -> str:
        """Where the folder lies, for people: a path or a URL."""
        return str(self.path) if self.mirror is None else f"{self.mirror.url}/{self.path.name}"

    def push(self) -> None:
        """Where the cache lies below a URL, upload the small files that were made or changed here.

        Raises:
            MachineError: the service does not answer, or refuses.
        """
        if self.mirror is not None:
            self.mirror.push()

    @property
    def store_kind(self) -> StoreKind:
        """What the store can do beside holding entries."""
        return store_kind(self.kind)

    @property
    def store_path(self) -> Path:
        """Where the store lies."""
        return self.path / f"data.{self.kind}"

    def receipts(self) -> list[dict[str, Any]]:
        """What earlier runs wrote down, oldest first; what cannot be read is left out, for it is a log."""
        found = list[dict[str, Any]]()
        for path in paths_in(self.path / "receipts", "*.json"):
            with suppress(DamagedError):
                found.append(read_json(path))
        return found

    def write_receipt(self, receipt: dict[str, Any]) -> None:
        """Keep what a run did; a receipt is written once and never changed. Where the cache lies below a URL, it is
        uploaded, and failures that were noted are too.

        Receipts are in the order of their names, which begin with the time; where a clock went back, the time in a name
        does not: it is then just after that of the last receipt. `ended` inside says what the clock said.

        Raises:
            MachineError: the folder was taken away.
        """
        if not self.path.is_dir():
            raise self._taken_away
        now = time.time_ns()  # one look at one clock: others may be a tick behind
        last = max(map(_time_in, (self.path / "receipts").glob("*.json")), default=0)
        seconds, nanoseconds = divmod(max(now, last + 1), 10**9)
        name = f"{time.strftime(_STAMP, time.gmtime(seconds))}-{nanoseconds:09d}-{uuid4().hex[:8]}.json"
        known = {"ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // 10**9)), **receipt}
        write_atomic(self.path / "receipts" / name, json.dumps(known, indent=1, sort_keys=True) + "\n")
        self.push()

    @property
    def samples(self) -> int:
        """Samples per image that this folder was built with, as far as receipts tell; at least 1."""
        asked = (receipt.get("samples") for receipt in self.receipts())
        return max((samples for samples in asked if isinstance(samples, int)), default=1)

    def failures(self) -> dict[str, FailedEntry]:
        """The latest failure of each entry, with the number of tries; entries made since then are still listed."""
        return read_failures(journals_of(self.path))

    def note_failure(self, failed: FailedEntry) -> None:
        """Append one failure to the journal, or to the writer's own where several fill the folder.

        Raises:
            MachineError: the folder was taken away.
        """
        journal = self.path / ("failures.jsonl" if self.writer is None else f"failures/{self.writer}.jsonl")
        try:
            with disk_errors(journal):
                if self.writer is not None:
                    journal.parent.mkdir(exist_ok=True)
                append_failure(journal, failed)
        except FileNotFoundError as error:
            raise self._taken_away from error

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the folder's lock, alone or with others, as the kind of store allows; see `files.lock`.

        Raises:
            BusyError: another process fills it, and only one may; or it is repaired, or was taken away.
        """
        with lock(self.path, shared=self.store_kind.shared) as alone:
            if not (self.path / "recipe.yaml").exists():
                raise BusyError(f"{self.path} was taken away a moment ago; run the same command again")
            yield alone

    @property
    def _taken_away(self) -> MachineError:
        return MachineError(f"{self.path} was taken away while it was being filled; run the same command again")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file of a cache holds.

    Raises:
        DamagedError: it is not there, or holds something else.
        MachineError: it may not be read.
    """
    try:
        with reading(path):
            found: dict[str, Any] = parse_json(path.read_bytes(), {})
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} must hold a JSON object, but cannot be read: {error}") from error
    return found


def _time_in(receipt: Path) -> int:
    """The time that a receipt's name begins with, in nanoseconds since 1970; 0 where it has none."""
    stamp, _, rest = receipt.name.partition("-")
    try:
        return calendar.timegm(time.strptime(stamp, _STAMP)) * 10**9 + int(rest[:9])
    except ValueError:
        return 0
