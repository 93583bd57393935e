"""Nobody writes to an LMDB store while it is replaced or removed, and a writer whose file is another one notices."""

import os
import shutil
import threading
import warnings
from contextlib import closing, nullcontext

import pytest

from srcache.conformance.store import some_entries
from srcache.errors import BusyError, MachineError
from srcache.files import lock
from srcache.stores import lmdb_writers, open_store, store_kind

KIND = store_kind("lmdb")
FIRST, SECOND, THIRD = some_entries(3)


@pytest.fixture
def path(tmp_path):
    """A store with one entry."""
    with closing(open_store("lmdb", tmp_path / "data.lmdb", writable=True)) as store:
        store.put_many([FIRST])
    return tmp_path / "data.lmdb"


@pytest.fixture
def without_locks(monkeypatch):
    """Locks that hold nobody."""
    monkeypatch.setattr(lmdb_writers, "lock", lambda *_, **__: nullcontext(True))


def names(path):
    with closing(open_store("lmdb", path)) as store:
        return set(store.names())


def another_process_is_writing(path):
    """What keeps the locks of other processes apart is that each has the file open by itself."""
    return lock(path, shared=True)


def test_what_is_open_for_writing_elsewhere_is_not_replaced_and_the_process_is_named(path):
    with another_process_is_writing(path), pytest.raises(BusyError, match=rf"written to by process {os.getpid()}"):
        KIND.alone(path).__enter__()
    with KIND.alone(path):
        pass


def test_a_writer_shares_the_lock_with_others_and_holds_it_until_it_closes(path):
    with another_process_is_writing(path), closing(open_store("lmdb", path, writable=True)) as store:
        assert store.put_many([SECOND]) == 1
    with closing(open_store("lmdb", path, writable=True)), pytest.raises(BusyError), lock(path):
        pass
    with lock(path):
        assert len(names(path)) == 2


def test_a_reader_holds_nothing(path):
    with closing(open_store("lmdb", path)) as store, lock(path):
        assert store.get(FIRST.name) == FIRST.payload


def test_what_this_process_has_open_does_not_keep_it_from_replacing_the_store(path):
    with closing(open_store("lmdb", path, writable=True)) as store:
        with KIND.alone(path):
            assert store.get(FIRST.name) == FIRST.payload
        assert store.put_many([SECOND]) == 1


def test_a_writer_waits_for_the_end_of_a_repair_and_says_so(path, monkeypatch):
    monkeypatch.setattr(lmdb_writers, "_PATIENCE", 0.0)
    store, told, put = open_store("lmdb", path), threading.Event(), []
    monkeypatch.setattr(lmdb_writers.warnings, "warn", lambda text, stacklevel: (put.append(text), told.set()))
    with lock(path):
        writer = threading.Thread(
            target=lambda: put.append(open_store("lmdb", path, writable=True).put_many([SECOND])), daemon=True
        )
        writer.start()
        assert told.wait(20)
        assert writer.is_alive()
    writer.join(20)
    store.close()
    warning, new = put
    assert "images are not stored for now, but wait: " in warning
    assert f"is being repaired or pruned by process {os.getpid()}" in warning
    assert new == 1
    assert len(names(path)) == 2


def forked(act):
    """The process id of a child that calls a function and ends with what it returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: a fork in a process with threads
        child = os.fork()
    if child == 0:
        try:
            os._exit(act())
        finally:
            os._exit(99)
    return child


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_end_of_a_fork_does_not_let_go_of_the_lock(path):
    with closing(open_store("lmdb", path, writable=True)) as store:
        assert ended(forked(lambda: 0 if store.put_many([SECOND]) == 1 else 1)) == 0
        with pytest.raises(BusyError), lock(path):
            pass
        assert store.put_many([THIRD]) == 1


def test_a_fork_that_goes_on_does_not_keep_the_lock(path):
    begun, end = os.pipe(), os.pipe()

    def wait():
        os.write(begun[1], b"1")
        os.close(end[1])
        os.read(end[0], 1)
        return 0

    with closing(open_store("lmdb", path, writable=True)):
        child = forked(wait)
        os.read(begun[0], 1)
    try:
        with lock(path):
            pass
    finally:
        for handle in (*begun, *end):
            os.close(handle)
        assert ended(child) == 0


def test_a_commit_goes_to_the_file_that_took_the_place_of_the_one_that_is_open(path, tmp_path, without_locks):
    shutil.copytree(path, tmp_path / "other.lmdb")
    with closing(open_store("lmdb", path, writable=True)) as store:
        store.put_many([SECOND])
        (tmp_path / "other.lmdb" / "data.mdb").replace(path / "data.mdb")
        (path / "lock.mdb").unlink()
        assert store.put_many([THIRD]) == 1
        assert set(store.names()) == {FIRST.name, THIRD.name}
    assert names(path) == {FIRST.name, THIRD.name}


@pytest.mark.parametrize("reopens", [False, True])
def test_a_commit_to_what_was_taken_away_is_an_error_and_makes_nothing(path, reopens, without_locks):
    store = open_store("lmdb", path, writable=True)
    if reopens:
        store.close()
    shutil.rmtree(path)
    with pytest.raises(MachineError, match=r"data.lmdb was taken away while images were being added to it"):
        store.put_many([SECOND])
    store.close()
    assert not path.exists()


def test_a_folder_that_goes_while_a_writer_waits_is_taken_away(path):
    waiting = lmdb_writers.WritersLock(path)
    shutil.rmtree(path)
    with pytest.raises(MachineError, match="was taken away"):
        waiting.hold()


def test_the_lock_is_there_for_stores_that_older_versions_made(path):
    (path / "lock").unlink()
    with closing(open_store("lmdb", path, writable=True)) as store:
        store.put_many([SECOND])
    assert (path / "lock").exists()
    assert lmdb_writers.identity(path / "nothing") is None
