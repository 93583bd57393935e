"""What every store promises, checked on each kind; that the checks catch breaks; and what LMDB must survive."""

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack, closing, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.conformance import check_store
from srcache.conformance.store import STORE_CHECKS, some_entries
from srcache.errors import CacheError, ConformanceError, DamagedError, SrcacheError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, open_store
from srcache.stores import lmdb as lmdb_store
from srcache.stores.memory import MemoryStore

NAMES = {check.__name__.strip("_").replace("_", " ") for check in STORE_CHECKS}
KINDS = {"lmdb": True, "memory": False}


def _entry(number, payload=b"payload", sample=0):
    key = image_key(str(number).encode())
    return Entry(entry_name(key, sample), payload, {"key": key, "sample": sample, "checksum": image_key(payload)})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_store_keeps_its_promises(kind, tmp_path):
    made = check_store(lambda name: open_store(kind, tmp_path / name, writable=True), persistent=KINDS[kind])
    assert set(made) == NAMES


def test_a_kind_of_store_is_known_by_name(tmp_path):
    with pytest.raises(CacheError, match="no store is named 'hdf5'; this srcache knows lmdb, memory"):
        open_store("hdf5", tmp_path)


class _LastWins(MemoryStore):
    def put_many(self, entries):
        entries = list(entries)
        for entry in entries:
            self._entries.pop(entry.name, None)
        return super().put_many(entries)


class _ByPieces(MemoryStore):
    def put_many(self, entries):
        return sum(super(_ByPieces, self).put_many([entry]) for entry in entries)


class _Unsorted(MemoryStore):
    def names(self, prefix=""):
        return iter([name for name in self._entries if name.startswith(prefix)])


class _Miscounting(MemoryStore):
    def put_many(self, entries):
        entries = list(entries)
        super().put_many(entries)
        return len(entries)


class _Views(MemoryStore):
    def get(self, name):
        found = super().get(name)
        return None if found is None else memoryview(found)


class _Stripping(MemoryStore):
    def get(self, name):
        found = super().get(name)
        return found.rstrip(b"\0") if found else found


class _NoAliases(MemoryStore):
    def resolve(self, alias):
        return None


class _LooseAliases(MemoryStore):
    def resolve(self, alias):
        return super().resolve(alias) or (alias if self.names(alias) else None)


class _Borrowing(MemoryStore):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self._borrowed = {}

    def put_many(self, entries):
        entries = list(entries)
        new = super().put_many(entries)
        self._borrowed.update({entry.name: entry.record for entry in entries if entry.name not in self._borrowed})
        return new

    def record(self, name):
        return self._borrowed.get(name)


class _Rounding(MemoryStore):
    def record(self, name):
        found = super().record(name)
        return json.loads(json.dumps(found), parse_int=float) if found else found


class _Raising(MemoryStore):
    def get(self, name):
        if name not in self._entries:
            raise KeyError(name)
        return super().get(name)


class _Greedy(MemoryStore):
    """Locks itself up while somebody walks through the names."""

    def names(self, prefix=""):
        for name in sorted(self._entries):
            if name.startswith(prefix):
                if not self._lock.acquire(timeout=0.05):
                    raise RuntimeError("locked")
                yield name
                self._lock.release()

    def put_many(self, entries):
        if self._lock.locked():
            raise RuntimeError("locked")
        return super().put_many(entries)


class _NeverEmpty(MemoryStore):
    def put_many(self, entries):
        entries = list(entries)
        if not entries:
            raise ValueError("nothing to put")
        return super().put_many(entries)


class _Racing(MemoryStore):
    """Counts as if each thread were alone."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self._mine = threading.local()

    def put_many(self, entries):
        entries = list(entries)
        super().put_many(entries)
        seen = self._mine.__dict__.setdefault("seen", set())
        new = {entry.name for entry in entries} - seen
        seen |= new
        return len(new)


class _ClosesOnce(MemoryStore):
    def close(self):
        self._entries, found = None, self._entries
        if found is None:
            raise ValueError("closed")


@pytest.mark.parametrize(
    ("broken", "caught"),
    [
        (_LastWins, "first write"),
        (_ByPieces, "all or none"),
        (_Unsorted, "names"),
        (_Miscounting, "first write"),
        (_Views, "bytes"),
        (_Stripping, "bytes"),
        (_NoAliases, "aliases"),
        (_LooseAliases, "aliases"),
        (_Borrowing, "borrowed"),
        (_Rounding, "records"),
        (_Raising, "empty"),
        (_Greedy, "names and writes"),
        (_NeverEmpty, "nothing"),
        (_Racing, "threads"),
        (_ClosesOnce, "closing"),
    ],
)
def test_every_check_catches_its_break(broken, caught):
    with pytest.raises(ConformanceError) as error:
        check_store(lambda _: broken(), persistent=False)
    lines = str(error.value).split("\n  - ")[1:]
    assert caught in {line.partition(":")[0] for line in lines}


def test_a_store_that_forgets_is_caught_where_it_should_not():
    with pytest.raises(ConformanceError, match="opening again: names after opening again"):
        check_store(lambda _: MemoryStore(), persistent=True)


STEPS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, 2), st.binary(max_size=40), st.integers(0, 3)), max_size=6
        ),
        st.booleans(),
    ),
    max_size=8,
)


@pytest.mark.parametrize("kind", KINDS)
@given(steps=STEPS)
def test_any_sequence_of_writes_is_what_a_dict_would_hold(kind, steps, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "store"
    model, aliases = {}, {}
    store = open_store(kind, path, writable=True)
    for batch, reopens in steps:
        entries = [
            Entry(_entry(number, sample=sample).name, payload, {"n": len(payload)}, (image_key(f"a{alias}".encode()),))
            for number, sample, payload, alias in batch
        ]
        new = len({entry.name for entry in entries} - set(model))
        for entry in entries:
            model.setdefault(entry.name, entry)
            aliases.setdefault(entry.aliases[0], entry.name[:32])
        assert store.put_many(entries) == new
        if reopens and KINDS[kind]:
            store.close()
            store = open_store(kind, path, writable=True)
    assert list(store.names()) == sorted(model)
    assert {name: store.get(name) for name in store.names()} == {name: one.payload for name, one in model.items()}
    assert {name: store.record(name) for name in model} == {name: one.record for name, one in model.items()}
    assert {image_key(f"a{n}".encode()): store.resolve(image_key(f"a{n}".encode())) for n in range(4)} == {
        image_key(f"a{n}".encode()): aliases.get(image_key(f"a{n}".encode())) for n in range(4)
    }
    prefix = min(model, default="00")[:2]
    assert list(store.names(prefix)) == sorted(name for name in model if name.startswith(prefix))
    store.close()
    shutil.rmtree(path.parent)


# What follows is LMDB's own: processes, files that are cut off, maps that grow.

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


def test_eight_processes_read_beside_a_writer_whose_map_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_store, "_FIRST_MAP", 1 << 17)
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
    monkeypatch.setattr(lmdb_store, "_FIRST_MAP", 1 << 16)
    entry = _entry(1, os.urandom(3_000_000))
    with closing(open_store("lmdb", tmp_path, writable=True)) as store:
        assert store.put_many([_entry(0), entry, _entry(2)]) == 3
        assert store.get(entry.name) == entry.payload


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


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_store_travels_to_worker_processes(filled, method):
    entries = some_entries(20)
    with closing(open_store("lmdb", filled)) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(store.get, [entry.name for entry in entries]) == [entry.payload for entry in entries]
        assert store.get(entries[0].name) == entries[0].payload


def test_a_pickled_store_is_its_path_and_whether_it_may_write(filled):
    with closing(open_store("lmdb", filled)) as store:
        pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    with closing(pickle.loads(pickled)) as again:
        assert len(list(again.names())) == 20
    gone = filled.with_name("gone")
    with closing(open_store("lmdb", gone, writable=True)) as store:
        pickled = pickle.dumps(store)
    shutil.rmtree(gone)
    with closing(pickle.loads(pickled)) as again:
        assert again.put_many([_entry(1)]) == 1


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
    monkeypatch.setattr(lmdb_store, "_reserve", _refuse_lock)
    with closing(open_store("lmdb", filled)) as store:
        assert len(list(store.names())) == 20
    assert not (filled / "lock.mdb").exists()
    with pytest.raises(SrcacheError, match="permission is missing"):
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
