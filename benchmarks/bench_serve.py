"""`srcache serve` under load: images that must be made, images that are there, and many clients that want the same.

The engine sleeps 100 ms for each batch of up to 32 images 64²→256², as one on a GPU would; the deadline is 20 ms.
Clients are in a process of their own (`serve_load`), each with a connection that is kept and one request at a time.
Every answer's bytes are compared with what the engine makes of that image.

    sustained  64 clients, each image new, for a minute (once): answers lost or wrong, p99, batches, throughput, memory
    hits       8 clients, one stored image of about 100 kB; peer: a Starlette handler that returns the same bytes
    litserve   64 clients, each image new; peer: LitServe with the same engine, batch and deadline
    once       32 clients, each asking for the same 1,000 images, from 32 places on (once): how many were computed

Kept out of the comparison: LitServe stores nothing, so what `serve` does for that (a commit that is synced to the disk
before an answer) has no counterpart there; and it is asked with the image's bytes as they are, not with JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.record import HISTORY, Bar, append, bar_of
from benchmarks.serve_images import Image, Plan, make_images, posts, write_plan
from benchmarks.serve_load import Load, request
from benchmarks.serve_peers import Server, bare_server, litserve_server, srcache_server
from benchmarks.sleeper import install
from srcache.keys import image_key
from srcache.recipe import load_recipe

BATCH, SLEEP, DEADLINE, SIDE = 32, 0.1, 0.02, 64
GRAIN = 0.005
"""Grain with which an image of 256² is stored in 100 kB, as a photo's SR image is."""

LIMIT = BATCH / SLEEP
"""Images per second that the engine can make."""

CLIENTS, SECONDS, WARM = 64, 60.0, 3.0
HIT_CLIENTS, HIT_SECONDS = 8, 4.0
PEER_SECONDS = 12.0
SAME, SAME_CLIENTS = 1000, 32
_LATEST = 2.5 * (SLEEP + DEADLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBench:
    """A folder to work in, and how long `sustained` takes."""

    root: Path
    seconds: float = SECONDS

    @property
    def recipe_file(self) -> Path:
        """The recipe with the engine that sleeps, as `srcache serve` takes it."""
        path = self.root / "sleeps.yaml"
        path.write_text(f"engine: bench-sleeper\noptions: {{seconds: {SLEEP}, grain: {GRAIN}}}\n")
        return path

    @contextmanager
    def server(self, name: str) -> Iterator[Server]:
        """`srcache serve` with a new cache."""
        options = ("--batch", str(BATCH), "--deadline", str(1000 * DEADLINE))
        with srcache_server(self.root / name, self.recipe_file, *options) as server:
            yield server

    def images(self, side: int, count: int, first: int = 0) -> list[Image]:
        """Images that nobody has asked for yet."""
        quick = load_recipe(str(self.recipe_file), {"options.seconds": 0.0})
        return make_images(quick, side, count, first)

    def ask(self, port: int, plan: Plan, asks: Sequence[tuple[bytes, str]]) -> Load:
        """Run a plan in a process of its own."""
        path = write_plan(self.root / "plan.json", port, plan, asks)
        command = [sys.executable, "-m", "benchmarks.serve_load", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HISTORY.parent.parent)
        load = Load(**json.loads(done.stdout))
        for problem in load.problems:
            print(f"     {problem}", flush=True)
        return load


def run(repeats: int, seconds: float = SECONDS, cases: Sequence[str] = ()) -> list[Bar]:
    """The chosen cases, or all of them; `seconds` is how long `sustained` takes."""
    install()
    bars: list[Bar] = []
    for name in cases or CASES:
        with tempfile.TemporaryDirectory(prefix="srcache-bench-") as folder:
            bars += CASES[name](ServeBench(root=Path(folder), seconds=seconds), repeats)
    return bars


def sustained(bench: ServeBench, repeats: int) -> list[Bar]:
    """A closed loop of clients, each image new; once, because it takes a minute."""
    plan = Plan(clients=CLIENTS, seconds=bench.seconds, warm=WARM)
    images = bench.images(SIDE, round(1.15 * LIMIT * (bench.seconds + WARM)) + 2 * CLIENTS)
    with bench.server("sustained") as server, _watched(server) as memory:
        load = bench.ask(server.port, plan, posts(images, "/v1/sr"))
        stats = server.stats()
    case = f"{CLIENTS} clients, 64²→256², {bench.seconds:g} s"
    half = len(memory) // 2
    return [
        Bar(case=f"{case}: answers lost or wrong", value=load.lost + load.wrong, unit="answers", bar=0),
        Bar(case=f"{case}: latency, p99", value=1000 * load.percentile(0.99), unit="ms", bar=1000 * _LATEST),
        Bar(case=f"{case}: latency, median", value=1000 * load.percentile(0.5), unit="ms"),
        Bar(case=f"{case}: mean batch, of {BATCH}", value=stats["mean_batch"] or 0, unit="images", least=0.75 * BATCH),
        Bar(
            case=f"{case}: throughput",
            value=load.rate,
            unit="images/s",
            least=0.9 * LIMIT,
            peer="the engine's limit",
            peer_value=LIMIT,
        ),
        Bar(
            case=f"{case}: peak private memory of the second half over the first's",
            value=max(memory[half:]) / max(memory[:half]),
            unit="times",
            bar=1.1,
        ),
        Bar(case=f"{case}: peak private memory", value=max(memory), unit="MB"),
    ]


def hits(bench: ServeBench, repeats: int) -> list[Bar]:
    """One stored image, again and again, beside a handler that has nothing to do."""
    (image,) = bench.images(SIDE, 1)
    with bench.server("hits") as server:
        first = bench.ask(server.port, Plan(clients=1, seconds=30), posts([image], "/v1/sr"))
        assert first.right == 1, first
        payload = bench.root / "payload"
        path = f"/v1/sr/{image_key(image.data)}"
        payload.write_bytes(server.get(path)[1])
        with bare_server(payload, "image/qoi") as bare:
            plan = Plan(clients=HIT_CLIENTS, seconds=HIT_SECONDS, warm=0.5, repeat=True)
            asks = [(request("GET", path), image.checksum)]

            def rate(of: Server) -> float:
                load = bench.ask(of.port, plan, asks)
                assert load.wrong == load.lost == 0, load.problems
                return load.rate

            rounds = [(rate(server), rate(bare)) for _ in range(repeats)]
    size = payload.stat().st_size
    case = f"hits of {size / 1000:.0f} kB, {HIT_CLIENTS} clients"
    return _beside(case, "requests/s", rounds, "a bare Starlette handler", 0.8, None)


def litserve(bench: ServeBench, repeats: int) -> list[Bar]:
    """The same images, engine, batch and deadline for LitServe."""
    rates: list[tuple[float, float]] = []
    latest: list[tuple[float, float]] = []
    plan = Plan(clients=CLIENTS, seconds=PEER_SECONDS, warm=WARM)
    images = bench.images(SIDE, round(1.15 * LIMIT * (PEER_SECONDS + WARM)) + 2 * CLIENTS)
    asks = posts(images, "/v1/sr")
    for turn in range(repeats):
        with bench.server(f"litserve{turn}") as server:
            ours = bench.ask(server.port, plan, asks)
        with litserve_server(bench.recipe_file, BATCH, DEADLINE) as peer:
            theirs = bench.ask(peer.port, plan, asks)
        for load in (ours, theirs):
            assert load.wrong == load.lost == 0, load.problems
        rates.append((ours.rate, theirs.rate))
        latest.append((1000 * ours.percentile(0.99), 1000 * theirs.percentile(0.99)))
    case = f"{CLIENTS} clients, 64²→256²"
    return [
        *_beside(f"{case}: throughput", "images/s", rates, "LitServe", 1.0, None),
        *_beside(f"{case}: latency, p99", "ms", latest, "LitServe", None, 1.0),
    ]


def once(bench: ServeBench, repeats: int) -> list[Bar]:
    """Many clients ask for the same images at once: each is computed once."""
    images = bench.images(SIDE, SAME)
    plan = Plan(clients=SAME_CLIENTS, seconds=600, shared=False)
    with bench.server("once") as server:
        load = bench.ask(server.port, plan, posts(images, "/v1/sr"))
        stats = server.stats()
    case = f"{SAME:,} images, each asked for by {SAME_CLIENTS} clients at once"
    wrong = load.lost + load.wrong + abs(SAME * SAME_CLIENTS - load.right)
    return [
        Bar(case=f"{case}: answers lost or wrong", value=wrong, unit="answers", bar=0),
        Bar(
            case=f"{case}: computed, padding apart",
            value=stats["computed"] - stats["padded"],
            unit="images",
            bar=SAME,
            least=SAME,
        ),
        Bar(case=f"{case}: all answered after", value=load.seconds, unit="s"),
    ]


CASES: dict[str, Callable[[ServeBench, int], list[Bar]]] = {
    "sustained": sustained,
    "hits": hits,
    "litserve": litserve,
    "once": once,
}


def _beside(
    case: str, unit: str, rounds: Sequence[tuple[float, float]], peer: str, least: float | None, most: float | None
) -> list[Bar]:
    """What was measured next to a peer, and the median of the ratios of each round, which `least` and `most` bound."""
    ours, theirs = ([one[at] for one in rounds] for at in (0, 1))
    ratios = [mine / other for mine, other in rounds]
    spread = (max(ratios) - min(ratios)) / 2
    return [
        bar_of(case, ours, unit, None, peer, theirs),
        Bar(case=f"{case}, times {peer}'s", value=median(ratios), unit="×", least=least, bar=most, spread=spread),
    ]


@contextmanager
def _watched(server: Server) -> Iterator[list[float]]:
    """The private memory of a server in MB, four times a second, while the block runs."""
    found: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.25):
            found.append(server.private())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def main() -> int:
    """Measure, print, and append to history.csv; the exit code is 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_serve", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long `sustained` takes (default 60)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="append nothing to history.csv")
    given = parser.parse_args()
    bars = run(given.repeats, given.seconds, given.cases)
    for bar in bars:
        print(bar, flush=True)
    if not given.dry:
        append("serve", bars, given.repeats)
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
