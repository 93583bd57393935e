"""Programs that fault tests run in forked processes, beside commands: each is called with words, and gives its code."""

import resource
import sys
import time
from pathlib import Path
from typing import NoReturn


def read_entries(store: str, wanted: str) -> int:
    """Open and read everything over and over until so many entries are there; 0 if every byte was as written."""
    from srcache.errors import CacheError
    from srcache.keys import image_key
    from srcache.stores import open_store

    deadline, seen = time.monotonic() + 60, set()
    while len(seen) < int(wanted) and time.monotonic() < deadline:
        try:
            opened = open_store("lmdb", Path(store))
        except CacheError:
            continue
        names = set(opened.names())
        if not seen <= names or any(image_key(opened.get(n)) != opened.record(n)["checksum"] for n in names - seen):
            return 1
        seen = names
        opened.close()
    return 0 if len(seen) == int(wanted) else 2


def outgrow(store: str) -> int:
    """Write until the address space is used up; 0 if that is said, and what was stored before is still read."""
    from srcache.errors import MachineError
    from srcache.stores import Entry, open_store

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (most := pages * resource.getpagesize() + (500 << 20), most))
    opened, payload = open_store("lmdb", Path(store), writable=True), bytes(10_000_000)
    for number in range(100):
        try:
            opened.put_many([Entry(f"{number:032x}-000", payload, {"number": number})])
        except MachineError as error:
            sys.stdout.write(str(error))
            return 0 if number and opened.get(f"{number - 1:032x}-000") == payload else 1
    return 2


def without_locks(*words: str) -> NoReturn:
    """A command on a file system that has no locks."""
    import errno
    import fcntl

    from srcache_cli.main import main

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = refuse
    main()


def on_network(*words: str) -> NoReturn:
    """A command on a file system that lies on another machine, and has no locks."""
    from srcache.fill import run as fill_run
    from srcache.stores import shard_finish, shard_folder, shard_tables, shard_writer

    for module in (fill_run, shard_finish, shard_folder, shard_tables, shard_writer):
        module.file_system = lambda path: "nfs4"
    without_locks(*words)


def train(photos: str, cache: str, wanted: str) -> int:
    """Read a data set over and over, LR for what is missing; 0 if once everything was served as SR."""
    from srcache.dataset.augmented import SRAugmentedDataset
    from srcache.errors import CacheError

    deadline, data = time.monotonic() + 60, None
    while data is None:
        try:
            data = SRAugmentedDataset(photos, cache, policy="sr=1", on_miss="lr", size=32)
        except CacheError:
            if time.monotonic() > deadline:
                return 1
    while time.monotonic() < deadline:
        before = data.counts["sr"]
        for index in range(len(data)):
            image, _ = data[index]
            assert image.size == (32, 32)
        if data.counts["sr"] - before == int(wanted):
            return 0
    return 2


def miss(photos: str, cache: str, log: str) -> int:
    """Serve all images as SR, one by one, and have those made that the cache lacks; goes on until it may end.

    `log` gets the names of images of which an entry was stored; a file beside it, `log`.end, says that it may end.
    """
    from srcache.dataset.augmented import SRAugmentedDataset
    from srcache.errors import SrcacheError

    with Path(log).open("w", buffering=1) as stored:
        try:
            data = SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine")
            for index in range(len(data)):
                before = data.counts["computed"]
                _ = data[index]
                if data.counts["computed"] > before:
                    stored.write(f"{data.name(index)}\n")
        except SrcacheError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return error.exit_code
        stored.write("all\n")
    while not Path(f"{log}.end").exists():
        time.sleep(0.005)
    return 0


def read_all(store: str, wanted: str) -> int:
    """Read every entry of shards that nobody may write; 0 if there are so many, and each is as it was written."""
    from srcache.keys import image_key
    from srcache.stores import open_store

    opened = open_store("shards", Path(store))
    with opened.view() as view:
        right = [image_key(view.get(name)) == opened.record(name)["checksum"] for name in [*opened.names()]]
    return 0 if right == [True] * int(wanted) else 1
