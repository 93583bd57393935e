"""Engines for tests: one draws noise, one breaks on marked images, one is slow, one depends on the batch's shape.

They are found as any third-party plug-in is, through entry points (see conftest.py), so subprocesses and spawned
workers have them too. All enlarge by repeating pixels, so that a test can say exactly what to expect.
"""

import os
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Failure, Option, Setup, Upscaled

if TYPE_CHECKING:
    from torch import Tensor

ENTRY_POINTS = {
    "test-noise": "engines:Noise",
    "test-faulty": "engines:Faulty",
    "test-sleepy": "engines:Sleepy",
    "test-shapes": "engines:Shapes",
}

MARKS = {
    "fails": (255, 0, 255),
    "raises": (255, 255, 0),
    "nan": (0, 255, 255),
    "flat": (0, 255, 0),
    "range": (255, 0, 0),
    "shape": (0, 0, 255),
}
"""The colour of the top left pixel that makes `test-faulty` do something wrong, by what it does."""

DEADLY = (1, 2, 3)
"""The one on which it kills its process."""


def enlarged(images: "Tensor", scale: float) -> "Tensor":
    """Every pixel of (…, H, W) repeated `scale` times in both directions; never a view of the input."""
    times = int(scale)
    return images.clone().repeat_interleave(times, -2).repeat_interleave(times, -1)


class Noise:
    """Like a diffusion network: the result depends on the seed, and on options of every type."""

    info = EngineInfo(
        name="test-noise",
        summary="repeats pixels and adds noise",
        scales=(2, 4),
        numerics=3,
        options={
            "strength": Option(default=0.2, help="how much noise, 0 to 1"),
            "steps": Option(default=2, help="how many draws are averaged"),
            "invert": Option(default=False, help="negative"),
            "tint": Option(default="none", help="which channel is dimmed", choices=("none", "red", "blue")),
            "gain": Option(default=1.0, help="brightness; came after the first release", late=True),
        },
        precisions=("fp32", "bf16"),
        color_fixes=("mean",),
        tiles=True,
        stochastic=True,
        pads=True,
        batch=4,
    )

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; the record notes the seed."""
        return [Upscaled(self._one(image, seed), {"seed": seed}) for image, seed in zip(images, seeds, strict=True)]

    def _one(self, image: "Tensor", seed: int) -> "Tensor":
        import torch

        options = self._setup.options
        large = enlarged(image, self._setup.scale)
        rng = torch.Generator().manual_seed(seed)
        noise = torch.randn((int(options["steps"]), *large.shape), generator=rng).mean(0)
        result = (large * float(options.get("gain", 1.0)) + float(options["strength"]) * noise).clamp(0, 1)
        if options["tint"] != "none":
            result[0 if options["tint"] == "red" else 2] *= 0.5
        return 1 - result if options["invert"] else result


class Faulty:
    """Goes wrong on images whose top left pixel is one of `MARKS`, and on batches larger than `most`."""

    info = EngineInfo(
        name="test-faulty",
        summary="repeats pixels, but breaks on marked images",
        scales=(1, 2, 4),
        options={"most": Option(default=0, help="images that fit into memory at once; 0: any number")},
        pads=False,
        batch=4,
    )

    def __init__(self, setup: Setup) -> None:
        self._scale = setup.scale
        self._most = int(setup.options["most"])

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`.

        Raises:
            RuntimeError: an image is marked so.
            torch.OutOfMemoryError: more than `most` images.
        """
        import torch

        if self._most and len(images) > self._most:
            raise torch.OutOfMemoryError(f"{len(images)} images do not fit, {self._most} would")
        return [self._one(image) for image in images]

    def _one(self, image: "Tensor") -> Upscaled | Failure:
        colour = tuple(round(float(level) * 255) for level in image[:, 0, 0])
        mark = next((name for name, marked in MARKS.items() if marked == colour), None)
        large = enlarged(image, self._scale)
        if mark == "fails":
            return Failure("marked", "the image is marked to fail")
        if mark == "raises":
            raise RuntimeError("the image is marked to raise")
        if colour == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if mark == "nan":
            large[0, 0, 0] = float("nan")
        if mark == "flat":
            large[:] = 0.0
        if mark == "range":
            large += 1
        return Upscaled(large[:, :-1] if mark == "shape" else large)


class Sleepy:
    """Takes its time per batch, as a large network does, without using the processor."""

    info = EngineInfo(
        name="test-sleepy",
        summary="sleeps, then repeats pixels",
        scales=(1, 2, 4),
        options={"milliseconds": Option(default=0, help="time per batch")},
        pads=False,
        batch=4,
    )

    def __init__(self, setup: Setup) -> None:
        self._scale = setup.scale
        self._seconds = int(setup.options["milliseconds"]) / 1000

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`."""
        time.sleep(self._seconds)
        return [Upscaled(image) for image in enlarged(images, self._scale)]


class Shapes:
    """Gives slightly other pixels in a batch of another size, as convolution libraries do; hence `pads`."""

    info = EngineInfo(
        name="test-shapes",
        summary="repeats pixels, a little brighter in a larger batch",
        scales=(2, 4),
        pads=True,
        batch=4,
    )

    def __init__(self, setup: Setup) -> None:
        self._scale = setup.scale

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; the record notes the size of the batch that the engine saw."""
        large = enlarged(images, self._scale) * 0.9 + 0.01 * min(len(images), 10)
        return [Upscaled(image, {"batch": len(images)}) for image in large]
