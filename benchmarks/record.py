"""Bars: what a benchmark measured, against what it must be and against a named peer; kept in history.csv."""

import csv
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HISTORY = Path(__file__).parent / "history.csv"
COLUMNS = (
    *("date", "commit", "machine", "bench", "case", "value", "unit", "bar", "met", "spread"),
    *("peer", "peer_value", "ratio", "repeats"),
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A measured case: the median and spread (half of max − min) of its repeats, its bar, and its peer.

    `bar` is the most that the value may be, `least` the least that it must be.
    """

    case: str
    value: float
    unit: str
    bar: float | None = None
    least: float | None = None
    spread: float = 0.0
    peer: str = ""
    peer_value: float | None = None

    @property
    def met(self) -> bool:
        """Whether the value is within its bars; a case without any is only written down."""
        return (self.bar is None or self.value <= self.bar) and (self.least is None or self.value >= self.least)

    @property
    def limit(self) -> str:
        """Its bars in words: `5`, `at least 0.5`, or nothing."""
        least = [] if self.least is None else [f"at least {self.least:g}"]
        return ", ".join(least + ([] if self.bar is None else [f"{self.bar:g}"]))

    @property
    def ratio(self) -> float | None:
        """The value over the peer's."""
        return None if not self.peer_value else self.value / self.peer_value

    def __str__(self) -> str:
        text = f"{'ok  ' if self.met else 'MISS'} {self.case}: {self.value:.4g} ± {self.spread:.2g} {self.unit}"
        if self.limit:
            text += f" (bar {self.limit})"
        if self.ratio is not None:
            text += f"; {self.peer}: {self.peer_value:.4g} {self.unit}, ratio {self.ratio:.3g}"
        return text


def bar_of(
    case: str, values: Sequence[float], unit: str, bar: float | None, peer: str = "", peer_values: Sequence[float] = ()
) -> Bar:
    """A bar from repeats."""
    return Bar(
        case=case,
        value=median(values),
        unit=unit,
        bar=bar,
        spread=(max(values) - min(values)) / 2,
        peer=peer,
        peer_value=median(peer_values) if peer_values else None,
    )


def interleaved(repeats: int, *acts: Callable[[], float]) -> list[list[float]]:
    """Run the acts in turns, so that a slow minute of the machine hits all of them."""
    rounds = [[act() for act in acts] for _ in range(repeats)]
    return [list(column) for column in zip(*rounds, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was measured and where: the commit, the machine, and the file that keeps the rows."""

    history: Path
    commit: str
    machine: str


def here() -> Provenance:
    """This commit on this machine, kept in history.csv."""
    return Provenance(history=HISTORY, commit=_commit(), machine=machine())


def append(bench: str, bars: Sequence[Bar], repeats: int, provenance: Provenance | None = None) -> None:
    """Add rows to the file of a provenance; without one, to history.csv for this commit on this machine."""
    provenance = provenance or here()
    new = not provenance.history.exists()
    with provenance.history.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for bar in bars:
            writer.writerow(_row(bench, bar, repeats, provenance))


def _row(bench: str, bar: Bar, repeats: int, provenance: Provenance) -> list[object]:
    numbers = [bar.value, bar.spread, bar.peer_value, bar.ratio]
    value, spread, peer_value, ratio = ("" if number is None else f"{number:.5g}" for number in numbers)
    when = time.strftime("%Y-%m-%d", time.gmtime())
    head = [when, provenance.commit, provenance.machine, bench, bar.case, value, bar.unit, bar.limit]
    return [*head, "yes" if bar.met else "no", spread, bar.peer, peer_value, ratio, repeats]


def machine() -> str:
    """The machine in a few words: processor, cores, Python."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def fresh(code: str, *arguments: str) -> str:
    """Run a piece of Python in a process of its own; returns what it printed."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a measured process failed:\n{done.stderr}")
    return done.stdout


def _commit() -> str:
    def git(*words: str) -> str:
        if shutil.which("git") is None:
            return ""
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=HISTORY.parent)
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "none") + ("+" if git("status", "--porcelain", "-uno") else "")
