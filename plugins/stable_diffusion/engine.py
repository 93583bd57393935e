"""What engines over Stable Diffusion have in common as engines: options, packages, batches, and how they are run.

Nothing heavy is imported before an engine is built, so that `info` reads at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from srcache.engine.interface import EngineInfo, Failure, Option, Setup, Unfinished, Upscaled
from srcache.engine.running import on_device
from srcache.errors import EngineError, needs_extra

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .pipeline import Pipeline, Prepared

PROMPT = Option(default="", help="your own words, put after the tags")
PROCESS_SIZE = Option(default=512, help="pixels; the least that the shorter side of what the networks see has")
ENCODER_TILE = Option(default=1024, help="pixels; larger images are encoded in tiles of this side")
DECODER_TILE = Option(default=224, help="latent cells of 8 pixels; larger ones are decoded in tiles of this side")
ANTIALIAS = Option(default=False, help="smooth when the tagger's image is shrunk; as published: no")

LEAST_SIDE, MOST_SIDE = 16, 1 << 14
"""Pixels that `process_size` may be: a latent of one cell has no spread to normalise with, and images of more than
16384x16384 are beyond any device."""

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What makes an engine's calls of its networks faster: CUDA graphs, compiled code."""


class DiffusionEngine(ABC):
    """An engine over a pipeline; one of a name of its own says how that is opened.

    Attributes:
        mode: how networks are run (eager, compiled, in CUDA graphs), for the records.
    """

    info: ClassVar[EngineInfo]

    def __init__(self, setup: Setup) -> None:
        setup = replace(setup, options=self.info.resolved(setup.options))
        wrong = self.out_of_range(setup)
        if wrong:
            raise EngineError(f"options of {self.info.name}: " + "; ".join(wrong))
        require_packages(self.info.name)
        with on_device(setup.device):
            self._pipeline = self.open_pipeline(setup)
        self.mode = self._pipeline.mode
        self._device, self._one_by_one = setup.device, setup.device.startswith("cpu")

    @abstractmethod
    def open_pipeline(self, setup: Setup) -> "Pipeline":
        """The pipeline, its networks loaded and on their device."""

    def out_of_range(self, setup: Setup) -> list[str]:
        """What is wrong with the values of options, in words."""
        least = {"process_size": max(LEAST_SIDE, 8 * setup.scale), "encoder_tile": 64, "decoder_tile": 8}
        given = setup.options["process_size"]
        above = f"process_size must be at most {MOST_SIDE}, but is {given}"
        return [*below(setup, least), *([above] if float(given) > MOST_SIDE else [])]

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Upscale a batch, on a CPU image by image; arguments and outcomes as in `SREngine.upscale`."""
        computed = self.compute(self.prepare(images), seeds)
        return [each.finish() if isinstance(each, Unfinished) else each for each in computed]

    def prepare(self, images: "Tensor") -> "Prepared":
        """The host's part of a call before the device's: control images. See `SREngine`."""
        import torch

        with torch.inference_mode():
            return self._pipeline.prepare(images)

    def compute(self, prepared: "Prepared", seeds: Sequence[int]) -> list[Unfinished | Failure]:
        """The device's part of a call. See `SREngine`."""
        import torch

        count = len(prepared.images)
        size = 1 if self._one_by_one else max(1, count)
        with torch.inference_mode(), on_device(self._device):
            return [
                outcome
                for start in range(0, count, size)
                for outcome in self._pipeline.compute(prepared.part(start, start + size), seeds[start : start + size])
            ]

    def batch_width(self, height: int, width: int) -> int:
        """How many LR images of a size one call should have: one on a CPU, and on a GPU what fills it."""
        return 1 if self._one_by_one else self._pipeline.width(height, width)

    def predicted_memory(self, height: int, width: int, batch: int) -> int:
        """Bytes that a call takes beside the weights, for LR images of a size; how it is found is in `memory`."""
        with on_device(self._device):
            found = self._pipeline.memory(height, width, 1 if self._one_by_one else batch)
        return int(found.total - found.weights)


def below(setup: Setup, least: Mapping[str, float]) -> list[str]:
    """Which options are below the least that they may be, in words."""
    return [
        f"{name} must be at least {most:g}, but is {setup.options[name]}"
        for name, most in least.items()
        if float(setup.options[name]) < most
    ]


def require_packages(engine: str) -> None:
    """Refuse to go on without the packages that the networks are made of.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    with needs_extra("diffusers", engine, f"engine {engine}"):
        import diffusers  # noqa: F401
    with needs_extra("timm", engine, f"engine {engine}"):
        import timm  # noqa: F401
    with needs_extra("transformers", engine, f"engine {engine}"):
        import transformers  # noqa: F401


def loading_of(setup: Setup) -> dict[str, Any]:
    """How a recipe's networks are loaded: the fields of `loading.Loading`."""
    import torch

    from .loading import DTYPES

    return {
        "device": torch.device(setup.device),
        "dtype": DTYPES[setup.precision],
        "encoder_tile": int(setup.options["encoder_tile"]),
        "decoder_tile": int(setup.options["decoder_tile"]),
        "antialias": bool(setup.options["antialias"]),
    }


def settings_of(setup: Setup) -> dict[str, Any]:
    """How a recipe's images are made: the fields of `pipeline.Settings`."""
    return {
        "scale": int(setup.scale),
        "process_size": int(setup.options["process_size"]),
        "prompt": str(setup.options["prompt"]),
        "parity": bool(setup.options["parity"]),
        "precision": setup.precision,
        "tiling": setup.tiling,
        "color_fix": setup.color_fix,
    }


def way_of_running(use_compiled: bool, device: "torch.device") -> tuple[str, Wrap | None]:
    """How networks are run, in words, and what wraps a call of theirs: one way for all images of a run."""
    from .cuda_graphs import GraphedCallable, GraphMemory, compiled

    if device.type != "cuda":
        return ("compiled", compiled) if use_compiled else ("eager", None)
    memory = GraphMemory()
    if use_compiled:
        return "compiled, in CUDA graphs", lambda function: GraphedCallable(compiled(function), memory)
    return "CUDA graphs", lambda function: GraphedCallable(function, memory)
