"""What an open store knows of its folder: which shards there are, and where in them each name lies.

Of complete shards the lowest that holds a name wins, and a complete shard wins over one that is being written. But what
is known stays: a name keeps to the shard in which it was first seen, also when a lower one comes later, and when the
shard in which it was seen is completed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

from srcache.errors import DamagedError
from srcache.stores.shard_files import OpenShard, PartialFile
from srcache.stores.shard_home import ShardHome
from srcache.stores.shard_index import Place, Shard, Table, merge_tables, name_of
from srcache.stores.shard_members import Found
from srcache.stores.shard_names import PARTIAL
from srcache.stores.shard_tables import folder_table, shard_tables
from srcache.stores.shard_writer import ShardWriter

_T = TypeVar("_T")
_MOST_FILES = 256
"""Complete shards that are open at once; that which has been open for longest is let go first."""

_LOOKS = 3
"""Times that a folder is listed before a shard that comes and goes is taken for damage."""

_PIECE = 10_000


class ShardFolder:
    """The shards of a folder, those of one writer among them; not for several threads at once."""

    def __init__(self, home: ShardHome, writer: ShardWriter) -> None:
        self._home, self._writer, self._due = home, writer, 0.0
        self._tables: list[Table] = []
        self._sealed: set[str] = set()
        self._partials: dict[str, PartialFile] = {}
        self._kept: dict[bytes, tuple[str, Place]] = {}
        """Names that a complete shard came to hold after they were seen in another one: its final name, and where."""
        self._files: dict[str, OpenShard] = {}

    def find(self, name: bytes) -> tuple[str, Place] | None:
        """The shard that holds a packed name, and where in it; None if there is none."""
        return self._look_for(lambda: self._known(name))

    def resolve(self, alias: bytes) -> str | None:
        """The key that a packed alias stands for, or None."""
        return self._look_for(lambda: self._meaning(alias))

    def names(self, prefix: str) -> list[Iterable[str]]:
        """Names that may begin so, sorted, in several parts that may hold the same."""
        self.look()
        parts: list[Iterable[str]] = [_table_names(table, prefix) for table in self._tables]
        return parts + [sorted(map(name_of, found)) for found in self._written().values()]

    def count(self) -> int:
        """How many names there are."""
        self.look()
        more = {name for found in self._written().values() for name in found}
        if len(self._tables) > 1:
            self._tables = [merge_tables(self._tables)]
        (table,) = self._tables
        return len(table) + sum(table.place(name) is None for name in more)

    def file(self, shard: str) -> OpenShard | None:
        """A shard that `find` named, if it is open for reading; if not, it is to be opened and given to `keep`."""
        return self._partials[shard].file if shard in self._partials else self._files.get(shard)

    def keep(self, shard: str, file: OpenShard) -> None:
        """Keep a shard open; such as lie no more where they were opened are let go of."""
        self._files = {name: other for name, other in self._files.items() if other.is_there}
        self._files[shard] = file
        if len(self._files) > _MOST_FILES:
            self._files.pop(next(iter(self._files)))

    def seal(self) -> None:
        """Complete the writer's shard in hand, if there is one."""
        own = self._written(with_others=False)
        if self._writer.seal() is not None:
            self.look(own, fresh=False)
            for title in own:
                self._files.pop(title, None)

    def save_table(self) -> None:
        """Keep one table of all complete shards for those who open the store next."""
        if self._home.folder.is_dir():
            folder_table(self._home, self._home.listing()[0])

    def look(self, own: Mapping[str, dict[bytes, Found]] | None = None, *, fresh: bool = True) -> None:
        """Take in what the folder holds now: shards that were completed since, and what others hold by now.

        Args:
            own: what the writer's shard held that it has just completed.
            fresh: as for `ShardHome.listing`.
        """
        self._due = time.monotonic() + self._home.look_every
        for turn in range(_LOOKS):
            sealed, partial = self._home.listing(fresh=fresh or turn > 0)
            try:
                self._take_tables(sealed, {**self._written(), **(own or {})})
            except FileNotFoundError as error:
                if turn == _LOOKS - 1:
                    raise DamagedError(f"{error.filename} was there a moment ago, and is gone") from error
                continue
            self._take_partials([title for title in partial if title != self._writer.name])
            return

    def hand_to(self, writer: ShardWriter) -> None:
        """In a forked child, go on with what is known, as the folder of a writer of its own."""
        self._writer, self._due = writer, 0.0

    def forget(self) -> None:
        """Drop what is known of files, for they have changed."""
        self._tables, self._sealed, self._partials, self._kept, self._files = [], set(), {}, {}, {}

    def _look_for(self, find: Callable[[], _T | None]) -> _T | None:
        """What is known, or else what is known after another look, at most once in a while."""
        if not self._tables:
            self.look()
        found = find()
        if found is None and time.monotonic() >= self._due:
            self.look(fresh=False)
            found = find()
        return found

    def _known(self, name: bytes) -> tuple[str, Place] | None:
        if name in self._kept:
            shard, place = self._kept[name]
            return shard if shard in self._sealed else f"{shard}{PARTIAL}", place
        found = self._in_tables(name)
        if found is not None:
            return found
        for title, entries in self._written().items():
            if name in entries:
                return title, entries[name].place
        return None

    def _in_tables(self, name: bytes) -> tuple[str, Place] | None:
        for table in self._tables:
            table.require_whole()
            place = table.place(name)
            if place is not None:
                shard = table.shards[place.shard]
                if place.offset + place.size > shard.size:
                    raise DamagedError(f"the index of {shard.name} is damaged; `srcache repair` makes it again")
                return shard.name, place
        return None

    def _meaning(self, alias: bytes) -> str | None:
        """The lowest of the keys that tables and shards in hand give; hexadecimal digits are in the order of bytes."""
        keys = [key.hex() for table in self._tables if (key := table.resolve(alias)) is not None]
        written = [self._writer.aliases, *(partial.aliases for partial in self._partials.values())]
        return min([*keys, *(known[alias.hex()] for known in written if alias.hex() in known)], default=None)

    def _written(self, *, with_others: bool = True) -> dict[str, dict[bytes, Found]]:
        """The shards that are being written, the writer's first, and their entries."""
        own = {self._writer.name: self._writer.found} if self._writer.name else {}
        others = {title: partial.found for title, partial in self._partials.items()} if with_others else {}
        return {**own, **{title: found for title, found in others.items() if title not in own}}

    def _take_tables(self, sealed: list[Shard], written: Mapping[str, dict[bytes, Found]]) -> None:
        """Take in the indexes of complete shards that are new, or of all where one that was known is gone."""
        known = {shard for table in self._tables for shard in table.shards}
        fresh = [shard for shard in sealed if shard not in known]
        if not self._tables or not known <= set(sealed):
            table = folder_table(self._home, sealed)
            self._keep(table, written)
            self._tables = [table]
        elif fresh:
            table = merge_tables(shard_tables(self._home, fresh), lowest_wins=True)
            self._keep(table, written)
            self._tables.append(table)
            while len(self._tables) > 1 and len(self._tables[-2]) <= 2 * len(self._tables[-1]):
                self._tables[-2:] = [merge_tables(self._tables[-2:])]
        self._sealed = {shard.name for shard in sealed}

    def _keep(self, table: Table, written: Mapping[str, dict[bytes, Found]]) -> None:
        """Note names of which a table that will be asked first has another place than that which is known."""
        for title, entries in written.items():
            shard = title.removesuffix(PARTIAL)
            for name in table.among(entries):
                place = table.place(name)
                if place is None or table.shards[place.shard].name == shard:
                    continue
                if name not in self._kept and self._in_tables(name) is None:
                    self._kept[name] = shard, entries[name].place

    def _take_partials(self, partial: list[str]) -> None:
        """Take in what shards hold that others are writing."""
        own = self._writer.name
        gone = set(self._partials) - set(partial) - {own}
        if any(title.removesuffix(PARTIAL) not in self._sealed for title in gone):
            self._partials = {}  # what it held alone may stand in others too
        there = {*self._sealed, *(title.removesuffix(PARTIAL) for title in (*partial, own or ""))}
        self._kept = {name: place for name, place in self._kept.items() if place[0] in there}
        self._partials = {title: one for title, one in self._partials.items() if title in partial}
        for title in partial:
            with suppress(FileNotFoundError):
                if title not in self._partials:
                    self._partials[title] = PartialFile(self._home.spool / title)
                self._partials[title].look(self._known)


def _table_names(table: Table, prefix: str) -> Iterator[str]:
    """The names of a table from a prefix on, as far as they may begin so."""
    first = table.lower(_least(prefix))
    while names := table.names(first, first + _PIECE):
        for packed in names:
            name = name_of(packed)
            if not name.startswith(prefix) and name > prefix:
                return
            yield name
        first += len(names)


def _least(prefix: str) -> bytes:
    """The smallest packed name that could begin so."""
    digits = prefix[:32].ljust(32, "0")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return b""
