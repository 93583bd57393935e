"""Shards beside LMDB: opening with the table in place, making the table, warm gets of images, memory per reader.

The table is measured with a million entries in a thousand shards, whose payloads are small, so that the index is
measured and not the disk. Gets are measured with payloads of 40 kB, in both kinds of store, page cache warm. Memory is
what a reader has after 20,000 random gets and had not before it opened the store: private pages alone.
"""

import tempfile
import time
from hashlib import blake2b
from pathlib import Path

from xxhash import xxh3_64_hexdigest

from benchmarks.bench_store import SETUP, TAIL
from benchmarks.record import Bar, bar_of, fresh, interleaved
from srcache.stores import Entry, StoreOptions, store_kind
from srcache.stores.shard_home import TABLE

ENTRIES, SHARDS = 1_000_000, 1_000
IMAGES, PAYLOAD = 20_000, 40_000

_OURS = """
from srcache.stores import open_store
import srcache.stores.{module}
before = memory()
started = time.perf_counter()
store = open_store("{kind}", path)
get = store.get
assert get(names[0]) is not None
"""


def run(repeats: int) -> list[Bar]:
    """Reader processes, interleaved; the table is made anew in each repeat."""
    with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        return [*_table(Path(folder), repeats), *_gets(Path(folder), repeats)]


def _table(folder: Path, repeats: int) -> list[Bar]:
    path, count = folder / "many", ENTRIES // SHARDS
    options = StoreOptions(writable=True, shard_bytes=count * 1024)
    store = store_kind("shards").open(path, options)
    started = time.perf_counter()
    for first in range(0, ENTRIES, count):
        store.put_many(Entry(_name(i), b"0123456789abcdef", {}) for i in range(first, first + count))
    written = time.perf_counter() - started
    store.close()
    shards = len(list(path.glob("*.tar")))
    made, read = [], []
    for _ in range(repeats):
        (path / TABLE).unlink()
        started = time.perf_counter()
        len(store_kind("shards").open(path, StoreOptions()))
        made.append(time.perf_counter() - started)
        code = SETUP + _OURS.format(kind="shards", module="shards_kind") + TAIL
        read.append([float(word) for word in fresh(code, str(path), str(ENTRIES)).split()])
    first, _, private, _ = zip(*read, strict=True)
    title = f"{ENTRIES:,} entries, {shards:,} shards"
    return [
        bar_of(f"{title}: written", [ENTRIES / written], "entries/s", None),
        bar_of(f"{title}: making the table", made, "s", 3),
        bar_of(f"{title}: open and first get", first, "ms", 50),
        bar_of(f"{title}: private memory", private, "MB", 10),
    ]


def _gets(folder: Path, repeats: int) -> list[Bar]:
    data = bytes(range(256)) * (PAYLOAD // 256)
    read: dict[str, list[float]] = {"shards": [], "lmdb": []}
    for kind in read:
        store = store_kind(kind).open(folder / kind, StoreOptions(writable=True))
        for first in range(0, IMAGES, 200):
            store.put_many(_image(i, data) for i in range(first, first + 200))
        store.close()

    def measure(kind: str) -> float:
        module = "shards_kind" if kind == "shards" else "lmdb_kind"
        code = SETUP + _OURS.format(kind=kind, module=module) + TAIL
        read[kind].append(float(fresh(code, str(folder / kind), str(IMAGES)).split()[1]))
        return 0.0

    interleaved(repeats, lambda: measure("shards"), lambda: measure("lmdb"))
    title, ours, theirs = f"warm get of {PAYLOAD // 1000} kB", read["shards"], read["lmdb"]
    return [
        bar_of(title, ours, "µs", None, "lmdb", theirs),
        bar_of(f"{title}: times LMDB's", [a / b for a, b in zip(ours, theirs, strict=True)], "×", 2),
    ]


def _image(number: int, data: bytes) -> Entry:
    payload = number.to_bytes(8, "big") + data
    return Entry(_name(number), payload, {"xxh3": xxh3_64_hexdigest(payload), "key": _name(number)[:32]})


def _name(number: int) -> str:
    return blake2b(b"%d" % number, digest_size=16).hexdigest() + "-000"
