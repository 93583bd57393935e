"""A process that has loaded everything and forks commands on demand, so that a command costs a few milliseconds.

It reads one JSON object per line and answers with one: {"start": words, …} runs `srcache words…` in a child of its own
session and says its pid; {"wait": pid, "seconds": n} says its exit status, or null if it still runs.
"""

import json
import os
import resource
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

LOADED = (
    "engines",
    "matplotlib.backends.backend_agg",
    "qoi",
    "srcache.maintain.check_process",
    "srcache.dataset.augmented",
    "srcache.fill.estimate",
    "srcache.fill.run",
    "srcache.maintain.info",
    "srcache.maintain.prune",
    "srcache.maintain.repair",
    "srcache.stores.shards_kind",
    "srcache.study.train.loop",
    "srcache_cli.build",
    "srcache_cli.main",
    "srcache_cli.train",
    "torch",
    "torch._dynamo",
    "torchvision",
    "tqdm",
)


def main() -> None:
    for name in LOADED:
        import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        answer = start(order) if "start" in order else await_status(order["wait"], order["seconds"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def start(order) -> int:
    """Fork; the child becomes the command (or calls `program`, a function of this file) and never comes back."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.chdir(order.get("folder") or ".")
        for number, name in ((1, "stdout"), (2, "stderr")):
            open_stream(number, f"{order['out']}.{name}", (order.get("streams") or {}).get(name, ""))
        if order.get("file_size"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
        code = run(order["program"], order["start"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError):
                stream.flush()
        os._exit(code)


def open_stream(number: int, path: str, instead: str) -> None:
    """Open a standard stream: a file; `instead` of it "full" is one that takes nothing, "closed" is none."""
    handle = os.open("/dev/full" if instead == "full" else path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, number)
    os.close(handle)
    stream = open(number, "w", closefd=False)  # noqa: SIM115 - without what the parent's one was in the middle of
    if instead == "closed":
        os.close(number)
    setattr(sys, "stdout" if number == 1 else "stderr", None if instead == "closed" else stream)


def run(program: str | None, words: list[str]) -> int:
    if program is not None:
        return globals()[program](*words)
    from srcache_cli.main import main as command

    sys.argv = ["srcache", *words]
    try:
        command()
    except SystemExit as stop:
        return stop.code
    return 98


def await_status(pid: int, seconds: float) -> int | None:
    """The exit status as `subprocess` would give it: negative for a signal."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


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


def without_locks(*words: str) -> int:
    """A command on a file system that has no locks."""
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = refuse
    return run(None, list(words))


def on_network(*words: str) -> int:
    """A command on a file system that lies on another machine, and has no locks."""
    from srcache.fill import run as fill_run
    from srcache.stores import shard_finish, shard_folder, shard_tables, shard_writer

    for module in (fill_run, shard_finish, shard_folder, shard_tables, shard_writer):
        module.file_system = lambda path: "nfs4"
    return without_locks(*words)


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


if __name__ == "__main__":
    main()
