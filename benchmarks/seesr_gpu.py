"""SeeSR's cases for a GPU: speed beside the reference way, memory beside its prediction, the first image, a profile.

All of them run anywhere with small networks (`--device cpu --tiny`), so that what a GPU is to measure has been tried.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from srcache_plugins.seesr.loading import Networks
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.stable_diffusion.memory import Memory, MemoryPredictor
from srcache_plugins.stable_diffusion.windows import Windows, lay_windows
from torch import Tensor

from benchmarks import seesr_full as full
from benchmarks import seesr_measure as measure
from benchmarks import seesr_reference as reference
from benchmarks.record import Bar, bar_of, fresh, interleaved
from srcache.engine.interface import Failure, Tiling

REFERENCE = "the reference way, one by one"
PRODUCT = "bf16 matrix product"
GB = 1e9

KINDS = {
    "attention": ("attention", "flash", "fmha", "sdpa"),
    "convolution": ("conv", "fprop", "dgrad", "implicit"),
    "matrix product": ("gemm", "nvjet", "cublas", "cutlass", "addmm", "aten::mm", "bmm", "linear"),
    "norm": ("norm", "welford", "rowwise", "moments", "triton_red", "triton_per", "var_mean"),
    "copy": ("memcpy", "memset", "copy", "transpose", "nchw", "nhwc", "cat", "clone"),
    "pointwise": ("elementwise", "triton_poi", "gelu", "silu", "aten::add", "aten::mul"),
}
"""Kernels by parts of their names, in lower case; the first that fits counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How cases are run.

    Attributes:
        device: where.
        repeats: interleaved repeats of what is timed.
        tiny: small networks, for trying the code.
        precision: of all networks but the tagger.
        out: the folder that tables are written to.
    """

    device: torch.device
    repeats: int
    tiny: bool = False
    precision: str = "fp16"
    out: Path = Path(".")

    @property
    def sizes(self) -> full.Sizes:
        """The configurations of the networks."""
        return full.tiny() if self.tiny else full.full()

    @property
    def placement(self) -> full.Placement:
        """The device, precision and layout of the networks."""
        return self.placement_in(self.precision)

    def placement_in(self, precision: str) -> full.Placement:
        """The same in another precision."""
        return full.placement(str(self.device), precision)

    def limit(self, value: float | None) -> float | None:
        """A bar where it applies: on one H100 or H200, with the real networks."""
        if self.tiny or self.device.type != "cuda":
            return None
        name = torch.cuda.get_device_name(self.device)
        return value if "H100" in name or "H200" in name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The images of one call, and how they are computed.

    `kind` is how networks are run, see `measure.wrapper`; `park`, whether the VAE's tiles wait on the host (None:
    where they do not fit).
    """

    kind: str = "graph"
    batch: int = 1
    size: tuple[int, int] = (128, 128)
    steps: int = 50
    guidance: float = 5.5
    turbo: bool = False
    tiling: Tiling | None = None
    park: bool | None = None

    def fitted(self, run: RunSettings) -> "Shape":
        """The same shape, or one an eighth as large for small networks."""
        if not run.tiny:
            return self
        tiling = Tiling(size=6, overlap=2) if self.tiling else None
        height, width = (max(16, side // 8) for side in self.size)
        return replace(self, batch=min(self.batch, 2), size=(height, width), steps=min(self.steps, 2), tiling=tiling)

    def settings(self, run: RunSettings) -> Any:
        """The pipeline's settings."""
        chosen = {"steps": self.steps, "guidance": self.guidance, "tiling": self.tiling, "precision": run.precision}
        return replace(measure.SETTINGS, process_size=64 if run.tiny else 512, **chosen)

    def windows(self) -> Windows | None:
        """How the latent is tiled, if it is."""
        height, width = (side * measure.SETTINGS.scale // 8 for side in self.size)
        return lay_windows(height, width, self.tiling)


class CaseRunner:
    """Runs one case: the networks, an engine over them for one shape, and images that are new at each call.

    Attributes:
        load: seconds that it took to make the networks.
    """

    def __init__(self, run: RunSettings, shape: Shape) -> None:
        self.run, self.shape = run, shape.fitted(run)
        self.numbers = count()
        torch.manual_seed(0)
        found: list[Networks] = []
        place = replace(run.placement, park=shape.park)
        self.load = measure.seconds(lambda: found.append(self.build(place)), run.device)
        (self.networks,) = found
        if run.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(run.device)
        self.engine = self.open()

    def build(self, place: full.Placement) -> Networks:
        """The networks."""
        return full.networks(self.run.sizes, place, turbo=self.shape.turbo)

    def open(self) -> Any:
        """The engine over them."""
        settings = self.shape.settings(self.run)
        return measure.make_engine(self.networks, settings, self.shape.kind, self.run.device)

    def images(self) -> Tensor:
        """New images."""
        rng = torch.Generator().manual_seed(next(self.numbers))
        return torch.rand(self.shape.batch, 3, *self.shape.size, generator=rng).mul(255).round() / 255

    def call(self, images: Tensor | None = None) -> None:
        """One batch, from images (new ones, if none are given) to images.

        Raises:
            RuntimeError: an image failed.
        """
        images = self.images() if images is None else images
        self.networks.text.forget()  # as if all words were new, whatever a tagger of random weights says
        for outcome in self.engine.upscale(images, range(len(images))):
            if isinstance(outcome, Failure):
                raise RuntimeError(f"an upscaled image failed: {outcome}")

    def predicted(self) -> Memory:
        """What the batch should take, its calls recorded as on a GPU."""
        settings = self.shape.settings(self.run)
        batch = 1 if self.run.device.type == "cpu" else self.shape.batch
        predictor = MemoryPredictor(
            type(self.engine._pipeline), self.networks, settings, in_graphs=self.shape.kind != "eager"
        )
        return predictor.predicted(*self.shape.size, batch)

    def reference(self) -> Callable[[], None]:
        """One image in the reference way, on modules of its own."""
        stock = reference.chain_transformers(full.denoisers(self.run.sizes, self.run.placement))
        schedule = make_schedule(self.networks.scheduler, self.shape.steps)

        @torch.inference_mode()
        def act() -> None:
            lr = self.images()[:1].to(self.run.device)
            way = self.networks, schedule, self.shape.guidance
            reference.upscale_image(stock, *way, lr, self.shape.windows()).cpu()

        return act


def speed(
    run: RunSettings, name: str, shape: Shape, *, most: float | None = None, least: float | None = None
) -> list[Bar]:
    """Time per image beside the reference way; stages, memory, rate and waits. `least` is the rate's bar."""
    runner = CaseRunner(run, shape)
    device, shape = run.device, runner.shape
    first = measure.seconds(runner.call, device)
    measure.seconds(runner.call, device)
    held = held_memory(runner, name)
    spent = measure.stages(runner.engine, runner.call, device)
    spent["load"] = runner.load
    loop = measure.last_sample(runner.engine, runner.call)
    rest = _loop(run, name, shape, loop, least)
    if device.type == "cuda":
        rest.append(waiting(runner, name))
    peer = runner.reference()
    peer()
    columns = interleaved(
        run.repeats,
        lambda: measure.seconds(runner.call, device) / shape.batch,
        lambda: measure.seconds(peer, device),
    )
    each = bar_of(f"{name}: time per image", columns[0], "s", run.limit(most), REFERENCE, columns[1])
    pace = Bar(case=f"{name}: images per second", value=1 / each.value, unit="1/s")
    begin = Bar(case=f"{name}: first call, compiling and recording", value=first, unit="s")
    parts = [Bar(case=f"{name}: {stage}, a batch of {shape.batch}", value=spent[stage], unit="s") for stage in STAGES]
    return [each, pace, begin, *parts, *held, *rest]


def waiting(runner: CaseRunner, name: str) -> Bar:
    """The share of a whole call that the device waits for the host, less the parts that a service does beside it."""
    prepared, run = runner.engine.prepare(runner.images()), runner.run

    def compute() -> None:
        runner.networks.text.forget()
        runner.engine.compute(prepared, range(len(prepared.images)))

    wall = min(measure.seconds(compute, run.device) for _ in range(3))
    waited = measure.share_waited(compute, run.device, wall)
    return Bar(case=f"{name}: waiting for the host, of a whole call", value=waited, unit="%", bar=run.limit(3))


STAGES = ("load", "tag", "text", "encode", "sample", "decode", "colour fix and host")


def _loop(run: RunSettings, name: str, shape: Shape, loop: Callable[[], object], least: float | None) -> list[Bar]:
    """The rate of the loop over the steps."""
    counted = measure.OperationCounter(run.sizes, shape.size[0] // 2, shape.guidance, shape.windows())
    once, step = counted.ours()
    work = shape.batch * (once + shape.steps * step)
    loop()
    took = min(measure.seconds(loop, run.device) for _ in range(3))
    peer = {"peer": PRODUCT, "peer_value": measure.best_rate(run.device)}
    return [Bar(case=f"{name}: rate of the steps", value=work / took, unit="TFLOP/s", least=run.limit(least), **peer)]


def memory(run: RunSettings, name: str, shape: Shape, most: float | None) -> list[Bar]:
    """Peak memory of two calls beside its prediction. `most` is the bar, in GB."""
    runner = CaseRunner(run, shape)
    first = measure.seconds(runner.call, run.device)
    second = measure.seconds(runner.call, run.device)
    times = [Bar(case=f"{name}: {which} call", value=took, unit="s") for which, took in _pairs(first, second)]
    return [*held_memory(runner, name, run.limit(most)), *times]


def _pairs(first: float, second: float) -> list[tuple[str, float]]:
    return [("first", first), ("second", second)]


def held_memory(runner: CaseRunner, name: str, most: float | None = None) -> list[Bar]:
    """What torch has taken since the networks were there, at its most; on a CPU only the prediction."""
    found = runner.predicted()
    if runner.run.device.type != "cuda":
        return [Bar(case=f"{name}: predicted memory", value=found.total / GB, unit="GB")]
    taken = torch.cuda.max_memory_allocated(runner.run.device), torch.cuda.max_memory_reserved(runner.run.device)
    peer = "predicted"
    return [
        Bar(case=f"{name}: peak allocated", value=taken[0] / GB, unit="GB", peer=peer, peer_value=found.tensors / GB),
        Bar(
            case=f"{name}: peak reserved",
            value=taken[1] / GB,
            unit="GB",
            bar=most,
            peer=peer,
            peer_value=found.total / GB,
        ),
    ]


_FIRST = "import json, sys; from benchmarks.seesr_gpu import first_image; print(first_image(json.loads(sys.argv[1])))"


def first(run: RunSettings, name: str, shape: Shape, most: float) -> list[Bar]:
    """Seconds of a process from start to first image; one before it has filled torch's cache of compiled code."""
    plain = {"device": str(run.device), "tiny": run.tiny, "precision": run.precision, "shape": asdict(shape)}
    parts: dict[str, float] = {}
    for _ in range(2):
        started = time.perf_counter()
        parts = json.loads(fresh(_FIRST, json.dumps(plain)).splitlines()[-1])
        took = time.perf_counter() - started
    bars = [Bar(case=f"{name}: {part}", value=value, unit="s") for part, value in parts.items()]
    return [Bar(case=f"{name}: whole process", value=took, unit="s", bar=run.limit(most)), *bars]


def first_image(plain: dict[str, Any]) -> str:
    """In a process of its own: builds networks and makes one image; the seconds of both, as JSON."""
    run = RunSettings(device=torch.device(plain["device"]), repeats=1, tiny=plain["tiny"], precision=plain["precision"])
    given = plain["shape"]
    shape = Shape(**{**given, "size": tuple(given["size"]), "tiling": None})
    started = time.perf_counter()
    runner = CaseRunner(run, shape)
    built = time.perf_counter()
    runner.call()
    done = time.perf_counter()
    return json.dumps({"networks drawn and placed": built - started, "the image": done - built})


def profile(run: RunSettings, name: str, shape: Shape) -> list[Bar]:
    """The kernels of a few steps by class, written to a table; and the share of the time that any is running."""
    runner = CaseRunner(run, shape)
    runner.call()
    loop = measure.last_sample(runner.engine, runner.call)
    loop()
    spans = measure.spans_of(loop, run.device)
    table, sums = by_class(spans)
    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)
    total = sum(sums.values())
    bars = [Bar(case=f"{name}: {kind}", value=100 * sums[kind] / total, unit="% of kernel time") for kind in sums]
    busy = Bar(case=f"{name}: some kernel runs", value=100 * share_busy(spans), unit="%")
    return [*bars, busy] if run.device.type == "cuda" else bars


def by_class(spans: list[measure.Span]) -> tuple[str, dict[str, float]]:
    """A table of kernels by class, those that take longest first; and the sum of each class, in microseconds."""
    sums: dict[str, float] = defaultdict(float)
    names: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, start, end in spans:
        kind = kind_of(name)
        sums[kind] += end - start
        names[kind, name].append(end - start)
    total = sum(sums.values()) or 1.0
    ordered = dict(sorted(sums.items(), key=lambda item: -item[1]))
    lines = ["| class | ms | share |", "|---|---|---|"]
    lines += [f"| {kind} | {spent / 1000:.2f} | {100 * spent / total:.1f} % |" for kind, spent in ordered.items()]
    lines += ["", "| class | kernel | calls | ms |", "|---|---|---|---|"]
    for (kind, name), spans_of in sorted(names.items(), key=lambda item: -sum(item[1]))[:40]:
        lines.append(f"| {kind} | `{name[:100]}` | {len(spans_of)} | {sum(spans_of) / 1000:.2f} |")
    return "\n".join(lines) + "\n", ordered


def kind_of(kernel: str) -> str:
    """A kernel's class, by its name."""
    lower = kernel.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), "other")


def share_busy(spans: list[measure.Span]) -> float:
    """The share of the time, from the first start to the last end, in which at least one kernel runs."""
    whole = max(end for _, _, end in spans) - min(start for _, start, _ in spans)
    return 1e6 * measure.seconds_busy(spans) / max(whole, 1e-9)
