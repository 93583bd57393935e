"""A store in memory: keeps what it is given as long as it lives, and shares nothing with its callers or others."""

from pathlib import Path

from srcache.keys import entry_name, image_key
from srcache.stores import Entry, open_store
from srcache.stores.memory import MemoryStore

KEY = image_key(b"image")


def test_two_stores_of_one_path_share_nothing(tmp_path: Path) -> None:
    one, other = (open_store("memory", tmp_path, writable=True) for _ in range(2))
    one.put_many([Entry(entry_name(KEY, 0), b"bytes", {})])
    assert (len(one), len(other)) == (1, 0)
    assert list(tmp_path.iterdir()) == []


def test_closing_keeps_the_entries() -> None:
    store = MemoryStore()
    store.put_many([Entry(entry_name(KEY, 0), b"bytes", {"a": 1}, (image_key(b"pixels"),))])
    store.close()
    assert store.get(entry_name(KEY, 0)) == b"bytes"
    assert store.resolve(image_key(b"pixels")) == KEY


def test_a_payload_that_may_change_is_copied() -> None:
    store, payload = MemoryStore(), bytearray(b"bytes")
    store.put_many([Entry(entry_name(KEY, 0), payload, {})])  # type: ignore[arg-type]
    payload[0] = 0
    assert store.get(entry_name(KEY, 0)) == b"bytes"
