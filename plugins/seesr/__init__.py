"""SeeSR: semantics-aware diffusion super-resolution (Wu et al., CVPR 2024, arXiv:2311.16518), in batches.

It computes what the authors' program computes, quirks included, but for its bugs; how it computes it is this project's
own. The way of an image through it is in `pipeline`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.engine.interface import EngineInfo, Failure, Option, Setup, Unfinished, Upscaled
from srcache.engine.running import on_device
from srcache.errors import EngineError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor

    from .memory import MemoryPredictor
    from .pipeline import Prepared, Settings

OPTIONS = {
    "steps": Option(default=50, help="sampling steps; more take longer"),
    "guidance": Option(default=5.5, help="how far to go from the negative prompt; up to 1 not at all, twice as fast"),
    "conditioning_scale": Option(default=1.0, help="weight of what the ControlNet finds in the LR image"),
    "start": Option(default="lr", help="start from the LR image and noise, or from noise", choices=("lr", "noise")),
    "prompt": Option(default="", help="your own words, put after the tags"),
    "added_prompt": Option(default="clean, high-resolution, 8k", help="words put after all others"),
    "negative_prompt": Option(default="dotted, noise, blur, lowres, smooth", help="what to lead away from"),
    "process_size": Option(default=512, help="pixels; the least that the shorter side of what the networks see has"),
    "encoder_tile": Option(default=1024, help="pixels; larger images are encoded in tiles of this side"),
    "decoder_tile": Option(default=224, help="latent cells of 8 pixels; larger ones are decoded in tiles of this side"),
    "antialias": Option(default=False, help="smooth when the tagger's image is shrunk; as published: no"),
    "solver": Option(
        default="ddpm",
        help="the authors' sampler, or DPM-Solver++, for which some 20 steps are enough",
        choices=("ddpm", "dpm++"),
        late=True,
    ),
    "guided_share": Option(
        default=1.0,
        help="the share of the steps, from the first on, that is guided; later ones take half as long",
        late=True,
    ),
    "parity": Option(default=False, help="noise as the authors' program draws it for the one image of a run"),
}


class SeeSR:
    """The engine `seesr`: a recipe's bundle of weights, run by this project's own loop over diffusers' modules.

    Attributes:
        mode: how the inner call of the loop is run (eager, compiled, in CUDA graphs), for the records.
    """

    info = EngineInfo(
        name="seesr",
        summary="diffusion SR led by an image tagger; tiles in latent cells of 8 pixels",
        scales=tuple(range(1, 9)),
        options=OPTIONS,
        precisions=("fp32", "bf16", "fp16"),
        color_fixes=("adain", "wavelet"),
        tiles=True,
        stochastic=True,
        pads_on_cpu=False,
        batch=16,
        loads=True,
        compiles=True,
        weights_licenses=("see `srcache models list`: one for each file",),
    )

    def __init__(self, setup: Setup) -> None:
        setup = replace(setup, options=self.info.resolved(setup.options))
        _check_options(setup)
        _require_packages()
        with on_device(setup.device):
            self._pipeline = _open_pipeline(setup)
        self.mode = self._pipeline.mode
        self._device, self._one_by_one = setup.device, setup.device.startswith("cpu")
        self._memory: MemoryPredictor | None = None

    @staticmethod
    def make_weights(name: str, folder: Path) -> None:
        """Write the files of `seesr-tiny`, the bundle that is made on the spot, into a folder."""
        _require_packages()
        from .tiny import write_weights

        write_weights(folder)

    @staticmethod
    def check_weights(parts: Mapping[str, Path]) -> None:
        """Compare a bundle's files with what the networks expect; raises as `loading.check_parts`."""
        _require_packages()
        from .loading import check_parts

        check_parts(parts)

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Upscale a batch, on a CPU image by image; arguments and outcomes as in `SREngine.upscale`."""
        computed = self.compute(self.prepare(images), seeds)
        return [each.finish() if isinstance(each, Unfinished) else each for each in computed]

    def prepare(self, images: "Tensor") -> "Prepared":
        """The host's part of a call before the device's: control images. See `SREngine`."""
        import torch

        with torch.inference_mode():
            return self._pipeline.prepare(images)  # type: ignore[no-any-return]

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
        from .memory import MemoryPredictor

        with on_device(self._device):
            if self._memory is None:
                pipeline = self._pipeline
                self._memory = MemoryPredictor(pipeline.networks, pipeline.settings, in_graphs=pipeline.in_graphs)
            found = self._memory.predicted(height, width, 1 if self._one_by_one else batch)
        return found.total - found.weights


def _require_packages() -> None:
    """Refuse to go on without the packages that the networks are made of.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    with needs_extra("diffusers", "seesr", "engine seesr"):
        import diffusers  # noqa: F401
    with needs_extra("timm", "seesr", "engine seesr"):
        import timm  # noqa: F401
    with needs_extra("transformers", "seesr", "engine seesr"):
        import transformers  # noqa: F401


def _check_options(setup: Setup) -> None:
    """Refuse options out of their range.

    Raises:
        EngineError: the message says what to change.
    """
    wrong = [
        f"{name} must be at least {least}, but is {setup.options[name]}"
        for name, least in (("steps", 1), ("process_size", 8 * setup.scale), ("encoder_tile", 64), ("decoder_tile", 8))
        if float(setup.options[name]) < least
    ]
    if not 0 <= float(setup.options["guided_share"]) <= 1:
        wrong.append(f"guided_share must be from 0 to 1, but is {setup.options['guided_share']}")
    if wrong:
        raise EngineError("options of seesr: " + "; ".join(wrong))


def _open_pipeline(setup: Setup) -> Any:
    """The pipeline, its networks loaded and on their device."""
    import torch

    from srcache.weights.bundle import find_bundle

    from .loading import DTYPES, Loading, load_networks
    from .pipeline import Pipeline

    device, options = torch.device(setup.device), setup.options
    loading = Loading(
        device=device,
        dtype=DTYPES[setup.precision],
        conditioning_scale=float(options["conditioning_scale"]),
        encoder_tile=int(options["encoder_tile"]),
        decoder_tile=int(options["decoder_tile"]),
        antialias=bool(options["antialias"]),
    )
    with torch.inference_mode():
        networks = load_networks(find_bundle(str(setup.weights)), loading)
        return Pipeline(networks, _settings(setup), device, *_mode(setup, device))


def _mode(setup: Setup, device: Any) -> tuple[str, Callable[..., Any] | None]:
    """How the inner call is run, in words, and what wraps it: one way for all images of a run."""
    from .cuda_graphs import GraphedCallable, compiled

    if device.type != "cuda":
        return ("compiled", compiled) if setup.compiled else ("eager", None)
    if setup.compiled:
        return "compiled, in CUDA graphs", lambda predict: GraphedCallable(compiled(predict))
    return "CUDA graphs", GraphedCallable


def _settings(setup: Setup) -> "Settings":
    from .pipeline import Settings

    options = setup.options
    return Settings(
        scale=int(setup.scale),
        process_size=int(options["process_size"]),
        steps=int(options["steps"]),
        guidance=float(options["guidance"]),
        start=str(options["start"]),
        prompt=str(options["prompt"]),
        added_prompt=str(options["added_prompt"]),
        negative_prompt=str(options["negative_prompt"]),
        parity=bool(options["parity"]),
        solver=str(options["solver"]),
        guided_share=float(options["guided_share"]),
        precision=setup.precision,
        tiling=setup.tiling,
        color_fix=setup.color_fix,
    )
