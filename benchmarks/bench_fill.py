"""What filling adds to the engine's own time, and whether its memory grows with the data set.

Overhead: 64 images 128→512 per batch, lossless, with an engine that sleeps 3.8 s per batch, as a GPU would. The peer is
the same engine called in a bare loop on ready tensors, storing nothing.
Memory: private memory while 100,000 images 16→64 are filled, its peak over all of the run against that over the first
10,000 (by then every queue has been full). What the catalog takes is measured apart, as the difference between
scanning 1,000 and 100,000 files.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.record import Bar, bar_of, fresh, interleaved
from benchmarks.sleeper import install

SECONDS, BATCH, BATCHES = 3.8, 64, 10
COUNTS = (1_000, 100_000)

_MEMORY = """
import re, sys, threading, time
from pathlib import Path
from srcache.catalog.scanning import scan
from srcache.fill.settings import FillSettings; from srcache.fill.run import fill
from srcache.recipe.reading import resolve
import numpy, torch
def private():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = private()
catalog = scan(sys.argv[1])
scanned = private()
peaks = {"first": 0.0, "all": 0.0}
done = 0
def watch():
    while True:
        now = private()
        peaks["all"] = max(peaks["all"], now)
        if done < 10000:
            peaks["first"] = max(peaks["first"], now)
        time.sleep(0.01)
def note(count, total):
    global done
    done = count
threading.Thread(target=watch, daemon=True).start()
recipe = resolve({"name": "bench", "engine": "bench-sleeper"})
started = time.perf_counter()
report = fill(catalog, recipe, sys.argv[2], FillSettings(device="cpu"), note)
assert report.added == report.wanted, report
print(scanned - before, peaks["first"], peaks["all"], report.wanted / (time.perf_counter() - started))
"""


def run(repeats: int) -> list[Bar]:
    """Overhead with interleaved repeats; memory once per size, because a run of 100,000 takes minutes."""
    install()
    with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        root = Path(folder)
        return [_overhead(root, repeats), *_memory(root)]


def _overhead(root: Path, repeats: int) -> Bar:
    from srcache.catalog.scanning import scan
    from srcache.engine.registry import open_engine
    from srcache.fill.run import fill
    from srcache.fill.settings import FillSettings
    from srcache.images import to_batch
    from srcache.recipe.reading import resolve

    write_images(root / "lr", BATCH * BATCHES, 128)
    catalog = scan(root / "lr")
    recipe = resolve({"name": "bench", "engine": "bench-sleeper", "options": {"seconds": SECONDS}})
    turns = iter(range(10**6))

    def ours() -> float:
        started = time.perf_counter()
        report = fill(catalog, recipe, root / f"cache{next(turns)}", FillSettings(device="cpu"))
        assert report.added == BATCH * BATCHES, report
        return time.perf_counter() - started

    def bare() -> float:
        engine = open_engine(recipe.engine, recipe.setup("cpu"))
        images = to_batch([catalog.load(index).rgb for index in range(BATCH)])
        started = time.perf_counter()
        for _ in range(BATCHES):
            engine.upscale(images, list(range(BATCH)))
        return time.perf_counter() - started

    filled, engine = interleaved(repeats, ours, bare)
    extra = [100 * (one / two - 1) for one, two in zip(filled, engine, strict=True)]
    title = f"{BATCHES} batches of {BATCH}, 128→512, {SECONDS} s each: time beyond the engine's"
    return bar_of(title, extra, "%", 3)


def _memory(root: Path) -> list[Bar]:
    catalogs = []
    for count in COUNTS:
        write_images(root / f"small{count}", count, 16)
        words = fresh(_MEMORY, str(root / f"small{count}"), str(root / f"small{count}-cache")).split()
        catalog, first, peak, rate = map(float, words)
        catalogs.append(catalog)
        print(f"     {count:,} images 16→64: peak private memory {peak:.0f} MB, {rate:.0f} images/s")
    row = (catalogs[1] - catalogs[0]) * 2**20 / (COUNTS[1] - COUNTS[0])
    return [
        bar_of("100,000 images: peak memory of the run over that of its first 10,000", [peak / first], "times", 1.1),
        bar_of("the catalog, per image", [row], "B", 2000),
    ]


def write_images(folder: Path, count: int, side: int) -> None:
    """Images with the statistics of photos: smooth light with grain, all different."""
    folder.mkdir()
    rng = np.random.default_rng(side)
    ramp = np.linspace(0, 1, side)
    for number in range(count):
        light = 80 + 90 * np.outer(np.sin(rng.uniform(1, 6) * ramp) ** 2, np.cos(rng.uniform(1, 6) * ramp) ** 2)
        pixels = light[..., None] + rng.normal(0, 6, (side, side, 3)) + rng.uniform(-20, 20, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.png", compress_level=1)
