"""`python -m benchmarks [start|store|loaders|…]`: run some, print bars, append to history.csv."""

import argparse
import sys
from importlib import import_module

from benchmarks.record import Bar, append

ALL = ("start", "store", "shards", "million", "loaders", "fill", "serve", "ray", "engines", "seesr")
"""Of `seesr` only what needs no GPU and less than two minutes; the rest is `python -m benchmarks.bench_seesr`."""


def main() -> int:
    """Run the named benchmarks; the exit code is 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    shown = f"{', '.join(ALL)}; all of them if left out"
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*ALL, []], help=shown)
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats (default 5)")
    parser.add_argument("--dry", action="store_true", help="do not append to history.csv")
    given = parser.parse_args()
    bars: list[Bar] = []
    for name in given.names or ALL:
        print(f"# {name}", flush=True)
        found: list[Bar] = import_module(f"benchmarks.bench_{name}").run(given.repeats)
        for bar in found:
            print(bar, flush=True)
        bars += found
        if not given.dry:
            append(name, found, given.repeats)
    missed = [bar for bar in bars if not bar.met]
    print(f"{len(bars) - len(missed)} of {len(bars)} bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
