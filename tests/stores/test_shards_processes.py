"""A store of shards in threads and processes: forked, spawned, side by side."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from shard_stores import by_tarfile, contents, filled, made_entry, opened, payloads, shard_of

from srcache.stores import Entry
from srcache.stores.shard_home import LocalHome
from srcache.stores.shards import ShardsStore

ENTRIES = [made_entry(number) for number in range(20)]

READER = """
import sys, time
from pathlib import Path
from srcache.keys import image_key
from srcache.stores import open_store
from srcache.stores.shard_home import LocalHome
LocalHome.look_every = 0.01
store, wanted, seen = open_store("shards", Path(sys.argv[1])), int(sys.argv[2]), {}
print("ready", flush=True)
while len(seen) < wanted:
    for name in [*store.names()]:
        record, payload = store.record(name), store.get(name)
        if payload is None or record["key"] != name[:32] or image_key(payload) != record["checksum"]:
            sys.exit(f"read {name} wrongly")
        if seen.setdefault(name, payload) != payload:
            sys.exit(f"{name} has changed")
    time.sleep(0.005)
print(len(seen))
"""

WRITER = """
import sys
from contextlib import closing
from pathlib import Path
from shard_stores import made_entry, opened
with closing(opened(Path(sys.argv[1]))) as store:
    print("ready", flush=True)
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        store.put_many([made_entry(number)])
print("done")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty entries in several shards, closed."""
    return filled(tmp_path / "data.shards", range(20))


@contextmanager
def programs(text: str, *arguments: tuple[object, ...]) -> Iterator[list["subprocess.Popen[str]"]]:
    """So many processes that run a program and are ready."""
    with ExitStack() as stack:
        running = []
        for words in arguments:
            command = [sys.executable, "-c", text, *map(str, words)]
            running.append(stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
            stack.callback(running[-1].kill)
        assert [one.stdout.readline() for one in running if one.stdout] == ["ready\n"] * len(running)
        yield running


def ended(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """What a process printed after its first line, and its exit code; `communicate` would lose what is read ahead."""
    assert process.stdout is not None
    return process.stdout.read(), process.wait(60)


@pytest.mark.medium
def test_processes_read_beside_writers(folder: Path) -> None:
    """Two writers make some of the same entries, and nothing that was read ever changes."""
    with (
        programs(READER, *[(folder, 60)] * 3) as readers,
        programs(WRITER, (folder, 20, 50), (folder, 30, 60)) as writers,
    ):
        assert [ended(one) for one in writers] == [("done\n", 0)] * 2
        assert [ended(one) for one in readers] == [("60\n", 0)] * 3
    assert contents(folder) == payloads(*(made_entry(number) for number in range(60)))
    assert len(by_tarfile(folder)) == 60


def _forked(store: ShardsStore, number: int) -> int:
    """A child that reads all, writes one, and ends with 0 if all was right; one that hangs is ended by an alarm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later, where another test left a thread
        child = os.fork()
    if child:
        return child
    signal.alarm(30)
    code = 1
    try:
        right = all(store.get(entry.name) == entry.payload for entry in ENTRIES)
        code = 0 if right and store.put_many([made_entry(1000 + number)]) == 1 else 2
        store.close()
    finally:
        os._exit(code)


def test_a_forked_child_uses_the_store_that_its_parent_has_open(folder: Path) -> None:
    """The parent has a shard in hand, which stays its own, and a thread that often holds the store's lock."""
    with closing(opened(folder, shard_bytes=1 << 30)) as store:
        store.put_many([made_entry(500)])
        [partial] = folder.glob("*.partial")
        before = partial.read_bytes()
        stop = threading.Event()

        def keep_reading() -> None:
            while not stop.is_set():
                store.get(ENTRIES[1].name)

        thread = threading.Thread(target=keep_reading)
        thread.start()
        children = [_forked(store, number) for number in range(5)]
        stop.set()
        thread.join()
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 5
        assert partial.read_bytes() == before
        assert len(store) == 26, "the parent sees what its children wrote"
        assert store.put_many([made_entry(99)]) == 1
    assert (
        contents(folder).keys()
        == payloads(
            *ENTRIES, made_entry(500), made_entry(99), *(made_entry(1000 + number) for number in range(5))
        ).keys()
    )


def test_a_forked_child_keeps_to_the_shards_that_its_parent_knew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of a data set serves the same bytes in every epoch, also if a lower shard has come meanwhile."""
    monkeypatch.setattr(LocalHome, "look_every", 0.0)
    entry, partial = ENTRIES[7], made_entry(70)
    with closing(opened(folder, shard_bytes=1 << 30)) as writer, closing(opened(folder, writable=False)) as store:
        writer.put_many([partial])
        assert [store.get(one.name) for one in (entry, partial)] == [entry.payload, partial.payload]
        others = [Entry(one.name, b"another's", {"key": one.name[:32]}) for one in (entry, partial)]
        lower = shard_of(folder.with_name("other"), *others)
        lower.rename(folder / "00000000-00000000.tar")
        with closing(opened(folder, writable=False)) as anew:
            assert [anew.get(one.name) for one in (entry, partial)] == [b"another's"] * 2
        got = _in_child(lambda: [store.get(one.name) for one in (made_entry(99), entry, partial)])
    assert got == [None, entry.payload, partial.payload]


def _in_child(ask: Callable[[], object]) -> object:
    """What a function returns in a forked child."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=lambda: send.send(ask()))
        child.start()
    assert receive.poll(30)
    found = receive.recv()
    child.join()
    return found


def test_a_child_that_outlives_its_parent_does_not_hold_the_lock_of_its_shard(folder: Path) -> None:
    """Else nobody could continue what a killed parent left until its workers have ended."""
    with closing(opened(folder, shard_bytes=1 << 30)) as store:
        store.put_many([made_entry(500)])
        (partial,) = folder.glob("*.partial")
        assert str(partial) in _open_files()
        assert str(partial) not in _in_child(_open_files)  # type: ignore[operator]


def _open_files() -> list[str]:
    paths = [f"/proc/self/fd/{handle}" for handle in os.listdir("/proc/self/fd")]
    return [os.readlink(path) for path in paths if os.path.lexists(path)]


def test_a_child_is_forked_while_a_thread_holds_the_lock(folder: Path) -> None:
    with closing(opened(folder)) as store:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with store._lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = _forked(store, 1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        done.set()
        thread.join()
    assert code == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_store_travels_to_worker_processes(folder: Path, method: str) -> None:
    with closing(opened(folder, writable=False)) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(store.get, [entry.name for entry in ENTRIES]) == [entry.payload for entry in ENTRIES]
        assert store.get(ENTRIES[0].name) == ENTRIES[0].payload


def test_threads_read_while_one_writes_and_shards_are_sealed(folder: Path) -> None:
    with closing(opened(folder)) as store, ThreadPoolExecutor(4) as pool:

        def read(turn: int) -> list[str]:
            return [one.name for _ in range(10) for one in ENTRIES if store.get(one.name) != one.payload]

        reads = [pool.submit(read, turn) for turn in range(3)]
        for number in range(40, 60):
            store.put_many([made_entry(number)])
        assert [one.result() for one in reads] == [[]] * 3
    assert len(contents(folder)) == 40
