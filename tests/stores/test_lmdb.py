"""What an LMDB store must survive: processes, files that are cut off, maps that grow, folders that are read only."""

import multiprocessing
import pickle
import shutil
import warnings
from contextlib import closing

import pytest

from srcache.conformance.store import some_entries
from srcache.errors import MachineError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, open_store


def _entry(number, payload=b"payload", sample=0):
    key = image_key(str(number).encode())
    return Entry(entry_name(key, sample), payload, {"key": key, "sample": sample, "checksum": image_key(payload)})


@pytest.fixture
def filled(tmp_path):
    """A store of its own with twenty entries, closed."""
    path = tmp_path / "data.lmdb"
    with closing(open_store("lmdb", path, writable=True)) as store:
        store.put_many(some_entries(20))
    return path


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
    other = filled.with_name("other")
    with closing(open_store("lmdb", other, writable=True)) as store:
        pickled = pickle.dumps(store)
    with closing(pickle.loads(pickled)) as again:
        assert again.put_many([_entry(1)]) == 1
    shutil.rmtree(other)
    with closing(pickle.loads(pickled)) as again, pytest.raises(MachineError, match="was taken away"):
        again.put_many([_entry(2)])
    assert not other.exists()
