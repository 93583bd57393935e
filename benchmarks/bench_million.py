"""A million tiny entries in shards through plan, write, merge and look-up: time, memory, and whether both are linear.

Payloads of 16 bytes, so that the house is measured and not the disk; commits of 64 entries, as a fill makes them, each
synced. Planned is a catalog of which half is stored; two caches of half the entries are merged into one; looked up are
20,000 names all over it, opening it included. Each step is a process of its own (see `million_run`), once per size,
because a million synced entries take minutes. Linear: the time per entry of a million over that of a quarter of one.
"""

import argparse
import subprocess
import sys
import tempfile

from benchmarks.million_run import STEPS
from benchmarks.record import HISTORY, Bar, append

SIZES = (250_000, 1_000_000)
MOST = 1.3
"""What is still called linear: time and memory per entry at the largest size, times that of the smallest."""
_SLACK = 20.0
"""Megabytes that do not count as growth: what a library takes whatever the size."""


def run(repeats: int) -> list[Bar]:
    """Every step at both sizes, once."""
    return measure(SIZES)


def measure(sizes: tuple[int, int]) -> list[Bar]:
    """Time and memory of each step at the sizes, and how both grow between them."""
    found = {size: _steps(size) for size in sizes}
    bars = []
    for step in found[sizes[0]]:
        for size in sizes:
            seconds, memory = found[size][step]
            title = f"{size:,} entries in shards: {step}"
            bars.append(Bar(case=title, value=seconds, unit="s"))
            bars.append(Bar(case=f"{title}, memory", value=memory, unit="MB"))
        bars += _growth(step, sizes, found[sizes[0]][step], found[sizes[1]][step])
    return bars


def _growth(step: str, sizes: tuple[int, int], small: tuple[float, float], large: tuple[float, float]) -> list[Bar]:
    grown, case = sizes[1] / sizes[0], f"{sizes[0]:,} to {sizes[1]:,} entries in shards: {step}"
    memory = (large[1] + _SLACK) / (grown * small[1] + _SLACK)
    return [
        Bar(case=f"{case}, time per entry grows by", value=large[0] / small[0] / grown, unit="times", bar=MOST),
        Bar(case=f"{case}, memory per entry grows by", value=memory, unit="times", bar=MOST),
    ]


def _steps(size: int) -> dict[str, tuple[float, float]]:
    """Seconds and megabytes of each step."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.million_run", step, folder, str(size)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HISTORY.parent.parent)
            if done.returncode:
                raise RuntimeError(f"{step} of {size:,} entries failed:\n{done.stderr}")
            seconds, memory = map(float, done.stdout.split()[-2:])
            found[step] = seconds, memory
            print(f"     {size:,} entries: {step} {seconds:.1f} s, {memory:.0f} MB", flush=True)
    return found


def main() -> int:
    """Measure at chosen sizes; the exit code is 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_million", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=SIZES, help="the smaller first")
    parser.add_argument("--dry", action="store_true", help="append nothing to history.csv")
    given = parser.parse_args()
    bars = measure((given.sizes[0], given.sizes[1]))
    for bar in bars:
        print(bar, flush=True)
    if not given.dry:
        append("million", bars, 1)
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
