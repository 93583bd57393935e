"""What filling adds to the engine's own time, and whether its memory grows with the data set.

Overhead: 64 images 128→512 per batch, lossless, with an engine that sleeps 3.8 s per batch, as a GPU would. The peer is
the same engine called in a bare loop on ready tensors, storing nothing.
Memory: peak private memory of filling 1,000 and 100,000 images 16→64, each in a process of its own.
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
from srcache.catalog import scan
from srcache.fill import FillSettings, fill
from srcache.recipe import resolve
peak = 0.0
def watch():
    global peak
    while True:
        text = Path("/proc/self/status").read_text()
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", text)[1]) / 1024)
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
catalog = scan(sys.argv[1])
recipe = resolve({"name": "bench", "engine": "bench-sleeper"})
started = time.perf_counter()
report = fill(catalog, recipe, sys.argv[2], FillSettings(device="cpu"))
assert report.added == report.wanted, report
print(peak, report.wanted / (time.perf_counter() - started))
"""


def run(repeats: int) -> list[Bar]:
    """Overhead with interleaved repeats; memory once per size, because a run of 100,000 takes minutes."""
    install()
    with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        root = Path(folder)
        return [_overhead(root, repeats), *_memory(root)]


def _overhead(root: Path, repeats: int) -> Bar:
    from srcache.catalog import scan
    from srcache.engine import open_engine
    from srcache.fill import FillSettings, fill
    from srcache.images import to_batch
    from srcache.recipe import resolve

    _write_images(root / "lr", BATCH * BATCHES, 128)
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
    peaks = []
    for count in COUNTS:
        _write_images(root / f"small{count}", count, 16)
        peak, rate = fresh(_MEMORY, str(root / f"small{count}"), str(root / f"small{count}-cache")).split()
        peaks.append(float(peak))
        print(f"     {count:,} images 16→64: peak private memory {float(peak):.0f} MB, {float(rate):.0f} images/s")
    catalog = (peaks[1] - peaks[0]) * 1e6 / (COUNTS[1] - COUNTS[0])
    return [
        bar_of("peak private memory at 100,000 images over that at 1,000", [peaks[1] / peaks[0]], "times", 1.25),
        bar_of("growth per image (the catalog's row)", [catalog], "B", 2000),
    ]


def _write_images(folder: Path, count: int, side: int) -> None:
    """Photos in the statistical sense: smooth light with grain, all different."""
    folder.mkdir()
    dice = np.random.default_rng(side)
    ramp = np.linspace(0, 1, side)
    for number in range(count):
        light = 80 + 90 * np.outer(np.sin(dice.uniform(1, 6) * ramp) ** 2, np.cos(dice.uniform(1, 6) * ramp) ** 2)
        pixels = light[..., None] + dice.normal(0, 6, (side, side, 3)) + dice.uniform(-20, 20, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.png", compress_level=1)
