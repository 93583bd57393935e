"""SeeSR and OSEDiff at their real size with random weights: `python -m benchmarks.bench_seesr --case NAME`.

A case that has been recorded for this commit on this machine is skipped, unless `--again`. Bars of the GPU cases
apply on one H100 or H200, and are left out elsewhere. `--tiny` runs small networks through the same code, and records
nothing unless a history file is named.
"""

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks import osediff
from benchmarks import seesr_cpu as cpu
from benchmarks import seesr_gpu as gpu
from benchmarks.record import Bar, Provenance, append, here
from benchmarks.seesr_gpu import RunSettings, Shape
from srcache.engine.interface import Tiling

TILES = Tiling(size=96, overlap=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one command measures, in less than ten minutes; `on` is the kind of machine that it is meant for."""

    what: str
    act: Callable[[RunSettings, str], list[Bar]]
    on: str = "GPU"
    quick: bool = False


def _speed(shape: Shape, most: float | None, least: float | None = None) -> Callable[[RunSettings, str], list[Bar]]:
    return lambda run, name: gpu.speed(run, name, shape, most=most, least=least)


def _memory(shape: Shape, most: float | None) -> Callable[[RunSettings, str], list[Bar]]:
    return lambda run, name: gpu.memory(run, name, shape, most)


_TURBO = Shape(kind="compiled", batch=16, steps=2, guidance=1.0, turbo=True)
CASES = {
    "batch1-graph": Case(what="128→512, 50 steps, one image, in CUDA graphs", act=_speed(Shape(), 0.80)),
    "batch1-compiled": Case(what="the same, compiled", act=_speed(Shape(kind="compiled"), 0.80)),
    "batch8-compiled": Case(what="batches of 8, compiled", act=_speed(Shape(kind="compiled", batch=8), 0.40)),
    "batch16-compiled": Case(what="batches of 16, compiled", act=_speed(Shape(kind="compiled", batch=16), 0.40)),
    "batch16-graph": Case(what="batches of 16, in CUDA graphs", act=_speed(Shape(batch=16), 0.40)),
    "turbo-batch16": Case(what="sd-turbo: 2 steps without guidance, batches of 16, compiled", act=_speed(_TURBO, 0.06)),
    "tiles": Case(
        what="256→1024, 10 steps, 4 tiles of 96x96 cells, compiled",
        act=_speed(Shape(kind="compiled", size=(256, 256), steps=10, tiling=TILES), None, 400),
    ),
    "large": Case(
        what="622x716→2488x2864, 2 steps, 30 tiles: the least peak of memory, the VAE's tiles waiting on the host",
        act=_memory(Shape(size=(622, 716), steps=2, tiling=TILES, park=True), 12),
    ),
    "large-stays": Case(
        what="the same, the VAE's tiles staying on the card: what that takes, and how long",
        act=_memory(Shape(size=(622, 716), steps=2, tiling=TILES), None),
    ),
    "memory512": Case(what="128→512, one image: peak memory", act=_memory(Shape(steps=2), 10)),
    "first-image": Case(
        what="a fresh process to its first image of 50 steps, compiled code in torch's cache",
        act=lambda run, name: gpu.first(run, name, Shape(kind="compiled"), 60),
    ),
    "profile": Case(
        what="kernels of 4 steps of a batch of 16 by class; the table goes to --out",
        act=lambda run, name: gpu.profile(run, name, Shape(kind="compiled", batch=16, steps=4)),
    ),
    "savings": Case(what="operations of both ways, counted", act=cpu.savings, on="CPU", quick=True),
    "predicted": Case(what="memory on a GPU, predicted", act=cpu.predicted, on="CPU", quick=True),
    "precision": Case(what="values that rounding moves, by precision and batch", act=cpu.precision, on="CPU"),
    "osediff-batch16": Case(
        what="OSEDiff, 128→512, batches of 16, compiled",
        act=lambda run, name: osediff.speed(run, name, Shape(kind="compiled", batch=16), 0.040),
    ),
    "osediff-batch1": Case(
        what="OSEDiff, one image, compiled",
        act=lambda run, name: osediff.speed(run, name, Shape(kind="compiled"), 0.060),
    ),
    "osediff-predicted": Case(what="OSEDiff's memory on a GPU, predicted", act=osediff.predicted, on="CPU"),
    "osediff-cpu": Case(
        what="seconds and memory of one image on the CPU, OSEDiff beside SeeSR", act=osediff.cpu_image, on="CPU"
    ),
    "cpu-step": Case(what="seconds of one step on the CPU beside the reference way", act=cpu.step, on="CPU"),
}


def run(repeats: int) -> list[Bar]:
    """The quick cases, for `python -m benchmarks`."""
    where = RunSettings(device=torch.device("cpu"), repeats=repeats)
    return [bar for name, case in CASES.items() if case.quick for bar in case.act(where, name)]


def main(words: list[str] | None = None) -> int:
    """Run the named cases; the exit code is 1 if a bar is missed."""
    given = _parser().parse_args(words)
    if given.list:
        print("\n".join(f"{name:18} {case.on}  {case.what}" for name, case in CASES.items()))
        return 0
    device = _device(given.device)
    where = RunSettings(
        device=device, repeats=given.repeats, tiny=given.tiny, precision="fp32" if given.tiny else "fp16", out=given.out
    )
    provenance = _provenance(given, device)
    missed = 0
    for name in given.case:
        if not given.again and provenance and is_recorded(name, provenance):
            print(f"# {name}: recorded already for {provenance.commit}; --again measures it anew")
            continue
        print(f"# {name}: {CASES[name].what}", flush=True)
        bars = CASES[name].act(where, name)
        print(table(bars), flush=True)
        if provenance:
            append("seesr", bars, given.repeats, provenance)
        missed += sum(not bar.met for bar in bars)
    return 1 if missed else 0


def is_recorded(case: str, provenance: Provenance) -> bool:
    """Whether a history has rows of this case, of this commit on this machine. Uncommitted changes are no commit."""
    if provenance.commit.endswith("+") or not provenance.history.exists():
        return False
    with provenance.history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = provenance.commit, provenance.machine, "seesr"
    same = (row for row in rows if (row["commit"], row["machine"], row["bench"]) == wanted)
    return any(row["case"].startswith(f"{case}:") for row in same)


def table(bars: Iterable[Bar]) -> str:
    """A case's numbers, in Markdown."""
    lines = ["| | value | bar | beside it | ratio |", "|---|---|---|---|---|"]
    for bar in bars:
        verdict = "" if not bar.limit else f"{bar.limit} {'met' if bar.met else '**missed**'}"
        peer = "" if bar.peer_value is None else f"{bar.peer}: {bar.peer_value:.4g} {bar.unit}"
        spread = f" ± {bar.spread:.2g}" if bar.spread else ""
        ratio = "" if bar.ratio is None else f"{bar.ratio:.3g}"
        lines.append(f"| {bar.case} | {bar.value:.4g}{spread} {bar.unit} | {verdict} | {peer} | {ratio} |")
    return "\n".join(lines)


def _provenance(given: argparse.Namespace, device: torch.device) -> Provenance | None:
    """Where rows go; None for small networks, unless a file is named."""
    if given.dry or (given.tiny and given.history is None):
        return None
    provenance = here()
    if device.type == "cuda":
        name, version = torch.cuda.get_device_name(device), torch.__version__
        provenance = replace(provenance, machine=f"{name}, torch {version}; {provenance.machine}")
    return replace(provenance, history=given.history or provenance.history, commit=given.commit or provenance.commit)


def _device(name: str) -> torch.device:
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(found if name == "auto" else name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_seesr", description=__doc__)
    parser.add_argument("--case", action="append", choices=list(CASES), default=[], help="which case; may be repeated")
    parser.add_argument("--list", action="store_true", help="print all cases")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats (default 5)")
    parser.add_argument("--again", action="store_true", help="measure also what has been recorded")
    parser.add_argument("--dry", action="store_true", help="record nothing")
    parser.add_argument("--tiny", action="store_true", help="small networks, to try the command")
    parser.add_argument("--history", type=Path, help="another file than history.csv")
    parser.add_argument("--commit", help="what is measured, in a copy of the files without git")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")), help="folder for written tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
