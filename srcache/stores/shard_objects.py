"""Shards that are objects below a URL: written in a spool folder, uploaded when they are complete, read from copies.

    URL/…/00000000-1a2b3c4d.tar           a complete shard; it is there, or it is not
    URL/…/00000000-1a2b3c4d.tar.idx       where its entries lie
    SPOOL/00000001-5e6f7a8b.tar.partial   the shard in hand, as on a disk; what `put_many` returned from is synced here
    SPOOL/00000000-5e6f7a8b.tar           complete, but not uploaded yet

A lost machine therefore loses what is in its spool: at most each writer's shard in hand, and what it could not upload
yet. On the same machine, the next writer goes on from the spool.

Training reads entries in random order. Shards are fetched whole, as far as they fit into the copies that may be kept
(`shard_copies`): in the order of their names, so that all processes agree, and nothing is fetched in order to be thrown
away. Of the rest, single entries are read over the network.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from srcache.errors import DamagedError, MachineError
from srcache.files import user_folder, write_atomic
from srcache.files.objects import ObjectFolder, object_folder
from srcache.files.urls import local_name
from srcache.machine import NETWORK, file_system
from srcache.stores.shard_copies import Copies
from srcache.stores.shard_files import OpenShard, PartialFile, ShardFile
from srcache.stores.shard_home import INDEX, TABLE, LocalHome
from srcache.stores.shard_index import Shard, read_table
from srcache.stores.shard_names import is_partial, is_shard, shards_in
from srcache.stores.shard_tables import shard_tables
from srcache.stores.shard_upload import Uploader
from srcache.wording import counted

_AGE, _ROUTINE_AGE = 1.0, 10.0
"""Seconds since a listing that will do for a look: so opening a cache and its store is one listing, and names that are
not found cost one in a while."""

_AT_ONCE = 16
"""Indexes that are fetched at once."""


class RemoteShard:
    """A shard of which single entries are read over the network; see `OpenShard`."""

    is_there = True

    def __init__(self, objects: "ObjectsHome", name: str, size: int) -> None:
        self._home, self._name, self.size = objects, name, size

    def read(self, amount: int, offset: int) -> bytes:
        """See `OpenShard.read`."""
        amount = min(amount, self.size - offset)
        return self._home.objects().read(self._home.below + self._name, offset, amount) if amount > 0 else b""

    view = read


class ObjectsHome:
    """See `srcache.stores.shard_home.ShardHome`. It may be used by a process that was forked."""

    look_every = 1.0

    def __init__(self, folder: Path, url: str, below: str, spool: Path) -> None:
        self.folder, self.spool, self.below = folder, spool, below
        self.tables = [folder / TABLE]
        self.place = f"{url}/{below}".rstrip("/")
        self._url = url
        self._copies = Copies(local_name(self.place))
        self._mapped = file_system(user_folder()) not in NETWORK
        self._uploader = Uploader(spool, self.objects, below, self._uploaded)
        self._remote, self._seen, self._named = dict[str, int](), set[str](), set[str]()
        self._whole: frozenset[str] = frozenset()

    def objects(self) -> ObjectFolder:
        """The objects below the URL."""
        return object_folder(self._url)

    def exists(self) -> bool:
        """See `ShardHome.exists`."""
        return any(shards_in(self.spool)) or bool(self._listed())

    def listing(self, *, fresh: bool = True) -> tuple[list[Shard], list[str]]:
        """See `ShardHome.listing`: one listing of objects. The spool is looked at first, for shards move from there."""
        waiting, partial = shards_in(self.spool)
        there, seen = {shard.name for shard in waiting}, self._seen
        remote = self._listed(_AGE if fresh else _ROUTINE_AGE)
        if not seen <= there | set(remote):  # one was moved since that listing
            remote = self._listed(most_age=0)
        self._remote, self._seen = remote, there | set(remote)
        self._named |= self._seen
        self._whole = self._fitting(remote)
        return sorted({*waiting, *(Shard(*item) for item in remote.items())}), partial

    def _listed(self, most_age: float = _AGE) -> dict[str, int]:
        found = self.objects().listing(self.below, most_age=most_age)
        names = ((name.removeprefix(self.below), info.size) for name, info in found.items())
        return {name: size for name, size in names if is_shard(name)}

    def taken(self) -> Sequence[str]:
        """See `ShardHome.taken`: all that were ever seen, for one that was uploaded just now is in no listing yet."""
        return list(self._named)

    def open(self, name: str) -> OpenShard:
        """See `ShardHome.open`: a copy that is mapped into memory, or single entries over the network."""
        with suppress(FileNotFoundError):
            return ShardFile(self.spool / name, mapped=self._mapped and is_shard(name))
        if is_partial(name):
            raise FileNotFoundError(name)
        size = self._size(name)
        for _ in range(3):  # another process may need the room
            with suppress(FileNotFoundError):
                path = self._copies.there(name)
                if path is None or path.stat().st_size != size:
                    if name not in self._whole:
                        return RemoteShard(self, name, size)
                    path = self._copies.bring(self.objects(), self.below + name, name, size)
                return ShardFile(path, mapped=self._mapped)
        if self.below + name not in self.objects().listing(self.below):
            raise FileNotFoundError(name)
        return RemoteShard(self, name, size)

    def scan(self, name: str) -> OpenShard:
        """See `ShardHome.scan`: fetched anew, and not kept."""
        for title in (name, name.removesuffix(".partial")):
            with suppress(FileNotFoundError):
                return ShardFile(self.spool / title, mapped=False)
        title = name.removesuffix(".partial")
        with self._copies.scratch(title) as path:
            self.objects().fetch(self.below + title, path)
            return ShardFile(path, mapped=False)

    def reread(self, name: str) -> OpenShard:
        """See `ShardHome.reread`."""
        return self.open(name)

    def bring_indexes(self, shards: Sequence[Shard]) -> None:
        """See `ShardHome.bring_indexes`: one request for each that is not there."""
        missing = [shard for shard in shards if not self._has_index(shard)]
        if missing:
            with ThreadPoolExecutor(min(_AT_ONCE, len(missing))) as pool:
                list(pool.map(self._bring_index, missing))

    def drop(self, name: str) -> bool:
        """See `ShardHome.drop`."""
        return self._copies.drop(name)

    def deliver(self, *, finish: bool) -> None:
        """See `ShardHome.deliver`: uploaded in a thread, and a writer waits only if several shards wait."""
        try:
            self._uploader.wait(finish=finish)
        except MachineError as error:
            count = counted(spooled_entries(self.spool), "SR image")
            raise MachineError(
                f"{error}; not uploaded yet, and safe in {self.spool}: {count}. The same command on this machine "
                "goes on from there"
            ) from error

    def _fitting(self, remote: dict[str, int]) -> frozenset[str]:
        """The shards of which copies may be kept."""
        room, fitting = self._copies.limit(), set[str]()
        for name in sorted(remote):
            room -= remote[name]
            if room < 0:
                break
            fitting.add(name)
        return frozenset(fitting)

    def _size(self, name: str) -> int:
        if name not in self._remote:
            self.listing()
        if name not in self._remote:
            raise FileNotFoundError(name)
        return self._remote[name]

    def _has_index(self, shard: Shard) -> bool:
        try:
            return read_table(self.folder / f"{shard.name}{INDEX}", mapped=False).shards == (shard,)
        except (OSError, DamagedError):
            return False

    def _bring_index(self, shard: Shard) -> None:
        name = f"{shard.name}{INDEX}"
        with suppress(FileNotFoundError):  # it is made again from the shard
            data = (self.spool / name).read_bytes() if (self.spool / name).exists() else None
            write_atomic(self.folder / name, data or self.objects().read(self.below + name), sync=False)

    def _uploaded(self, shard: Path, index: Path) -> None:
        """Keep what was uploaded as a copy."""
        self._named.add(shard.name)
        with suppress(OSError, MachineError):
            write_atomic(self.folder / index.name, index.read_bytes(), sync=False)
        self._copies.take(shard, shard.name)
        index.unlink(missing_ok=True)


def spooled_entries(spool: Path) -> int:
    """How many entries are in a spool, in complete shards and others."""
    sealed, partial = shards_in(spool)
    count = sum(len(table) for table in shard_tables(LocalHome(spool), sealed))
    for title in partial:
        with suppress(FileNotFoundError):
            one = PartialFile(spool / title)
            one.look(lambda _: False)
            count += len(one.found)
    return count
