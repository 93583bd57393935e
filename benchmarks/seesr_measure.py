"""Instruments for the benchmarks of SeeSR: counted operations, timed stages, a device's waits and its best rate."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from srcache_plugins.seesr import SeeSR
from srcache_plugins.seesr.loading import Networks
from srcache_plugins.seesr.pipeline import Pipeline, Settings
from srcache_plugins.seesr.sampling.sampler import Prompts, Sampler
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.stable_diffusion.engine import way_of_running
from srcache_plugins.stable_diffusion.noise import Noise
from srcache_plugins.stable_diffusion.windows import Windows
from torch import Tensor
from torch.autograd import DeviceType
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import seesr_reference as reference
from benchmarks.seesr_full import Sizes, denoisers, own_networks, placement

SETTINGS = Settings(
    scale=4,
    process_size=512,
    steps=50,
    guidance=5.5,
    start="lr",
    prompt="",
    added_prompt="clean, high-resolution, 8k",
    negative_prompt="dotted, noise, blur, lowres, smooth",
    parity=False,
    precision="fp16",
    tiling=None,
    color_fix="adain",
)
TOKENS = 145
"""Image tokens of a tagger of the published size."""


def wrapper(kind: str, device: torch.device) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None:
    """What wraps the networks' calls: `eager`, `graph`, or `compiled` in graphs; without CUDA always eager."""
    if kind == "eager" or device.type != "cuda":
        return None
    return way_of_running(kind == "compiled", device)[1]


def make_engine(networks: Networks, settings: Settings, kind: str, device: torch.device) -> SeeSR:
    """The engine, over networks that do not come from files."""
    engine = object.__new__(SeeSR)
    with torch.inference_mode():
        engine._pipeline = Pipeline(networks, settings, device, kind, wrapper(kind, device))
    engine._device, engine._one_by_one = str(device), device.type == "cpu"
    return engine


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(act: Callable[[], object], device: torch.device) -> float:
    """How long something takes, the device's part included."""
    synchronise(device)
    started = time.perf_counter()
    act()
    synchronise(device)
    return time.perf_counter() - started


def stages(engine: SeeSR, act: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Seconds of each stage of a call; the device is waited for between them, which is why they are timed apart."""
    spent: dict[str, float] = defaultdict(float)
    with _timers(engine, spent, device):
        spent["all"] = seconds(act, device)
    own = sum(spent[name] for name in ("tag", "text", "encode", "sample", "decode"))
    spent["colour fix and host"] = spent["all"] - own
    return dict(spent)


@contextmanager
def _timers(engine: SeeSR, spent: dict[str, float], device: torch.device) -> Iterator[None]:
    pipeline = engine._pipeline
    networks = pipeline.networks

    def timed(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            found: list[Any] = []
            spent[name] += seconds(lambda: found.append(act(*args, **kwargs)), device)
            return found[0]

        return run

    pipeline.networks = replace(networks, tagger=timed("tag", networks.tagger))
    places = [(networks.text, "encode", "text"), (networks.vae, "encode", "encode"), (networks.vae, "decode", "decode")]
    sampler = getattr(pipeline, "sampler", None)
    places.append((sampler, "sample", "sample") if sampler else (pipeline.inner, "predicted", "sample"))
    for owner, method, name in places:
        setattr(owner, method, timed(name, getattr(owner, method)))
    try:
        yield
    finally:
        pipeline.networks = networks
        for owner, method, _ in places:
            delattr(owner, method)


def last_sample(engine: SeeSR, act: Callable[[], object]) -> Callable[[], Tensor]:
    """The loop over the steps as `act` ran it, to be run again by itself."""
    sampler, seen = engine._pipeline.sampler, []

    def record(*args: Any) -> Tensor:
        seen.append(args)
        return type(sampler).sample(sampler, *args)

    sampler.sample = record
    try:
        act()
    finally:
        del sampler.sample

    @torch.inference_mode()
    def again() -> Tensor:
        found: Tensor = sampler.sample(*seen[-1])
        return found

    return again


Span = tuple[str, float, float]
"""What ran on a device: its name, start and end in microseconds."""


def spans_of(act: Callable[[], object], device: torch.device) -> list[Span]:
    """What ran on a device while `act` did, copies included; on a CPU, torch's own operations."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    synchronise(device)
    with torch.profiler.profile(activities=kinds, acc_events=True) as profiler:
        act()
        synchronise(device)
    wanted = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = profiler.profiler.kineto_results.events()  # `profiler.events()` takes minutes for a whole call
    ran = [each for each in events if each.device_type() == wanted and each.duration_ns() > 0]
    begin = min((each.start_ns() for each in ran), default=0)  # nanoseconds since 1970 are too many for a float
    starts = [each.start_ns() - begin for each in ran]
    return [
        (each.name(), start / 1000, (start + each.duration_ns()) / 1000)
        for each, start in zip(ran, starts, strict=True)
    ]


def seconds_busy(spans: list[Span]) -> float:
    """Seconds in which at least one of them ran."""
    reached, busy = -math.inf, 0.0
    for _, start, end in sorted(spans, key=lambda span: span[1]):
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return busy / 1e6


def share_waited(act: Callable[[], object], device: torch.device, wall: float | None = None) -> float:
    """The share of `act`'s time, in percent, in which nothing ran on the device: it waited for the host.

    The time is that of a run by itself, which took `wall` seconds if that is known. What ran is what a second run shows
    that is watched: that makes the host slower, but nothing on the device longer.
    """
    wall = seconds(act, device) if wall is None else wall
    return 100 * max(0.0, 1 - seconds_busy(spans_of(act, device)) / wall)


def best_rate(device: torch.device, side: int = 8192) -> float:
    """TFLOP/s of a matrix product in bf16; on the CPU a small one."""
    side = side if device.type == "cuda" else 512
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    rounds = 50 if device.type == "cuda" else 2
    for _ in range(3):
        one @ other

    def act() -> None:
        for _ in range(rounds):
            one @ other

    return 2 * side**3 * rounds / seconds(act, device) / 1e12


def operations(act: Callable[[], object]) -> float:
    """TFLOP of what `act` does, by torch's counter; on the meta device, too."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        act()
    return counter.get_total_flops() / 1e12


class NoNoise(Noise):
    """Noise of zeros, where only operations are counted."""

    def __init__(self, latent: Tensor) -> None:
        self._latent = latent

    def draw(self) -> Tensor:
        """Zeros of the latent's shape."""
        return torch.zeros_like(self._latent)


class OperationCounter:
    """Operations of the two ways to sample one image, counted on the meta device.

    Args:
        sizes: of the networks.
        side: of the latent, in cells.
        guidance: above 1, two rows for an image.
        windows: how the latent is tiled, if it is.
    """

    def __init__(self, sizes: Sizes, side: int, guidance: float = 5.5, windows: Windows | None = None) -> None:
        self.meta = placement("meta", "fp16")
        self.stock = denoisers(sizes, self.meta)
        self.own = own_networks(self.stock, self.meta)
        self.sizes, self.guidance, self.windows = sizes, guidance, windows
        self.width = int(sizes.text["hidden_size"])
        self.rows = 2 if guidance > 1 else 1
        self.latent = torch.empty(1, 4, side, side, device="meta")
        self.control_image = torch.empty(1, 3, 8 * side, 8 * side, device="meta")

    def _states(self, rows: int) -> tuple[Tensor, Tensor]:
        text, images = torch.empty(rows, 77, self.width), torch.empty(1, TOKENS, 512)
        return text.to("meta", torch.float16), images.to("meta", torch.float16)

    def _ours(self, steps: int) -> float:
        schedule = make_schedule(self.sizes.scheduler, steps)

        def act() -> None:
            text, images = self._states(1)
            sampler = Sampler(*self.own, schedule, self.guidance, text)
            sampler.sample(self.control_image, Prompts(text, images), self.latent, NoNoise(self.latent), self.windows)

        return operations(act)

    def ours(self) -> tuple[float, float]:
        """TFLOP of the project's own way: once for an image, and for each step."""
        one, two = self._ours(1), self._ours(2)
        step = two - one - self.times()
        return one - step, step

    def times(self) -> float:
        """TFLOP of one step's time embedding in both networks, for one row."""
        return operations(lambda: [network.times([1]) for network in self.own])

    def keys_and_values(self) -> float:
        """TFLOP to make them for all cross-attentions, for one image."""
        text, images = self._states(self.rows)
        rows = images.expand(self.rows, -1, -1)
        return operations(lambda: [(network.text(text), network.images(rows)) for network in self.own])

    def control(self) -> float:
        """TFLOP of the control image's embedding, for one image."""
        given = self.control_image.half().expand(self.rows, -1, -1, -1)
        return operations(lambda: self.own[1].embedding(given))

    def reference(self) -> float:
        """TFLOP of a step of the reference way."""
        stock = reference.chain_transformers(self.stock)
        schedule = make_schedule(self.sizes.scheduler, 1)
        conditions = self.control_image, self._states(self.rows)
        rest = conditions, self.latent, self.windows
        return operations(lambda: reference.sample(stock, schedule, self.guidance, *rest))
