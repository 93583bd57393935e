"""Loaders of training images side by side, at 224² and 512²: `python -m benchmarks.bench_loaders --work FOLDER`.

Every loader does the same work (see `loader_peers`) on the same images (see `loader_data`), each time in a process of
its own on two cores (see `loader_run`), page cache warm. A fresh process per loader and repeat, because FFCV compiles,
SPDL and others keep threads, and what one leaves behind in memory would be the next one's burden. Repeats are
interleaved: all loaders once, then all of them again. A ratio is the median of the ratios of each round.

What is not installed is left out and said. The images are written into the folder once and kept there: about 12 GB for
the default sizes; without --work, into the folder that SRCACHE_BENCH names, else into a temporary one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmarks.loader_codecs import codec_rates
from benchmarks.loader_data import LoaderData, open_data
from benchmarks.loader_peers import PEERS, Peer
from benchmarks.loader_table import write_table
from benchmarks.record import HISTORY, Bar, append, bar_of, interleaved

COUNTS = {224: 4000, 512: 2000}
SECONDS = 2.0
RATE = 3000
"""Images per second that a loop asks for which does nothing but sleep."""
_TOLERANCE = 2.0
"""Levels by which the mean over decoded images may differ from the originals': JPEG, decoders' colour rounding, LR."""
_CROPS = 30.0
"""The same for random crops of images, which have other pixels in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderBench:
    """What is measured: where the images lie, how many of each size, which loaders, how long, how often."""

    work: Path
    counts: Mapping[int, int]
    peers: Sequence[str] = tuple(PEERS)
    seconds: float = SECONDS
    repeats: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A bar: a loader of ours against the fastest of some others, and the least ratio by side (None asks nothing)."""

    ours: str
    others: tuple[str, ...]
    least: Mapping[int, float | None]


_ONE = {224: 1.0, 512: 1.0}
CONTESTS = (
    Contest(ours="dataset-jpeg", others=("imagefolder-jpeg", "webdataset", "hf"), least=_ONE),
    Contest(ours="srloader-jpeg", others=("ffcv-jpeg", "spdl-jpeg"), least=_ONE),
    Contest(ours="srloader-ppm", others=("ffcv-raw", "spdl-raw"), least=_ONE),
    Contest(ours="srloader-ppm", others=("memmap",), least={}),
    Contest(ours="dataset-qoi", others=("imagefolder-png",), least={}),
    Contest(ours="srloader-qoi", others=("imagefolder-png",), least={224: 5.0, 512: 3.0}),
    Contest(ours="webdataset-joined", others=("webdataset",), least=_ONE),
    *(
        Contest(ours=f"{kind}-{mixed}", others=(f"{kind}-sr",), least={224: 1 / 1.3, 512: 1 / 1.3})
        for kind in ("srloader", "dataset")
        for mixed in ("patch", "blend")
    ),
)
FEEDER, FED_SIDE = "srloader-jpeg", 224


def run(repeats: int) -> list[Bar]:
    """Everything at its default size, in the folder that SRCACHE_BENCH names or in a temporary one."""
    named = os.environ.get("SRCACHE_BENCH")
    with nullcontext(named) if named else tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        return measure(LoaderBench(work=Path(folder), counts=COUNTS, repeats=repeats))


def measure(bench: LoaderBench) -> list[Bar]:
    """The bars of every size."""
    peers = _present(bench.peers)
    return [bar for side, count in bench.counts.items() for bar in _side(bench, peers, side, count)]


def _present(names: Sequence[str]) -> list[Peer]:
    peers = []
    for name in names:
        missing = PEERS[name].missing()
        if missing:
            print(f"     without {name} ({missing})", flush=True)
        else:
            peers.append(PEERS[name])
    return peers


def _side(bench: LoaderBench, peers: Sequence[Peer], side: int, count: int) -> list[Bar]:
    data = open_data(bench.work, side, count)
    for peer in peers:
        peer.write(data)
    expected = data.mean()
    columns = interleaved(
        bench.repeats, *(lambda peer=peer: _rate(peer, data, bench.seconds, expected) for peer in peers)
    )
    rates = {peer.name: column for peer, column in zip(peers, columns, strict=True)}
    bars = [
        bar_of(f"{side}², {PEERS[name].payload}: {PEERS[name].title}", rates[name], "images/s", None) for name in rates
    ]
    bars += [bar for contest in CONTESTS for bar in _contest(contest, side, rates)]
    bars += codec_rates(data, bench.repeats)
    return bars + (_paced(bench, data) if FEEDER in rates and side == FED_SIDE else [])


def _rate(peer: Peer, data: LoaderData, seconds: float, expected: float) -> float:
    found = _process(peer, data, seconds)
    if abs(found["mean"] - expected) > _tolerance(peer):
        raise RuntimeError(f"{peer.name} gives other images: their mean is {found['mean']}, not {expected}")
    return found["rate"]


def _tolerance(peer: Peer) -> float:
    if peer.payload == "mixture":
        return _CROPS if peer.name.startswith("dataset") else _TOLERANCE
    return _TOLERANCE if peer.payload == "jpeg" else 1e-6


def _contest(contest: Contest, side: int, rates: Mapping[str, Sequence[float]]) -> list[Bar]:
    others = [name for name in contest.others if name in rates]
    if contest.ours not in rates or not others:
        return []
    best = max(others, key=lambda name: median(rates[name]))
    ratios = [mine / theirs for mine, theirs in zip(rates[contest.ours], rates[best], strict=True)]
    ours = PEERS[contest.ours]
    titles = " or ".join(PEERS[name].title for name in others)
    return [
        Bar(
            case=f"{side}², {ours.payload}: {ours.title}, times {titles}",
            value=median(ratios),
            unit="×",
            least=contest.least.get(side),
            spread=(max(ratios) - min(ratios)) / 2,
            peer=PEERS[best].title,
        )
    ]


def _paced(bench: LoaderBench, data: LoaderData) -> list[Bar]:
    """What SRLoader adds to a loop that sleeps, and to the training of a ResNet-18 where there is a GPU."""
    loops: dict[str, tuple[str, ...]] = {f"a loop that takes {RATE:,} images/s": ("--sleep", str(1 / RATE))}
    if torch.cuda.is_available():
        workers = len(os.sched_getaffinity(0))
        loops[f"a ResNet-18 on {torch.cuda.get_device_name()}, {workers} threads"] = (
            *("--train", "cuda"),
            *("--workers", str(workers)),
        )
    extra: dict[str, list[float]] = {title: [] for title in loops}
    for _ in range(bench.repeats):
        for title, words in loops.items():
            found = _process(PEERS[FEEDER], data, bench.seconds, *words)
            extra[title].append(100 * (found["fed"] / found["alone"] - 1))
    return [
        bar_of(f"{data.side}², jpeg: SRLoader feeding {title}: slower by", values, "%", 3)
        for title, values in extra.items()
    ]


def _process(peer: Peer, data: LoaderData, seconds: float, *words: str) -> dict[str, float]:
    """What `loader_run` prints, from a process whose libraries use no more threads than the loader is given."""
    given = [peer.name, data.root.resolve(), data.side, data.count, seconds, *words]
    limits = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-m", "benchmarks.loader_run", *map(str, given)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **limits}, cwd=HISTORY.parent.parent
    )
    if done.returncode:
        raise RuntimeError(f"{peer.name} failed (leave it out with --peers):\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Measure, print, append to history.csv and draw; the exit code is 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_loaders", description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for the images, kept")
    parser.add_argument("--sides", type=int, nargs="+", default=list(COUNTS), help="heights and widths of images")
    parser.add_argument("--count", type=int, help=f"images of each size; {COUNTS} if left out")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="time per process, at least an epoch (default 2)"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="append nothing to history.csv")
    parser.add_argument("--table", action="store_true", help="only write README's table and the plot from history.csv")
    given = parser.parse_args()
    if given.table:
        write_table()
        return 0
    work = given.work or (Path(os.environ["SRCACHE_BENCH"]) if "SRCACHE_BENCH" in os.environ else None)
    missed = False
    with nullcontext(work) if work else tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
        for side in given.sides:
            count = given.count or COUNTS.get(side, 2000)
            chosen = {"peers": given.peers, "seconds": given.seconds, "repeats": given.repeats}
            bars = measure(LoaderBench(work=Path(folder), counts={side: count}, **chosen))
            for bar in bars:
                print(bar, flush=True)
            missed |= not all(bar.met for bar in bars)
            if not given.dry:
                append("loaders", bars, given.repeats)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
