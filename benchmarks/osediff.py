"""OSEDiff's cases, beside SeeSR's: time per image and its stages, memory, and one image on a CPU with SeeSR's own.

The networks have their real size and random weights; what is added to them (LoRA) is merged when they are loaded, and
so costs nothing here.
"""

import json
import resource
from dataclasses import replace
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from srcache_plugins.osediff import OSEDiff
from srcache_plugins.osediff.loading import Networks
from srcache_plugins.osediff.pipeline import Pipeline, Settings
from srcache_plugins.stable_diffusion.memory import MemoryPredictor
from srcache_plugins.stable_diffusion.networks.denoiser import UNet
from srcache_plugins.stable_diffusion.networks.stock import known_settings, load_stock

from benchmarks import seesr_full as full
from benchmarks import seesr_gpu as gpu
from benchmarks import seesr_measure as measure
from benchmarks.record import Bar, bar_of, fresh, interleaved
from benchmarks.seesr_gpu import GB, RunSettings, Shape
from srcache.engine.interface import Tiling

TILES = Tiling(size=96, overlap=32)
SETTINGS = Settings(
    scale=4, process_size=512, prompt="", parity=False, precision="fp16", tiling=None, color_fix="adain"
)
STEPS = 50
"""Of SeeSR, as its authors run it."""


def networks(sizes: full.Sizes, where: full.Placement) -> Networks:
    """All networks, on their device."""
    config = {name: value for name, value in sizes.unet.items() if name != "use_image_cross_attention"}
    with torch.device("meta"):
        shapes = full.shapes_of(UNet2DConditionModel(**known_settings(UNet2DConditionModel, config)))
    tensors = full.random_tensors(shapes, where.device, where.dtype)
    unet = UNet(load_stock(UNet2DConditionModel, config, tensors, "the UNet"))
    return Networks(
        unet=full.placed(unet, where),
        vae=full.autoencoder(sizes, where),
        text=full.text_encoder(sizes, where),
        tagger=full.tagger(sizes, where),
        scheduler=sizes.scheduler,
    )


def make_engine(found: Networks, settings: Settings, kind: str, device: torch.device) -> OSEDiff:
    """The engine, over networks that do not come from files."""
    engine = object.__new__(OSEDiff)
    with torch.inference_mode():
        engine._pipeline = Pipeline(found, settings, device, kind, measure.wrapper(kind, device))
    engine._device, engine._one_by_one = str(device), device.type == "cpu"
    return engine


def _settings(run: RunSettings, tiling: Tiling | None) -> Settings:
    return replace(SETTINGS, process_size=64 if run.tiny else 512, tiling=tiling, precision=run.precision)


class OSERunner(gpu.CaseRunner):
    """Runs one case of OSEDiff."""

    def build(self, place: full.Placement) -> Any:
        """The networks."""
        return networks(self.run.sizes, place)

    def open(self) -> Any:
        """The engine over them."""
        settings = _settings(self.run, self.shape.tiling)
        return make_engine(self.networks, settings, self.shape.kind, self.run.device)  # type: ignore[arg-type]

    def predicted(self) -> Any:
        """What the batch should take, its calls recorded as on a GPU."""
        batch = 1 if self.run.device.type == "cpu" else self.shape.batch
        in_graphs = self.shape.kind != "eager"
        settings = _settings(self.run, self.shape.tiling)
        return MemoryPredictor(Pipeline, self.networks, settings, in_graphs=in_graphs).predicted(
            *self.shape.size, batch
        )


def speed(run: RunSettings, name: str, shape: Shape, most: float) -> list[Bar]:
    """Time per image, and of its stages; memory beside its prediction, and the device's waits."""
    runner = OSERunner(run, shape)
    device, shape = run.device, runner.shape
    first = measure.seconds(runner.call, device)
    measure.seconds(runner.call, device)
    held = gpu.held_memory(runner, name)
    spent = {"load": runner.load, **measure.stages(runner.engine, runner.call, device)}
    waits = [gpu.waiting(runner, name)] if device.type == "cuda" else []
    (column,) = interleaved(run.repeats, lambda: measure.seconds(runner.call, device) / shape.batch)
    each = bar_of(f"{name}: time per image", column, "s", run.limit(most))
    pace = Bar(case=f"{name}: images per second", value=1 / each.value, unit="1/s")
    begin = Bar(case=f"{name}: first call, compiling and recording", value=first, unit="s")
    parts = [Bar(case=f"{name}: {part}, a batch of {shape.batch}", value=spent[part], unit="s") for part in gpu.STAGES]
    return [each, pace, begin, *parts, *held, *waits]


def predicted(run: RunSettings, name: str) -> list[Bar]:
    """What batches would take on a GPU, recorded calls included."""
    found = networks(run.sizes, full.placement("meta", "fp16"))
    shapes: list[tuple[str, tuple[int, int], int, Tiling | None, float | None]] = [
        ("128→512, batch 1", (128, 128), 1, None, 6),
        ("128→512, batch 16", (128, 128), 16, None, None),
        ("622x716→2488x2864, tiles 96/32, batch 1", (622, 716), 1, TILES, 10),
    ]
    bars = []
    for text, size, batch, tiling, most in shapes[:1] if run.tiny else shapes:
        settings = replace(SETTINGS, tiling=tiling)
        memory = MemoryPredictor(Pipeline, found, settings, in_graphs=True).predicted(*size, batch)
        shown = f"{name}: {text}, fp16 in CUDA graphs"
        bars.append(Bar(case=shown, value=memory.total / GB, unit="GB", bar=most))
        bars.append(Bar(case=f"{shown}: tensors alive at once", value=memory.tensors / GB, unit="GB"))
    return [Bar(case=f"{name}: weights, fp16 and the tagger fp32", value=memory.weights / GB, unit="GB"), *bars]


_IMAGE = "import json, sys; from benchmarks.osediff import one_image; print(one_image(json.loads(sys.argv[1])))"
PRECISIONS = ("fp32", "bf16")


def cpu_image(run: RunSettings, name: str) -> list[Bar]:
    """One image of 128→512 on the CPU, and what SeeSR takes for it in the same run.

    Every way runs in a process of its own, one after the other. SeeSR runs with one step, and that step once more; its
    50 steps are the first run and 49 such steps.
    """
    bars = []
    for precision in PRECISIONS:
        plain = {"precision": precision, "tiny": run.tiny}
        ours, theirs = (
            json.loads(fresh(_IMAGE, json.dumps({**plain, "engine": engine})).splitlines()[-1])
            for engine in ("osediff", "seesr")
        )
        one, step = theirs["seconds"]
        shown = f"{name}: 128→512, {precision}, {torch.get_num_threads()} threads"
        peers = {"peer": f"seesr, {STEPS} steps, from one run of one step", "peer_value": one + (STEPS - 1) * step}
        peaks = {"peer": "seesr", "peer_value": theirs["peak"]}
        bars += [
            Bar(case=f"{shown}: time of the image", value=ours["seconds"][0], unit="s", **peers),
            Bar(case=f"{shown}: seesr's step", value=step, unit="s"),
            Bar(case=f"{shown}: peak of the process", value=ours["peak"], unit="GB", **peaks),
        ]
    return bars


def one_image(plain: dict[str, Any]) -> str:
    """In a process of its own: seconds of one image (of SeeSR, with one step) and of another step; the peak in GB."""
    run = RunSettings(device=torch.device("cpu"), repeats=1, tiny=plain["tiny"], precision=plain["precision"])
    runner = (OSERunner if plain["engine"] == "osediff" else gpu.CaseRunner)(run, Shape(kind="eager", steps=1))
    seconds: list[float] = []
    if plain["engine"] == "osediff":
        seconds.append(measure.seconds(runner.call, run.device))
    else:
        step = measure.last_sample(runner.engine, lambda: seconds.append(measure.seconds(runner.call, run.device)))
        seconds.append(measure.seconds(step, run.device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
    return json.dumps({"seconds": seconds, "peak": peak})
