"""What a fill on Ray costs beside one in one process: 2,000 images 64→256 over two actors.

The engine sleeps for each batch, as one on a GPU takes its time, so that two actors on one machine could be twice as
fast. Overhead is what they are slower than that, between a quarter and three quarters of the images, when all actors
are there. What Ray takes to start, to load the engine in each actor, and to end is in the seconds of the whole. Bytes
are compared. Ray runs in a network of its own, for it listens on every address of a machine.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bench_fill import write_images
from benchmarks.record import Bar, bar_of, interleaved
from benchmarks.sleeper import install

IMAGES, SECONDS = 2_000, 1.2
ACTORS = 2

_FILL = """
import json, sys, time
from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings, RaySettings
from srcache.recipe.reading import resolve
images, cache, seconds, actors = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
catalog = scan(images)
recipe = resolve({"name": "bench", "engine": "bench-sleeper", "options": {"seconds": seconds}})
ray = RaySettings(least=actors) if actors else None
started, seen = time.perf_counter(), []
def note(done, total):
    if total / 4 <= done <= 3 * total / 4:
        seen.append((time.perf_counter(), done))
report = fill(catalog, recipe, cache, FillSettings(device="cpu", store="shards", ray=ray), note)
assert report.added == len(catalog), report
(first, low), (last, high) = seen[0], seen[-1]
print(json.dumps([(last - first) / (high - low), time.perf_counter() - started]))
"""
_APART = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def run(repeats: int) -> list[Bar]:
    """In this process and on Ray, in turns; at most three times, because each takes minutes."""
    install()
    repeats = min(repeats, 3)
    with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        root = Path(folder)
        write_images(root / "lr", IMAGES, 64)
        turns = iter(range(10**6))
        each: dict[int, list[float]] = {0: [], ACTORS: []}

        def measure(actors: int) -> float:
            seconds, total = _filled(root, f"cache{next(turns)}", actors)
            each[actors].append(seconds)
            return total

        rayed, local = interleaved(repeats, lambda: measure(ACTORS), lambda: measure(0))
        assert _contents(root / "cache0") == _contents(root / "cache1")
    title = f"{IMAGES:,} images 64→256 over {ACTORS} actors"
    extra = [100 * (ACTORS * one / two - 1) for one, two in zip(each[ACTORS], each[0], strict=True)]
    return [
        bar_of(f"{title}: time of each actor beyond its share", extra, "%", 10),
        bar_of(f"{title}: the whole, with starting and ending Ray", rayed, "s", None, "in one process", local),
    ]


def _filled(root: Path, cache: str, actors: int) -> tuple[float, float]:
    """Seconds of a fill in a process of its own: for an image, once it is under way, and of all."""
    words = [sys.executable, "-c", _FILL, str(root / "lr"), str(root / cache), str(SECONDS), str(actors)]
    done = subprocess.run([*_APART, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a fill failed (has this machine network namespaces?):\n{done.stderr}")
    seconds, total = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), float(total)


def _contents(cache: Path) -> dict[str, bytes | None]:
    from srcache.cache.manifest import open_cache

    store = open_cache(cache).find().store()
    return {name: store.get(name) for name in store.names()}
