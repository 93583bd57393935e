"""The LMDB store as its index grows: open and first get, warm get, memory per reader; sqlite3 beside it.

Values have 16 bytes, so that the index is measured and not the disk. Memory is what a reader has after 20,000 random
gets and had not before it opened the store: private pages, and mapped pages of the file, which all readers share.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from benchmarks.record import Bar, bar_of, fresh, interleaved
from srcache.stores import Entry, open_store

SIZES = (10_000, 1_000_000, 5_000_000)
BATCH = 50_000

SETUP = """
import random, re, sys, time
from hashlib import blake2b
from pathlib import Path
path, count = Path(sys.argv[1]), int(sys.argv[2])
name = lambda i: blake2b(b"%d" % i, digest_size=16).hexdigest() + "-000"
rng = random.Random(7)
names = [name(rng.randrange(count)) for _ in range(20000)]
def memory():
    text = Path("/proc/self/smaps_rollup").read_text()
    kb = lambda *fields: sum(int(re.search(rf"^{field}:\\s+(\\d+)", text, re.M)[1]) for field in fields)
    anonymous = int(re.search(r"^Anonymous:\\s+(\\d+)", text, re.M)[1])
    return anonymous / 1024, (kb("Rss") - anonymous) / 1024
"""
TAIL = """
first = 1000 * (time.perf_counter() - started)
for key in names:
    get(key)
started = time.perf_counter()
for key in names:
    get(key)
warm = 1e6 * (time.perf_counter() - started) / len(names)
after = memory()
print(first, warm, after[0] - before[0], after[1] - before[1])
"""
_OURS = """
from srcache.stores import open_store
import srcache.stores.lmdb_kind
before = memory()
started = time.perf_counter()
store = open_store("lmdb", path)
get = store.get
assert len(get(names[0])) == 16
"""
_SQLITE = """
import sqlite3
before = memory()
started = time.perf_counter()
db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
get = lambda key: db.execute("select payload from images where name = ?", (key,)).fetchone()[0]
assert len(get(names[0])) == 16
"""


def run(repeats: int) -> list[Bar]:
    """One reader process per repeat and store, interleaved."""
    with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        return [bar for size in SIZES for bar in _size(Path(folder), size, repeats)]


def _size(folder: Path, size: int, repeats: int) -> list[Bar]:
    ours, peer = folder / f"{size}.lmdb", folder / f"{size}.sqlite"
    store = open_store("lmdb", ours, writable=True)
    db = sqlite3.connect(peer)
    db.execute("create table images (name text primary key, payload blob) without rowid")
    for names in _batches(size):
        store.put_many(Entry(name, b"0123456789abcdef", {}) for name in names)
        with db:
            db.executemany("insert into images values (?, ?)", [(name, b"0123456789abcdef") for name in names])
    store.close()
    db.close()
    read: list[list[list[float]]] = [[], []]

    def measure(place: int, code: str, path: Path) -> float:
        read[place].append([float(word) for word in fresh(SETUP + code + TAIL, str(path), str(size)).split()])
        return 0.0

    interleaved(repeats, lambda: measure(0, _OURS, ours), lambda: measure(1, _SQLITE, peer))
    mine, other = (list(zip(*values, strict=True)) for values in read)
    title = f"{size:,} entries"
    return [
        bar_of(f"{title}: open and first get", mine[0], "ms", 20, "sqlite3", other[0]),
        bar_of(f"{title}: warm get", mine[1], "µs", 10, "sqlite3", other[1]),
        bar_of(f"{title}: private memory", mine[2], "MB", 10, "sqlite3", other[2]),
        bar_of(f"{title}: mapped pages of the file, shared", mine[3], "MB", None, "sqlite3", other[3]),
    ]


def _batches(size: int) -> Iterator[list[str]]:
    for start in range(0, size, BATCH):
        stop = min(size, start + BATCH)
        yield sorted(blake2b(b"%d" % i, digest_size=16).hexdigest() + "-000" for i in range(start, stop))
