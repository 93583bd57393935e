"""One handle for each process and folder: maps that grow, forks, files that are cut off, folders that are read only."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack, closing, contextmanager

import pytest

from srcache.conformance.store import some_entries
from srcache.errors import CacheError, DamagedError, SrcacheError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, open_store
from srcache.stores import lmdb_open as opening
from srcache.stores.lmdb import LmdbStore


def _entry(number, payload=b"payload", sample=0):
    key = image_key(str(number).encode())
    return Entry(entry_name(key, sample), payload, {"key": key, "sample": sample, "checksum": image_key(payload)})


READER = """
import sys
from pathlib import Path
from srcache.keys import image_key
from srcache.stores import open_store
store, wanted, seen = open_store("lmdb", Path(sys.argv[1])), int(sys.argv[2]), set()
print("ready", flush=True)
while len(seen) < wanted:
    for name in store.names():
        record, payload = store.record(name), store.get(name)
        if payload is None or record["key"] != name[:32] or image_key(payload) != record["checksum"]:
            sys.exit(f"read {name} wrongly")
        seen.add(name)
print(len(seen))
"""


@pytest.fixture
def filled(tmp_path):
    """A store of its own with twenty entries, closed."""
    path = tmp_path / "data.lmdb"
    with closing(open_store("lmdb", path, writable=True)) as store:
        store.put_many(some_entries(20))
    return path


@contextmanager
def _readers(path, wanted):
    """Eight processes that have the store open, and read until they have seen as many entries as wanted."""
    command = [sys.executable, "-c", READER, str(path), str(wanted)]
    with ExitStack() as stack:
        readers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(8)]
        for reader in readers:
            stack.callback(reader.kill)
        assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 8
        yield readers


@pytest.mark.medium
def test_eight_processes_read_beside_a_writer_whose_map_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_FIRST_MAP", 1 << 17)
    entries = [_entry(number, number.to_bytes(2, "big") * 5000) for number in range(100)]
    with closing(open_store("lmdb", tmp_path, writable=True)) as store:
        store.put_many(entries[:1])
        with _readers(tmp_path, len(entries)) as readers:
            for start in range(1, len(entries), 9):
                store.put_many(entries[start : start + 9])
            ends = [(reader.communicate(timeout=60)[0].strip(), reader.returncode) for reader in readers]
    assert ends == [("100", 0)] * 8
    assert (tmp_path / "data.mdb").stat().st_size > 4 * (1 << 17)


def test_a_map_grows_within_one_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_FIRST_MAP", 1 << 16)
    entry = _entry(1, os.urandom(3_000_000))
    with closing(open_store("lmdb", tmp_path, writable=True)) as store:
        assert store.put_many([_entry(0), entry, _entry(2)]) == 3
        assert store.get(entry.name) == entry.payload


@pytest.mark.medium
def test_a_forked_child_uses_the_store_that_its_parent_has_open(filled):
    entries = some_entries(20)
    with closing(open_store("lmdb", filled, writable=True)) as store:
        assert store.get(entries[0].name) == entries[0].payload
        stop = threading.Event()

        def keep_reading():
            while not stop.is_set():
                store.get(entries[1].name)

        thread = threading.Thread(target=keep_reading)
        thread.start()
        children = [_forked(store, entries, number) for number in range(5)]
        stop.set()
        thread.join()
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 5
        assert len(list(store.names())) == 25, "the parent sees what its children wrote"
        assert store.put_many(some_entries(1, first=99)) == 1


def _forked(store, entries, number):
    """A child that reads all, writes one, and ends with 0 if all was right; one that hangs is ended by an alarm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later, where another test left a thread
        child = os.fork()
    if child:
        return child
    signal.alarm(30)
    code = 1
    try:
        right = all(store.get(entry.name) == entry.payload for entry in entries)
        code = 0 if right and store.put_many(some_entries(1, first=1000 + number)) == 1 else 2
    finally:
        os._exit(code)


CUTS = [1, 4095, 4096, 8191, 8192, 0.5, -4096, -1]


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("cut", CUTS)
def test_a_file_that_is_cut_off_is_refused_instead_of_read(filled, cut, writable):
    data = filled / "data.mdb"
    size = data.stat().st_size
    length = int(cut * size) if isinstance(cut, float) else cut % size
    os.truncate(data, length)
    with pytest.raises(DamagedError, match=r"cut off: expected at least|does not read as an LMDB store"):
        open_store("lmdb", filled, writable=writable)
    assert data.stat().st_size == length, "what is left is left alone"


def test_a_file_that_is_longer_than_needed_is_read(filled):
    with (filled / "data.mdb").open("ab") as file:
        file.write(bytes(1 << 16))
    with closing(open_store("lmdb", filled)) as store:
        assert len(list(store.names())) == 20


@pytest.mark.parametrize("content", [b"\0" * 8192, b"not a store " * 2000], ids=["zeros", "text"])
def test_another_file_is_damage(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DamagedError, match="repair"):
        open_store("lmdb", tmp_path)


def test_nothing_there_is_no_store(tmp_path):
    with pytest.raises(CacheError, match=r"no data\.mdb; was anything built yet"):
        open_store("lmdb", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    (tmp_path / "data.mdb").touch()
    with pytest.raises(CacheError, match="was anything built yet"):
        open_store("lmdb", tmp_path)
    with closing(open_store("lmdb", tmp_path, writable=True)) as store:
        assert store.put_many([_entry(1)]) == 1


def test_a_store_that_was_replaced_is_opened_anew(filled):
    old = open_store("lmdb", filled, writable=True)
    shutil.rmtree(filled)
    with pytest.raises(CacheError, match="was anything built yet"):
        open_store("lmdb", filled)
    with closing(open_store("lmdb", filled, writable=True)) as new:
        assert list(new.names()) == []
        new.put_many([_entry(7)])
        assert list(old.names()) == [_entry(7).name], "every handle of the process follows"


def _refuse_lock(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_sealed_cache_is_read_without_a_lock(filled, monkeypatch):
    (filled / "lock.mdb").unlink()
    monkeypatch.setattr(opening, "_reserve", _refuse_lock)
    with closing(open_store("lmdb", filled)) as store:
        assert len(list(store.names())) == 20
    assert not (filled / "lock.mdb").exists()
    with pytest.raises(SrcacheError, match=r"Permission denied.*give permission"):
        open_store("lmdb", filled, writable=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_folder_is_read(filled):
    (filled / "data.mdb").chmod(0o444)
    (filled / "lock.mdb").unlink()
    filled.chmod(0o555)
    try:
        with closing(open_store("lmdb", filled)) as store:
            assert len(list(store.names())) == 20
    finally:
        filled.chmod(0o755)


def test_a_map_that_grows_waits_for_those_who_read_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_FIRST_MAP", 1 << 20)
    first, large = _entry(0, b"x" * 100_000), [_entry(number, bytes(100_000)) for number in range(1, 60)]
    with closing(open_store("lmdb", tmp_path / "data.lmdb", writable=True)) as store:
        store.put_many([first])
        growing = threading.Thread(target=store.put_many, args=(large,))
        with store.view() as view:
            got = view.get(first.name)
            growing.start()
            growing.join(0.3)
            assert growing.is_alive()
            assert bytes(got) == first.payload
        growing.join(60)
        assert not growing.is_alive()
        assert len(store) == 60


def test_a_reader_follows_a_map_that_grew_while_it_had_a_view(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_HEADROOM", 1 << 16)
    path = tmp_path / "data.lmdb"
    with closing(open_store("lmdb", path, writable=True)) as store:
        store.put_many([_entry(0)])
    writer = (
        "import sys; from pathlib import Path; from srcache.conformance.store import some_entries;"
        "from srcache.stores import open_store; open_store('lmdb', Path(sys.argv[1]), writable=True)"
        ".put_many(some_entries(9000))"
    )
    with closing(open_store("lmdb", path)) as store:
        with store.view() as view:
            subprocess.run([sys.executable, "-c", writer, str(path)], check=True)
            assert bytes(view.get(_entry(0).name)) == b"payload"
            assert view.get(some_entries(1)[0].name) is None
        with store.view() as view:
            assert bytes(view.get(some_entries(1)[0].name)) == some_entries(1)[0].payload


def test_closing_waits_for_those_who_read_in_the_map(filled):
    name, store = some_entries(1)[0].name, open_store("lmdb", filled)
    with store.view() as view:
        got = view.get(name)
        closer = threading.Thread(target=store.close)
        closer.start()
        closer.join(0.2)
        assert closer.is_alive()
        assert bytes(got) == some_entries(1)[0].payload
    closer.join(60)
    assert store.get(name) == some_entries(1)[0].payload


def test_a_child_that_is_forked_while_a_thread_reads_reads_too(filled):
    name, store = some_entries(1)[0].name, open_store("lmdb", filled)
    inside, done = threading.Event(), threading.Event()

    def read():
        with store.view() as view:
            view.get(name)
            inside.set()
            done.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    inside.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: a fork in a process with threads
        child = os.fork()
    if child == 0:
        with store.view() as view:
            os._exit(0 if bytes(view.get(name)) == some_entries(1)[0].payload else 1)
    done.set()
    reader.join(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_readers_do_not_wait_for_a_commit(tmp_path):
    """A commit may wait long for the disk; a reader in another thread, such as a server's, goes on meanwhile."""
    begun, end = threading.Event(), threading.Event()
    with closing(open_store("lmdb", tmp_path / "data.lmdb", writable=True)) as store:
        store.put_many([_entry(0)])

        def commit(transaction, *_):
            begun.set()
            assert end.wait(20)

        writer = threading.Thread(target=lambda: store._environment.write(commit))
        writer.start()
        assert begun.wait(20)
        read = []
        reader = threading.Thread(target=lambda: read.append((store.get(_entry(0).name), len(store))))
        reader.start()
        reader.join(10)
        end.set()
        writer.join(20)
        assert read == [(b"payload", 1)]
        assert store.put_many([_entry(1)]) == 1


def test_a_map_grows_while_others_read(tmp_path):
    end, wrong = threading.Event(), []
    with closing(open_store("lmdb", tmp_path / "data.lmdb", writable=True)) as store:
        store._environment._guarded(lambda env: store._environment._resize(env, 1 << 20))
        store.put_many([_entry(0)])

        def read():
            while not end.is_set():
                with store.view() as view:
                    wrong.extend([] if bytes(view.get(_entry(0).name) or b"") == b"payload" else [1])
                wrong.extend([] if store.get(_entry(0).name) == b"payload" else [2])

        readers = [threading.Thread(target=read) for _ in range(3)]
        writers = [
            threading.Thread(
                target=lambda first=first: [store.put_many([_entry(first + n, bytes(200_000))]) for n in range(15)]
            )
            for first in (100, 200)
        ]
        for thread in [*readers, *writers]:
            thread.start()
        for thread in writers:
            thread.join(60)
        end.set()
        for thread in readers:
            thread.join(20)
        assert wrong == []
        assert len(store) == 31


def test_a_state_that_was_found_sound_is_looked_at_once_and_any_other_again(filled, monkeypatch):
    looked = []
    monkeypatch.setattr(opening, "problem", lambda *args, **settings: looked.append(args))
    for writable in (False, True, False, True):
        LmdbStore(filled, writable=writable, look=True).close()
    assert len(looked) == 1
    with closing(open_store("lmdb", filled, writable=True)) as store:
        store.put_many([_entry(900)])
    LmdbStore(filled, look=True).close()
    assert len(looked) == 2
    (filled / "data.mdb").write_bytes((filled / "data.mdb").read_bytes())
    LmdbStore(filled, look=True).close()
    assert len(looked) == 3
