"""One step of the benchmark `million` in a process of its own: `python -m benchmarks.million_run STEP FOLDER COUNT`.

Prints seconds, and by how many megabytes the process's private memory grew at most while the step ran. What a step
needs beforehand (the catalog's rows, say) is made before that.
"""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from benchmarks.entries import made_entry
from srcache.cache.manifest import RecipeFolder, create_cache
from srcache.catalog.rows import Catalog, Row
from srcache.fill.plan import make_plan
from srcache.keys import ImageKey, entry_name
from srcache.recipe.reading import resolve
from srcache.stores import Entry

RECIPE = {"name": "bench", "engine": "resample", "codec": "jpeg:95"}
"""Lossy, so that a merge copies payloads as they are; these are no images."""
PAYLOAD = b"0123456789abcdef"
GROUP = 64
"""Entries per commit, as a fill makes them."""
SHARD_BYTES = 32 << 20
GETS = 20_000


def source_folder(root: Path, half: int) -> RecipeFolder:
    """One of the two caches that are written, then merged."""
    return create_cache(root / f"half{half}", "shards").add(resolve(RECIPE))


def merged_folder(root: Path) -> RecipeFolder:
    """What both are merged into."""
    return create_cache(root / "merged", "shards").add(resolve(RECIPE))


def plan(root: Path, count: int) -> Callable[[], None]:
    """Planning a fill of that many images, half of which are stored."""
    rows = tuple(Row(key=_key(number), name=f"{number}.jpg", label=None, path=None) for number in range(count))
    folder, catalog = source_folder(root, 0), Catalog(rows=rows)

    def act() -> None:
        store = folder.store()
        found = make_plan(catalog, folder, store)
        if (found.wanted, found.stored) != (count, count // 2):
            raise RuntimeError(f"expected half of {count} entries to be stored, but got {found.stored}")
        store.close()

    return act


def write(root: Path, count: int) -> Callable[[], None]:
    """Writing both halves, in commits of the size that a fill makes."""

    def act() -> None:
        for half, numbers in enumerate((range(count // 2), range(count // 2, count))):
            store = source_folder(root, half).store(writable=True, shard_bytes=SHARD_BYTES)
            for first in range(numbers.start, numbers.stop, GROUP):
                store.put_many(_entry(number) for number in range(first, min(first + GROUP, numbers.stop)))
            store.close()

    return act


def merge(root: Path, count: int) -> Callable[[], None]:
    """`srcache merge` of both halves into a new cache of shards."""
    halves = [str(root / f"half{half}") for half in range(2)]
    words = ["merge", *halves, "--into", str(root / "merged"), "--store", "shards", "--shard-bytes", str(SHARD_BYTES)]

    def act() -> None:
        subprocess.run([sys.executable, "-m", "srcache_cli.main", *words], check=True, stdout=subprocess.DEVNULL)

    return act


def lookup(root: Path, count: int) -> Callable[[], None]:
    """Opening the merged cache, or the first half if there is none, and getting names all over it."""
    merged = (root / "merged").exists()
    folder, reach = (merged_folder(root), count) if merged else (source_folder(root, 0), count // 2)
    names = [entry_name(_key(place * reach // GETS), 0) for place in range(GETS)]

    def act() -> None:
        store = folder.store()
        if any(store.get(name) is None for name in names):
            raise RuntimeError("an entry that was written is not there")
        store.close()

    return act


STEPS = {"write": write, "plan": plan, "merge": merge, "lookup": lookup}
"""In the order in which they must run."""


@contextmanager
def watched() -> Iterator[list[float]]:
    """Megabytes of private memory, the most that this process and its children had, less what it had before."""
    found, before, done = [0.0], _private(), threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            found[0] = max(found[0], _private() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _private() -> float:
    total = 0
    own = f"/proc/{Path('/proc/self').resolve().name}"
    children = Path(own, "task", Path(own).name, "children").read_text().split()
    for place in (own, *(f"/proc/{child}" for child in children)):
        try:
            total += int(re.search(r"RssAnon:\s+(\d+)", Path(place, "status").read_text())[1])  # type: ignore[index]
        except (OSError, TypeError):  # a child that has just ended
            continue
    return total / 1024


def _key(number: int) -> ImageKey:
    return ImageKey(blake2b(b"%d" % number, digest_size=16).hexdigest())


def _entry(number: int) -> Entry:
    return made_entry(_key(number), PAYLOAD, 4)


def main(step: str, root: Path, count: int) -> None:
    """Prepare a step, run it watched, and print seconds and megabytes."""
    act = STEPS[step](root, count)
    with watched() as memory:
        started = time.perf_counter()
        act()
        taken = time.perf_counter() - started
    print(taken, memory[0])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
