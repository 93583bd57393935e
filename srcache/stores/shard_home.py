"""Where the shards of a store lie: in its folder; or as objects below a URL, of which the folder keeps indexes.

A folder that stands for objects says so in a file. Whoever is given the path of a store therefore need not know of
which sort it is, in another process either.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from srcache.errors import DamagedError
from srcache.files import user_folder, write_atomic
from srcache.files.documents import parse_json
from srcache.machine import NETWORK, file_system
from srcache.stores.shard_files import OpenShard, ShardFile
from srcache.stores.shard_index import Shard
from srcache.stores.shard_names import is_partial, is_shard, shards_in

INDEX, TABLE = ".idx", "table.idx"
MARK = "objects.json"


class ShardHome(Protocol):
    """Where the shards of a store lie.

    Attributes:
        folder: the store's own, where indexes are kept.
        place: where the shards lie, for messages.
        spool: the folder in which shards are written.
        tables: files for one table of all complete shards, the first the best.
        look_every: seconds between two looks for shards of others when a name was not found.
    """

    folder: Path
    place: str
    spool: Path
    tables: list[Path]
    look_every: float

    def exists(self) -> bool:
        """Whether there is a store, be it without entries."""
        ...

    def listing(self, *, fresh: bool = True) -> tuple[list[Shard], list[str]]:
        """The complete shards that there are, and names of those that are not complete, as `shards_in`.

        Args:
            fresh: look now, also where a look costs a request.
        """
        ...

    def taken(self) -> Sequence[str]:
        """Names of shards that are known from elsewhere than the spool."""
        ...

    def open(self, name: str) -> OpenShard:
        """A shard, open for reading here and there. It may have to be fetched first.

        Raises:
            FileNotFoundError: it is gone.
        """
        ...

    def scan(self, name: str) -> OpenShard:
        """A shard, open for being read from one end to the other, as it is where it lies.

        Raises:
            FileNotFoundError: it is gone.
        """
        ...

    def reread(self, name: str) -> OpenShard:
        """A complete shard that `scan` gave, open for reading a few entries of it, which may be damaged."""
        ...

    def bring_indexes(self, shards: Sequence[Shard]) -> None:
        """Have the indexes of complete shards in the folder, as far as there are any."""
        ...

    def drop(self, name: str) -> bool:
        """Forget a copy of a shard that may be damaged; returns whether there was one."""
        ...

    def deliver(self, *, finish: bool) -> None:
        """See to it that complete shards of the spool come to where the others lie; `finish` waits until they have.

        Raises:
            MachineError: they cannot; the spool keeps them.
        """
        ...


class LocalHome:
    """A folder that holds its shards; see `ShardHome`."""

    look_every = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = self.spool = folder
        self.place = str(folder)
        self._on_network = file_system(folder) in NETWORK
        name = blake2b(os.fsencode(os.path.realpath(folder)), digest_size=16).hexdigest()
        own = user_folder() / "shards" / f"{name}{INDEX}"
        self.tables: list[Path] = [own] if self._on_network else [folder / TABLE, own]

    def exists(self) -> bool:
        """See `ShardHome.exists`."""
        return self.folder.is_dir()

    def listing(self, *, fresh: bool = True) -> tuple[list[Shard], list[str]]:
        """See `ShardHome.listing`."""
        return shards_in(self.folder)

    def taken(self) -> Sequence[str]:
        """See `ShardHome.taken`."""
        return ()

    def open(self, name: str) -> OpenShard:
        """See `ShardHome.open`: mapped into memory if it is on this machine and will not change any more."""
        return ShardFile(self.folder / name, mapped=not self._on_network and is_shard(name))

    def scan(self, name: str) -> OpenShard:
        """See `ShardHome.scan`: read, for a damaged disk must not end the process. One that was sealed is found."""
        with suppress(FileNotFoundError):
            return ShardFile(self.folder / name, mapped=False)
        return ShardFile(self.folder / (name.removesuffix(".partial") if is_partial(name) else name), mapped=False)

    def reread(self, name: str) -> OpenShard:
        """See `ShardHome.reread`."""
        return self.scan(name)

    def bring_indexes(self, shards: Sequence[Shard]) -> None:
        """See `ShardHome.bring_indexes`: they lie there."""

    def drop(self, name: str) -> bool:
        """See `ShardHome.drop`: there is no copy."""
        return False

    def deliver(self, *, finish: bool) -> None:
        """See `ShardHome.deliver`: they lie there."""


def shard_home(folder: Path) -> ShardHome:
    """Where the shards of a store lie.

    Raises:
        DamagedError: the file that says so cannot be read.
    """
    mark = folder / MARK
    if not mark.exists():
        return LocalHome(folder)
    from srcache.stores.shard_objects import ObjectsHome

    try:
        said = parse_json(mark.read_bytes(), dict.fromkeys(("url", "below", "spool"), str))
        url, below, spool = said["url"], said["below"], Path(said["spool"])
    except (OSError, ValueError) as error:
        raise DamagedError(f"{mark} does not say where shards lie ({error!r}); delete the folder it is in") from error
    return ObjectsHome(folder, url, below, spool)


def stand_for_objects(folder: Path, url: str, below: str, spool: Path) -> None:
    """Let a folder stand for the shards that are objects below a URL.

    Args:
        folder: of this machine; it is made.
        url: of the cache.
        below: the store's place below it, with a slash at its end.
        spool: the folder in which shards are written.
    """
    text = json.dumps({"url": url, "below": below, "spool": str(spool.absolute())}) + "\n"
    mark = folder / MARK
    if not mark.exists() or mark.read_text(encoding="utf-8") != text:
        write_atomic(mark, text)
