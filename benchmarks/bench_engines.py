"""Every engine that this machine has: time per image, peak memory, and PSNR and SSIM against Pillow's bicubic.

Time: a call with the batch that the engine advises (one image for Real-ESRGAN, which takes seconds), 64×64
pixels each, all engines in turns; Pillow's bicubic at the same scale is the peer. Reading and encoding are not in it.
Memory: what a process of its own grows by while it loads the engine and makes that call (private pages; on a GPU what
torch allocates there). Quality: the middle 256×256 of scikit-image's colour photos and, if SRCACHE_PHOTOS names the
folder where benchmarks/train_compact.py unpacked its packages, of its held-out photos at half size: shrunk by Pillow's
bicubic, enlarged, and compared on Y (see `srcache.study.quality.psnr_ssim`), a border of `scale` pixels cropped. The
crops keep the slow engines short; compact's model card has images in full.

`spandrel` takes part with the checkpoints that this machine has adopted.
"""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.bench_compact import card_images, enlarged
from benchmarks.record import Bar, bar_of, fresh, interleaved
from benchmarks.train_compact import reduced
from srcache.engine.interface import Setup, SREngine, Upscaled
from srcache.engine.registry import find_engine, open_engine
from srcache.errors import EngineError, MissingExtraError
from srcache.images import Pixels, resize
from srcache.machine import resolve_device
from srcache.recipe.degradation import Degradation
from srcache.study.quality.psnr_ssim import Convention, Quality, measure_image
from srcache.weights.checkpoint import adopted

SIDE, CROP = 64, 256
SETS = {"scikit-image": "scikit-image", "held-out, half size (Lanczos)": "held-out photos"}
"""Of the model card's sets, those that are measured here, and what they are called."""

MOST_MS = {"compact": 50.0}
LEAST_GAIN = {("compact", 4, "scikit-image"): 0.5}

_MEMORY = "import json, sys; from benchmarks.bench_engines import peak; print(peak(json.loads(sys.argv[1])))"


@dataclass(frozen=True, kw_only=True)
class EngineCase:
    """An engine with the settings that it is measured with."""

    engine: str
    scale: int
    filter: str | None = None
    precision: str = "fp32"
    weights: str | None = None
    batch: int = 16

    def __str__(self) -> str:
        parts = (self.engine, self.filter, (self.weights or "")[:8], f"x{self.scale}", self.precision)
        return " ".join(part for part in parts if part)

    def open(self, device: str) -> SREngine:
        """The engine, its weights loaded."""
        options = {"filter": self.filter} if self.filter else {}
        setup = Setup(scale=self.scale, options=options, precision=self.precision, weights=self.weights, device=device)
        return open_engine(self.engine, setup)


def candidates() -> Iterator[EngineCase]:
    """All cases, the baselines first."""
    for scale in (2, 4):
        for kernel in ("bicubic", "lanczos"):
            yield EngineCase(engine="resample", scale=scale, filter=kernel)
    for scale in (2, 4):
        for precision in find_engine("compact").info.precisions:
            yield EngineCase(engine="compact", scale=scale, precision=precision)
    yield EngineCase(engine="realesrgan", scale=4, batch=1)
    for checkpoint in adopted():
        for scale in (2, 4):
            yield EngineCase(engine="spandrel", scale=scale, weights=checkpoint.digest, batch=1)


def run(repeats: int) -> list[Bar]:
    """All cases that open here."""
    device = resolve_device("auto")
    engines: dict[EngineCase, SREngine] = {}
    for case in candidates():
        with suppress(MissingExtraError, EngineError):  # no such extra, or a checkpoint of another scale
            engines[case] = case.open(device)
    speed, quality = _speed(engines, device, repeats), _quality(engines)
    return [bar for case in engines for bar in (speed[case], _memory(case, device), *quality[case])]


def peak(plain: dict[str, Any]) -> float:
    """What this process grows by, in MB, while it opens a case's engine and makes one call."""
    device = plain.pop("device")
    case = EngineCase(**plain)
    images = _noise(case.batch, "cpu")
    before, seen, done = _private(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen[0] = max(seen[0], _private())

    watcher = threading.Thread(target=watch)
    watcher.start()
    _call(case.open(device), images.to(device))
    done.set()
    watcher.join()
    return torch.cuda.max_memory_allocated(device) / 2**20 if device != "cpu" else seen[0] - before


def _speed(engines: dict[EngineCase, SREngine], device: str, repeats: int) -> dict[EngineCase, Bar]:
    def act(case: EngineCase) -> float:
        images = _noise(case.batch, device)
        started = time.perf_counter()
        _call(engines[case], images)
        return 1000 * (time.perf_counter() - started) / case.batch

    for case in engines:
        act(case)
    columns = interleaved(repeats, *(lambda case=case: act(case) for case in engines))
    times = dict(zip(engines, columns, strict=True))
    return {
        case: bar_of(
            f"{case}: {SIDE}→{SIDE * case.scale}, batch {case.batch}",
            found,
            "ms per image",
            MOST_MS.get(case.engine),
            "Pillow's bicubic",
            times[_baseline(case)],
        )
        for case, found in times.items()
    }


def _memory(case: EngineCase, device: str) -> Bar:
    found = float(fresh(_MEMORY, json.dumps({**asdict(case), "device": device})))
    return Bar(case=f"{case}: peak memory, batch {case.batch}", value=found, unit="MB")


def _quality(engines: dict[EngineCase, SREngine]) -> dict[EngineCase, list[Bar]]:
    work = os.environ.get("SRCACHE_PHOTOS")
    shown = [image for image in card_images(Path(work) if work else None) if image[0] in SETS]
    bars: dict[EngineCase, list[Bar]] = {case: [] for case in engines}
    for title, group in groupby(shown, lambda image: image[0]):
        originals = [_middle(reduced(rgb, level, 4)) for _, _, level, rgb in group]
        plain = {case: [_measured(case, None, hr) for hr in originals] for case in engines if case == _baseline(case)}
        for case, engine in engines.items():
            found = [_measured(case, engine, hr) for hr in originals]
            bars[case] += _quality_bars(case, SETS[title], found, plain[_baseline(case)])
    return bars


def _quality_bars(case: EngineCase, group: str, found: list[Quality], plain: list[Quality]) -> list[Bar]:
    peer = "Pillow's bicubic"
    gains = [one.psnr - other.psnr for one, other in zip(found, plain, strict=True)]
    psnr, ssim = (
        Bar(
            case=f"{case}, {len(found)} {group}: {name}",
            value=fmean(getattr(quality, field) for quality in found),
            unit=unit,
            peer=peer,
            peer_value=fmean(getattr(quality, field) for quality in plain),
        )
        for name, field, unit in (("PSNR on Y", "psnr", "dB"), ("SSIM on Y", "ssim", ""))
    )
    gain = Bar(
        case=f"{case}, {len(found)} {group}: mean gain over bicubic",
        value=fmean(gains),
        unit="dB",
        least=LEAST_GAIN.get((case.engine, case.scale, group)),
        spread=(max(gains) - min(gains)) / 2,
    )
    return [psnr, ssim] if case == _baseline(case) else [psnr, ssim, gain]


def _measured(case: EngineCase, engine: SREngine | None, hr: Pixels) -> Quality:
    """One image shrunk and enlarged again, by the engine or (None) by Pillow's bicubic."""
    lr = Degradation(factor=case.scale).apply(hr)
    output = enlarged(engine, lr) if engine else resize(lr, (hr.shape[0], hr.shape[1]), "bicubic")
    return measure_image(output, hr, Convention(channel="y", crop_border=case.scale))


def _baseline(case: EngineCase) -> EngineCase:
    return EngineCase(engine="resample", scale=case.scale, filter="bicubic")


def _middle(rgb: Pixels) -> Pixels:
    top, left = ((side - CROP) // 2 for side in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + CROP, left : left + CROP])


def _noise(count: int, device: str) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return (torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=rng).float() / 255).to(device)


def _call(engine: SREngine, images: torch.Tensor) -> None:
    """A call whose results have arrived in the machine's own memory."""
    for outcome in engine.upscale(images, range(len(images))):
        if not isinstance(outcome, Upscaled):
            raise RuntimeError(f"expected an image, but got {outcome}")
        outcome.image.cpu()


def _private() -> float:
    """Private memory of this process in MB."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]
